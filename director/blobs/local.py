"""A blobstore in a folder. A blob is there whole or not at all, whatever happens while it is written.

    ROOT/3f/3f0c....-uuid     one file per blob, mode 0600
    ROOT/tmp/                 what is being written; emptied when the blobstore is opened after a crash
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from director import errors
from director.diagnostics import Diagnostic
from director.release import digest

CHUNK = 1024 * 1024
_ID = re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclasses.dataclass(frozen=True)
class Blob:
    """What was stored. Digests are bare hex, `size` in bytes."""

    id: str
    sha256: str
    sha1: str
    size: int


class LocalBlobstore:
    """Safe to use from many threads."""

    def __init__(self, root: str | Path, *, new_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> None:
        """Makes the folder (mode 0700) when it is missing, and removes what a director that died was writing."""
        self.root = Path(root)
        self._new_id = new_id
        self._temporary = self.root / "tmp"
        self._temporary.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for leftover in self._temporary.iterdir():
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)

    @property
    def incoming(self) -> Path:
        """A folder for what is on its way into the blobstore, on the same file system; emptied when the director starts."""
        return self._temporary

    def put(self, source: str | Path | bytes | BinaryIO, *, expected: str = "") -> Blob:
        """Store a file's content, bytes, or what a stream still holds; the source stays. On disk when this returns.

        `expected` is a digest text as in release manifests (`HEX` of SHA-1, `sha256:HEX`, or several joined by `;`), checked on the way.
        Raises ReleaseError (30015) when it differs, CaissonError when the disk is full; nothing is left then.
        """
        blob_id = self._new_id()
        target = self.path(blob_id)
        temporary = self._temporary / blob_id
        wanted = digest.parse(expected)
        if expected and not wanted:
            raise _mismatch(expected, "not computed, since that is no digest")
        try:
            with _opened(source) as stream:
                hashes, size = _copy(stream, temporary, {"sha256", "sha1", *wanted})
            for algorithm, value in wanted.items():
                if hashes[algorithm] != value:
                    raise _mismatch(f"{algorithm}:{value}", f"{algorithm}:{hashes[algorithm]}")
            target.parent.mkdir(exist_ok=True)
            temporary.rename(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise errors.CaissonError(Diagnostic(
                "The blob cannot be stored", detail=str(error),
                suggestion="Look at free space and permissions of the director's state directory; `caisson clean-up` frees space.",
            )) from error
        finally:
            temporary.unlink(missing_ok=True)
        return Blob(blob_id, hashes["sha256"], hashes["sha1"], size)

    def path(self, blob_id: str) -> Path:
        """Where a blob is or would be. Only to be read. Raises NotFoundError (100002) for what cannot be the id of a blob."""
        if not _ID.match(blob_id):
            raise _unknown(blob_id)
        return self.root / blob_id[:2] / blob_id

    def exists(self, blob_id: str) -> bool:
        """Whether it is there."""
        return bool(_ID.match(blob_id)) and self.path(blob_id).is_file()

    def open(self, blob_id: str) -> BinaryIO:
        """A stream to read it, which the caller closes. Raises NotFoundError (100002)."""
        try:
            return self.path(blob_id).open("rb")
        except FileNotFoundError:
            raise _unknown(blob_id) from None

    def read(self, blob_id: str, *, sha256: str = "") -> bytes:
        """The whole content of a small one. Raises NotFoundError (100002), ReleaseError (30015) when it is not what `sha256` tells."""
        with self.open(blob_id) as stream:
            content = stream.read()
        if sha256 and (found := hashlib.sha256(content).hexdigest()) != sha256:
            raise _mismatch(f"sha256:{sha256}", f"sha256:{found}")
        return content

    def chunks(self, blob_id: str, *, start: int = 0, size: int = CHUNK) -> Iterator[bytes]:
        """The content from byte `start` on, piece by piece. Raises NotFoundError (100002) at the first piece."""
        with self.open(blob_id) as stream:
            stream.seek(start)
            while piece := stream.read(size):
                yield piece

    def verify(self, blob_id: str, expected: str) -> None:
        """Read it and compare with a digest text. Raises NotFoundError (100002), ReleaseError (30015)."""
        self.open(blob_id).close()
        digest.verify(self.path(blob_id), expected, f"Blob '{blob_id}'")

    def delete(self, blob_id: str) -> None:
        """Remove it; nothing happens when it is not there."""
        self.path(blob_id).unlink(missing_ok=True)

    def ids(self) -> Iterator[str]:
        """All blobs, in no order."""
        return (path.name for path in self.root.glob("??/*") if _ID.match(path.name))


@contextlib.contextmanager
def _opened(source: str | Path | bytes | BinaryIO) -> Iterator[BinaryIO]:
    """A stream of the source. A stream that was given stays open: its owner closes it."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, str | Path):
        with Path(source).open("rb") as stream:
            yield stream
    else:
        yield source


def _copy(stream: BinaryIO, target: Path, algorithms: set[str]) -> tuple[dict[str, str], int]:
    """Copy, hash on the way, and wait for the disk. Answers hex digests and the size."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    size = 0
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as out:
        while piece := stream.read(CHUNK):
            for algorithm in hashes.values():
                algorithm.update(piece)
            out.write(piece)
            size += len(piece)
        out.flush()
        os.fsync(out.fileno())
    return {name: algorithm.hexdigest() for name, algorithm in hashes.items()}, size


def _sync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unknown(blob_id: str) -> errors.NotFoundError:
    return errors.NotFoundError(f"Blob '{blob_id}' not found in the blobstore", code=100002)


def _mismatch(expected: str, actual: str) -> errors.ReleaseError:
    return errors.ReleaseError(Diagnostic(
        f"Expected stream to have digest '{expected}' but was '{actual}'", code=digest.MISMATCH,
        suggestion="The content is damaged or not what was meant. Send it again from where it comes from."))
