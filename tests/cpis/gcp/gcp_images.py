"""Archives as stemcells hold them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path


def archive(folder: Path, name: str = "disk.raw", content: bytes = b"\0" * 4096) -> Path:
    """A tar.gz with one file."""
    path = folder / "image.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return path
