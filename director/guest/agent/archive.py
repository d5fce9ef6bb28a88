"""Archives: unpacked so that nothing is ever written outside of the folder, packed so that equal content is equal bytes.

Links are made last, after all files, and no file is written through a link, so a link cannot lead a later member elsewhere.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import tarfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO, Callable, List, Tuple, Type

from .errors import ActionError
from .files import CHUNK

MAX_MEMBERS = 1000000
MAX_BYTES = 64 << 30

_BROKEN: Tuple[Type[Exception], ...] = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError)
try:
    import lzma

    _BROKEN += (lzma.LZMAError,)
except ImportError:  # a Python without xz reads no archives that need it
    pass


def unpack(source: Path, folder: Path, links: bool = True, max_bytes: int = MAX_BYTES, check: Callable[[], None] = lambda: None) -> None:
    """Unpack a tar archive, compressed or not, into a folder made for it. Owners become root; modes are kept.

    Raises ActionError for a member that would leave the folder, is a device or (unless `links`) a link, for a broken archive
    and for one that unpacks to more than `max_bytes`. `check` is called between members and may raise.
    Symbolic links may point anywhere: packages link to absolute paths; nothing is written through them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    symlinks: List[Tuple[str, str]] = []
    hardlinks: List[Tuple[str, str]] = []
    folders: List[Tuple[str, int, int]] = []
    seen = 0
    try:
        with tarfile.open(str(source), "r:*") as archive:
            for count, member in enumerate(archive, 1):
                check()
                name = _inside(member.name)
                seen += max(0, member.size)
                if count > MAX_MEMBERS or seen > max_bytes:
                    raise ActionError("Archive %s unpacks to more than %d bytes or too many files" % (source.name, max_bytes))
                if member.isdir():
                    _folder(folder, name)
                    folders.append((name, member.mode & 0o7777, int(member.mtime)))
                elif member.isreg():
                    _file(archive, member, folder, name)
                elif member.issym() and links:
                    symlinks.append((name, member.linkname))
                elif member.islnk() and links:
                    hardlinks.append((name, _inside(member.linkname)))
                else:
                    raise ActionError("Archive %s holds '%s', which is no file or folder" % (source.name, member.name))
    except _BROKEN as error:
        raise ActionError("Archive %s cannot be read: %s" % (source.name, error)) from error
    _links(folder, hardlinks, symlinks)
    for name, mode, mtime in reversed(folders):
        path = str(folder / name)
        if not os.path.islink(path):
            os.chmod(path, mode | 0o700)
            os.utime(path, (mtime, mtime))


def _inside(name: str) -> str:
    """The member's normalised relative name. Raises ActionError when it leads outside."""
    if name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise ActionError("Archive member '%s' would be written outside of its folder" % name)
    normal = posixpath.normpath(name)
    return "" if normal == "." else normal


def _folder(root: Path, name: str) -> Path:
    """Make the folder `name` below root; every step on the way must be a real folder."""
    path = root
    for part in name.split("/") if name else []:
        path = path / part
        try:
            os.mkdir(str(path), 0o755)
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                raise ActionError("Archive member '%s' would be written through '%s'" % (name, part)) from None
    return path


def _fresh(root: Path, name: str) -> Path:
    """The path of a new member: its folder exists, and whatever was there before is gone."""
    if not name:
        raise ActionError("Archive member without a name")
    path = _folder(root, posixpath.dirname(name)) / posixpath.basename(name)
    if path.is_dir() and not path.is_symlink():
        raise ActionError("Archive member '%s' is a folder and a file" % name)
    if path.is_symlink() or path.exists():
        path.unlink()
    return path


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, name: str) -> None:
    path = _fresh(root, name)
    source = archive.extractfile(member)
    if source is None:
        raise ActionError("Archive member '%s' cannot be read" % name)
    handle = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as target:
        while True:
            chunk = source.read(CHUNK)
            if not chunk:
                break
            target.write(chunk)
        os.fchmod(target.fileno(), member.mode & 0o7777)
    os.utime(str(path), (int(member.mtime), int(member.mtime)))


def _links(root: Path, hardlinks: List[Tuple[str, str]], symlinks: List[Tuple[str, str]]) -> None:
    for name, target in hardlinks:
        existing = root / target
        if existing.is_symlink() or not existing.is_file() or _crosses_link(root, target):
            raise ActionError("Archive member '%s' links to '%s', which is no file of the archive" % (name, target))
        if name != target:
            os.link(str(existing), str(_fresh(root, name)))
    for name, target in symlinks:
        _fresh(root, name).symlink_to(target)


def _crosses_link(root: Path, name: str) -> bool:
    path = root
    for part in name.split("/")[:-1]:
        path = path / part
        if path.is_symlink():
            return True
    return False


def pack(folder: Path, target: Path, check: Callable[[], None] = lambda: None) -> None:
    """Pack a folder's content into a tgz: sorted, owned by root, without the packing time."""
    with target.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as stream, \
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for path in [folder, *sorted(folder.rglob("*"))]:
            check()
            if path.is_socket():
                continue
            info = archive.gettarinfo(str(path), "." if path == folder else "./" + str(path.relative_to(folder)))
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mtime = int(info.mtime)
            if info.isreg():
                with path.open("rb") as content:
                    archive.addfile(info, content)
            else:
                archive.addfile(info)


def add_growing(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file that may grow or shrink meanwhile, such as a log: as long as it was at the beginning."""
    with path.open("rb") as content:
        info = archive.gettarinfo(name=None, arcname=name, fileobj=content)
        info.uid = info.gid = 0
        archive.addfile(info, _Exactly(content, info.size))


class _Exactly:
    """A reader of exactly `size` bytes, filled up with zeros."""

    def __init__(self, source: BinaryIO | IO[bytes], size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.read(wanted)
        data += b"\0" * (wanted - len(data))
        self._left -= wanted
        return data
