"""Tar archives, read as if an enemy had made them, and written so that equal content gives equal bytes.

Reading refuses what would write outside the folder (absolute names, `..`, members behind a link, links that lead out),
what is no file (devices, pipes), and what unpacks past a limit. An error names the archive and the member.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import posixpath
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from director import diagnostics, errors

GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_BIG_READ = 8 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much an archive may unpack to. The ratio counts only above `ratio_from` bytes, since small files compress well."""

    unpacked_bytes: int = 32 << 30
    entries: int = 500_000
    ratio: int = 250
    ratio_from: int = 256 << 20


@dataclasses.dataclass(frozen=True)
class Member:
    """One entry: its name without leading `./`, kind (`file`, `dir`, `symlink`, `link`), size in bytes, link target."""

    name: str
    kind: str
    size: int
    executable: bool
    target: str = ""


class _Guarded:
    """The tar stream after decompression, counting what comes out of it. Header fields that claim gigabytes are refused unread."""

    def __init__(self, inner: IO[bytes], compressed: int, limits: Limits, label: str) -> None:
        self._inner = inner
        self._label = label
        self._most = min(limits.unpacked_bytes, max(limits.ratio_from, compressed * limits.ratio)) + (1 << 20)

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _BIG_READ:
            raise _refused(self._label, "", "has a header that claims to be gigabytes long")
        data = self._inner.read(size)
        self._check(self._inner.tell())
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        self._check(position)
        return self._inner.seek(position, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def _check(self, position: int) -> None:
        if position > self._most:
            raise _refused(self._label, "", f"unpacks to more than {self._most >> 20} MiB, which its size does not justify")


_BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError)


class Reader:
    """The members of one archive, in order. Use as a context manager."""

    def __init__(
        self, path: Path, *, label: str = "", limits: Limits | None = None, absolute_links: tuple[str, ...] = ()
    ) -> None:
        """`absolute_links` are folders that links may lead to although they are outside, such as `/var/vcap/`."""
        self._path = path
        self._label = label or path.name
        self._limits = limits or Limits()
        self._absolute_links = absolute_links
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def members(self) -> Iterator[tuple[Member, Callable[[], IO[bytes]]]]:
        """Each checked member with a function that opens its content; call that before going on. Raises ReleaseError."""
        kinds: dict[str, str] = {}
        links: dict[str, str] = {}
        try:
            for count, (archive, info) in enumerate(self._raw()):
                if count >= self._limits.entries:
                    raise _refused(self._label, info.name, f"is one of more than {self._limits.entries} entries")
                member = self._checked(info, kinds)
                if member is not None:
                    kinds[member.name] = member.kind
                    if member.kind == "symlink":
                        links[member.name] = member.target
                    yield member, _opener(archive, info, self._label)
        except _BROKEN as error:
            raise _refused(self._label, "", f"is damaged or no (gzipped) tar archive: {error}") from error
        for name in links:
            if _leads_out(name, links, self._absolute_links):
                raise _refused(self._label, name, f"is a link that leads out of the archive, through other links, to '{links[name]}'")

    def _raw(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        stream: Any = self._stack.enter_context(self._path.open("rb"))
        packed = stream.read(2) == GZIP
        stream.seek(0)
        size = self._path.stat().st_size
        if packed:
            stream = self._stack.enter_context(gzip.GzipFile(fileobj=stream, mode="rb"))
        guarded: Any = _Guarded(stream, size if packed else self._limits.unpacked_bytes, self._limits, self._label)
        archive = self._stack.enter_context(tarfile.TarFile(fileobj=guarded, mode="r", errors="surrogateescape"))
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # keeps memory flat; nothing here looks members up by name
            yield archive, info
        while guarded.read(_CHUNK):  # to the end, where gzip has its checksum: a cut-off archive may have lost no more than that
            pass

    def _checked(self, info: tarfile.TarInfo, kinds: dict[str, str]) -> Member | None:
        name = _clean(info.name)
        if name is None:
            raise _refused(self._label, info.name, "would be written outside the folder")
        if not name:
            return None
        parents = [posixpath.dirname(name)]
        while parents[-1]:
            parents.append(posixpath.dirname(parents[-1]))
        for parent in parents[:-1]:
            if kinds.setdefault(parent, "dir") != "dir":
                raise _refused(self._label, info.name, f"would be written through '{parent}', which is not a folder")
        kind = self._kind(info, name)
        if kinds.get(name, kind) != kind:
            raise _refused(self._label, info.name, "is there twice, as different things")
        return Member(name, kind, info.size if info.isreg() else 0, bool(info.mode & 0o111), info.linkname)

    def _kind(self, info: tarfile.TarInfo, name: str) -> str:
        if info.isdir():
            return "dir"
        if info.issym():
            target = info.linkname
            if target.startswith(self._absolute_links) and ".." not in target.split("/") and self._absolute_links:
                return "symlink"
            if _inside(posixpath.dirname(name), target):
                return "symlink"
            raise _refused(self._label, info.name, f"is a link that leads out of the archive, to '{target}'")
        if info.islnk():
            if _clean(info.linkname):
                return "link"
            raise _refused(self._label, info.name, f"is a link that leads out of the archive, to '{info.linkname}'")
        if info.isreg() and not info.issparse():
            return "file"
        raise _refused(self._label, info.name, "is neither a file, a folder nor a link (a device, a pipe or a sparse file)")


def extract(path: Path, destination: Path, *, label: str = "", limits: Limits | None = None) -> list[str]:
    """Unpack files and folders into an existing folder; links become second names of what they name, or are left out when that is missing.

    Returns the names of the files. Modes become 0755 and 0644. Raises ReleaseError.
    """
    files: list[str] = []
    links: list[tuple[Path, Path]] = []
    with Reader(path, label=label, limits=limits) as reader:
        for member, opened in reader.members():
            target = destination / member.name
            if member.kind == "dir":
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.kind == "file":
                with opened() as source:
                    _save(source, target, label or path.name)
                target.chmod(0o755 if member.executable else 0o644)
                files.append(member.name)
            else:
                base = target.parent if member.kind == "symlink" else destination
                links.append((target, Path(posixpath.normpath(base / member.target))))
    for target, named in links:
        if named.is_file() and not target.exists():
            target.hardlink_to(named)
            files.append(target.relative_to(destination).as_posix())
    return files


def _save(source: IO[bytes], target: Path, label: str) -> None:
    try:
        with target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK)
    except OSError as error:
        raise errors.ReleaseError(
            f"Archive '{label}' cannot be unpacked: {error.strerror or error}",
            suggestion="Look at free space and permissions of the folder that it is unpacked in.") from error


def check(path: Path, *, label: str = "", limits: Limits | None = None, absolute_links: tuple[str, ...] = ()) -> list[Member]:
    """Read an archive through without writing anything; its members. Raises ReleaseError."""
    with Reader(path, label=label, limits=limits, absolute_links=absolute_links) as reader:
        return [member for member, _ in reader.members()]


def digests(
    path: Path, *, label: str = "", limits: Limits | None = None, absolute_links: tuple[str, ...] = ()
) -> list[tuple[Member, str]]:
    """As `check`, with `sha256:HEX` of each file's content; '' for what is no file."""
    found = []
    with Reader(path, label=label, limits=limits, absolute_links=absolute_links) as reader:
        for member, opened in reader.members():
            mark = ""
            if member.kind == "file":
                total = hashlib.sha256()
                with opened() as source:
                    while chunk := source.read(_CHUNK):
                        total.update(chunk)
                mark = f"sha256:{total.hexdigest()}"
            found.append((member, mark))
    return found


def read_files(path: Path, *, label: str = "", most: int = 64 << 20) -> dict[str, tuple[bytes, bool]]:
    """The contents of a small archive in memory: name -> (content, executable). Links inside give what they name."""
    found: dict[str, tuple[bytes, bool]] = {}
    links: list[tuple[str, str]] = []
    limits = Limits(unpacked_bytes=most, entries=20_000, ratio=1000, ratio_from=most)
    with Reader(path, label=label, limits=limits) as reader:
        for member, opened in reader.members():
            if member.kind == "file":
                with opened() as source:
                    found[member.name] = (_read_all(source), member.executable)
            elif member.kind in ("symlink", "link"):
                base = posixpath.dirname(member.name) if member.kind == "symlink" else ""
                links.append((member.name, posixpath.normpath(posixpath.join(base, member.target))))
    found.update({name: found[target] for name, target in links if target in found})
    return found


def write(destination: Path, entries: Iterable[tuple[str, Path | bytes, int]], *, packed: bool = True, level: int = 6) -> None:
    """Write (name, content, mode) entries, in that order; a Path that is a symbolic link is stored as one.

    Owner 0, time 0 and folders first seen before their files: equal entries make equal bytes. The file appears whole or not at all.
    """
    partial = destination.with_name(f".{destination.name}.part")
    try:
        with partial.open("wb") as raw, contextlib.ExitStack() as stack:
            sink: Any = raw
            if packed:
                sink = stack.enter_context(gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=level, mtime=0))
            archive = stack.enter_context(tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape"))
            _add_all(archive, entries)
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)


def _add_all(archive: tarfile.TarFile, entries: Iterable[tuple[str, Path | bytes, int]]) -> None:
    folders: set[str] = set()
    for name, content, mode in entries:
        parents = list(Path(name).parents)[:-1]
        for parent in reversed(parents):
            if parent.as_posix() not in folders:
                folders.add(parent.as_posix())
                info = tarfile.TarInfo(parent.as_posix())
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
        info = tarfile.TarInfo(name)
        info.mode = mode
        if isinstance(content, bytes):
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        elif content.is_symlink():
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(content.readlink()), 0o777
            archive.addfile(info)
        else:
            info.size = content.stat().st_size
            with content.open("rb") as stream:
                archive.addfile(info, stream)


def _opener(archive: tarfile.TarFile, info: tarfile.TarInfo, label: str) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        stream = archive.extractfile(info)
        return io.BufferedReader(_Content(stream, label, info.name), _CHUNK) if stream is not None else io.BytesIO()

    return opened


class _Content(io.RawIOBase):
    """A member's content, which may turn out to be cut off only when it is read."""

    def __init__(self, inner: IO[bytes], label: str, name: str) -> None:
        self._inner = inner
        self._label = label
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except _BROKEN as error:
            raise _refused(self._label, self._name, f"cannot be read to its end: {error}") from error
        buffer[:len(data)] = data
        return len(data)


def _read_all(source: IO[bytes]) -> bytes:
    chunks = []
    while chunk := source.read(_CHUNK):
        chunks.append(chunk)
    return b"".join(chunks)


def _clean(name: str) -> str | None:
    """The name without `.` parts, or None when it is absolute or goes up."""
    if name.startswith("/") or "\0" in name:
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)


def _inside(folder: str, target: str) -> bool:
    if not target or target.startswith("/") or "\0" in target:
        return False
    depth = len([part for part in folder.split("/") if part])
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return False
    return True


def _leads_out(name: str, links: dict[str, str], outside: tuple[str, ...]) -> bool:
    """Whether a link, followed through all links of the archive, ends outside. Links in a circle end nowhere."""
    todo = links[name].split("/")[::-1]
    if links[name].startswith("/"):
        return False  # allowed by name, see Reader
    at = name.split("/")[:-1]
    for _ in range(10_000):
        if not todo:
            return False
        part = todo.pop()
        if part == "..":
            if not at:
                return True
            at.pop()
        elif part not in ("", "."):
            at.append(part)
            target = links.get("/".join(at))
            if target is not None:
                if target.startswith("/"):
                    return ".." in todo or not outside
                at.pop()
                todo.extend(target.split("/")[::-1])
    return False


def _refused(label: str, member: str, why: str) -> errors.ReleaseError:
    subject = f"Archive '{label}' is refused: '{member}' {why}" if member else f"Archive '{label}' is refused: it {why}"
    return errors.ReleaseError(
        diagnostics.Diagnostic(
            subject, where=diagnostics.Where(label, path=member),
            suggestion="Make the release anew from its source, or get it again from where it comes from.",
        )
    )
