"""Where bytes are kept: packages, jobs, compiled packages, logs, DNS records. Knows nothing of what they mean, and speaks no SQL.

    local.py     a folder
    signed.py    links with which machines fetch blobs themselves
"""

from __future__ import annotations

from director.blobs.local import Blob, LocalBlobstore
from director.blobs.signed import Signer

__all__ = ["Blob", "LocalBlobstore", "Signer"]
