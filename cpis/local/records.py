"""What the CPI knows, in files: one JSON document per resource, written atomically before the effect it announces."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cpis.contract import Unavailable

Record = dict[str, Any]


def cid_of(kind: str, token: str) -> str:
    """The CID that a token leads to. One token, one resource: that is what makes creation idempotent."""
    return f"{kind}-{hashlib.sha256(token.encode()).hexdigest()[:12]}"


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file so that readers see the old or the new text, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, against other threads and processes; it dies with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Records:
    """The records of one kind of resource: `folder/<cid>/<kind>.json`, with the resource's files beside it."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind

    def home(self, cid: str) -> Path:
        """The folder of a resource. A CID that would lead elsewhere names nothing of ours."""
        if not cid or "/" in cid or cid.startswith("."):
            return self.folder / "no-such-cid"
        return self.folder / cid

    def path(self, cid: str) -> Path:
        return self.home(cid) / f"{self.kind}.json"

    def get(self, cid: str) -> Record | None:
        """The record, or None when there is none."""
        try:
            text = self.path(cid).read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            record: Record = json.loads(text)
        except ValueError as error:
            raise Unavailable(f"the record of {cid} cannot be read: {self.path(cid)}", resource=cid) from error
        return record

    def put(self, cid: str, record: Mapping[str, Any]) -> None:
        self.home(cid).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self.path(cid), json.dumps(record, indent=1, sort_keys=True))

    def all(self) -> list[Record]:
        """All records, by CID."""
        if not self.folder.is_dir():
            return []
        found = (self.get(entry.name) for entry in sorted(self.folder.iterdir()) if not entry.name.startswith("."))
        return [record for record in found if record is not None]

    def strays(self) -> list[str]:
        """CIDs whose folder is there without a record: a crash came right before the record was written, or after it was removed."""
        if not self.folder.is_dir():
            return []
        return [entry.name for entry in sorted(self.folder.iterdir()) if entry.is_dir() and not self.path(entry.name).exists()]

    def empty(self, cid: str) -> None:
        """Delete the resource's files but its record."""
        home = self.home(cid)
        if home.is_dir():
            for entry in list(home.iterdir()):
                if entry != self.path(cid):
                    _remove_tree(entry)

    def remove(self, cid: str) -> None:
        """Delete the resource's files, its record last, so that a crash on the way leaves it known."""
        home = self.home(cid)
        if not home.is_dir():
            return
        self.empty(cid)
        self.path(cid).unlink(missing_ok=True)
        home.rmdir()


def _remove_tree(path: Path) -> None:
    """Delete a file or folder. A mount below is a bug that must not cost the user's data, so one is refused."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    device = path.lstat().st_dev
    stack = [path]
    folders: list[Path] = []
    while stack:
        folder = stack.pop()
        if folder.lstat().st_dev != device:
            raise Unavailable(f"something is mounted on {folder}", suggestion=f"umount {folder}")
        folders.append(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))
                else:
                    os.unlink(entry.path)
    for folder in reversed(folders):
        folder.rmdir()
