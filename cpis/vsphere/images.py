"""Stemcell images: an OVA, or BOSH's `image` (a compressed archive of an OVF and its disks). Source: CPI contract, section 10.2."""

from __future__ import annotations

import contextlib
import dataclasses
import tarfile
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from typing import IO

from cpis.contract import Invalid

_REPORT_SECONDS = 15.0
_WHAT = "A heavy stemcell for vSphere is an OVA, or an archive of an OVF and its disks."
_LONGEST_OVF = 4 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Image:
    """An opened image: the OVF's text, the names of its networks, and the files of the archive with their sizes in bytes."""

    ovf: str
    networks: tuple[str, ...]
    sizes: dict[str, int]
    _archive: tarfile.TarFile

    def open(self, href: str) -> IO[bytes]:
        """A file that the OVF refers to. Raises Invalid when the archive lacks it."""
        name = next((name for name in self.sizes if name.rpartition("/")[2] == href.rpartition("/")[2]), "")
        stream = self._archive.extractfile(name) if name else None
        if stream is None:
            raise Invalid(f"the image lacks '{href}', which its OVF refers to", suggestion="Is the image whole?")
        return stream

    def size(self, href: str) -> int:
        """The size of such a file in bytes."""
        return next((size for name, size in self.sizes.items() if name.rpartition("/")[2] == href.rpartition("/")[2]), 0)


@contextlib.contextmanager
def opened(path: str) -> Iterator[Image]:
    """The image in this file. Raises Invalid when it is none."""
    try:
        with tarfile.open(path, "r:*") as archive:
            sizes = {member.name: member.size for member in archive.getmembers() if member.isfile()}
            name = next((name for name in sizes if name.lower().endswith(".ovf")), "")
            stream = archive.extractfile(name) if name else None
            if stream is None:
                raise Invalid(f"{path} holds no .ovf", suggestion=_WHAT)
            text = stream.read(_LONGEST_OVF).decode()
            yield Image(text, _networks(text, path), sizes, archive)
    except (OSError, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is no image for vSphere: {error}", suggestion=_WHAT) from error


def _networks(ovf: str, path: str) -> tuple[str, ...]:
    try:
        root = xml.etree.ElementTree.fromstring(ovf)
    except xml.etree.ElementTree.ParseError as error:
        raise Invalid(f"the OVF in {path} is no XML: {error}") from error
    return tuple(
        value for element in root.iter() if element.tag.rpartition("}")[2] == "Network"
        for key, value in element.attrib.items() if key.rpartition("}")[2] == "name")


class Upload:
    """A stream that tells, while it is read, how much of all has gone: `report(percent)` at most every few seconds."""

    def __init__(
        self, stream: IO[bytes], size: int, total: int, report: Callable[[int], None], clock: Callable[[], float], sent: int = 0,
    ) -> None:
        self._stream = stream
        self._size = size
        self._total = max(1, total)
        self._report = report
        self._clock = clock
        self._told_at = clock()
        self.sent = sent

    def __len__(self) -> int:
        """What is still to come, which is how the HTTP client learns the length."""
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.sent += len(data)
        if self._clock() - self._told_at >= _REPORT_SECONDS:
            self._told_at = self._clock()
            self._report(min(99, 100 * self.sent // self._total))
        return data
