"""Files written whole or not at all, and digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Optional

CHUNK = 1 << 20


def write(path: Path, text: str, mode: int = 0o644, gid: Optional[int] = None) -> bool:
    """Replace the file's content at once; answers whether it differed before."""
    data = text.encode()
    try:
        if path.read_bytes() == data and not path.is_symlink():
            if path.stat().st_mode & 0o7777 != mode:
                path.chmod(mode)
            return False
    except (FileNotFoundError, NotADirectoryError):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    name = "%s/.%s.%s" % (path.parent, path.name, unique())
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, mode)
        if gid is not None:
            os.chown(name, -1, gid)
        os.replace(name, str(path))
    except BaseException:
        os.unlink(name)
        raise
    return True


def unique() -> str:
    """Part of a name that nobody else takes."""
    return os.urandom(6).hex()


def write_json(path: Path, value: Any, mode: int = 0o600) -> bool:
    """As `write`, of JSON."""
    return write(path, json.dumps(value, sort_keys=True), mode)


def read_json(path: Path) -> Any:
    """The file's value; None when there is no file, or a torn one from before a power cut."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def link(path: Path, target: str) -> bool:
    """Make or switch a symbolic link at once; answers whether it differed before. A folder in its place is removed."""
    if path.is_symlink():
        if os.readlink(str(path)) == target:
            return False
    elif path.is_dir():
        shutil.rmtree(str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".%s.%d" % (path.name, os.getpid()))
    if temporary.is_symlink():
        temporary.unlink()
    temporary.symlink_to(target)
    os.replace(str(temporary), str(path))
    return True


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all in it. Gone before is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            chunk = stream.read(CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)


def bare(digest: str) -> str:
    """The hex of the sha256 in a digest text: `sha256:HEX`, bare hex, or several joined by `;`."""
    parts = [part.strip() for part in digest.split(";")]
    for part in parts:
        if part.startswith("sha256:"):
            return part[len("sha256:"):]
    return parts[0]


def tail(path: Path, size: int, start: int = 0) -> str:
    """At most the last `size` bytes that follow byte `start`, as text."""
    try:
        with path.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(start, end - size, 0))
            return stream.read(size).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
