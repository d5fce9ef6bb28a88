"""Which blobs the director must still send."""

from __future__ import annotations

from typing import List

from .. import files, install
from ..host import Call
from .base import Action


def run(call: Call, digests: List[str]) -> List[str]:
    """Those not here, in the given form; a package that is unpacked needs no blob."""
    unpacked = set(install.installed_digests(call))
    blobs = call.host.layout.blobs
    return [digest for digest in digests if files.bare(digest) not in unpacked and not (blobs / files.bare(digest)).is_file()]


ACTION = Action(run)
