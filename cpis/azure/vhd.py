"""The file of a heavy stemcell: a fixed-size VHD, found, checked and read in pages. Source: CPI contract, section 7.2."""

from __future__ import annotations

import contextlib
import gzip
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from cpis.contract import Invalid

FOOTER = 512
PAGE = 4 * 2**20
"""The most that one request may write."""
_MIB = 2**20
_FIXED = 2
_ADVICE = "`qemu-img convert -O vpc -o subformat=fixed,force_size` makes such a file."


@contextlib.contextmanager
def unpacked(path: Path, workdir: Path | None = None) -> Iterator[Path]:
    """The VHD of a stemcell's image: the file itself, or the `root.vhd` of the tar archive that BOSH's stemcells have. Raises Invalid."""
    if not path.is_file():
        raise Invalid(f"there is no image file {path}", resource=str(path))
    if _footer(path).startswith(b"conectix"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="caisson-vhd-", dir=workdir) as folder:
        target = Path(folder) / "root.vhd"
        try:
            _extract(path, target)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise Invalid(
                f"the image {path} is neither a VHD nor an archive with one: {error}", resource=str(path), suggestion=_ADVICE) from error
        yield target


def _extract(path: Path, target: Path) -> None:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.lower().endswith(".vhd"):
                    source = archive.extractfile(member)
                    assert source is not None
                    with source:
                        _write(source, target)
                    return
    except tarfile.ReadError:
        with gzip.open(path) as packed:
            _write(packed, target)
        if _footer(target).startswith(b"conectix"):
            return
    raise Invalid(f"the archive {path} has no VHD in it", resource=str(path))


def _write(source: IO[bytes] | gzip.GzipFile, target: Path) -> None:
    """With holes where there are zeros: a stemcell's disk has some 30 GiB, and a few of data."""
    with target.open("wb") as stream:
        while data := source.read(PAGE):
            if data.count(0) == len(data):
                stream.seek(len(data), 1)
            else:
                stream.write(data)
        stream.truncate(stream.tell())


def _footer(path: Path) -> bytes:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - FOOTER))
        return stream.read(FOOTER)


def size_of(path: Path) -> int:
    """Bytes of a VHD, footer included. Raises Invalid for what Azure does not take."""
    footer, size = _footer(path), path.stat().st_size
    if not footer.startswith(b"conectix"):
        raise Invalid(f"{path.name} is no VHD: it has no footer", resource=str(path), suggestion=_ADVICE)
    (kind,) = struct.unpack(">I", footer[60:64])
    if kind != _FIXED:
        raise Invalid(f"{path.name} is a VHD that grows; Azure takes those of fixed size only", resource=str(path), suggestion=_ADVICE)
    if (size - FOOTER) % _MIB:
        raise Invalid(
            f"{path.name} has {size - FOOTER} bytes without its footer; Azure takes whole MiB only", resource=str(path), suggestion=_ADVICE)
    return size


def pages(stream: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of what must be written: pages of zeros are what a new disk has already."""
    empty = bytes(PAGE)
    for offset in range(0, size, PAGE):
        data = stream.read(min(PAGE, size - offset))
        if data != empty[: len(data)]:
            yield offset, data
