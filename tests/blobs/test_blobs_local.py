"""Blobs are there whole or not at all."""

from __future__ import annotations

import hashlib
import io
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, strategies

from director import errors
from director.blobs import LocalBlobstore, Signer

CONTENT = b"content" * 1000
SHA1, SHA256 = hashlib.sha1(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobstore:
    return LocalBlobstore(tmp_path / "blobs")


def test_bytes_files_and_streams_are_stored_alike(blobs: LocalBlobstore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    stream = io.BytesIO(b"skipped" + CONTENT)
    stream.seek(7)
    for source in (CONTENT, tmp_path / "file", str(tmp_path / "file"), stream):
        blob = blobs.put(source)
        assert (blob.sha256, blob.sha1, blob.size) == (SHA256, SHA1, len(CONTENT))
        assert blobs.read(blob.id, sha256=SHA256) == CONTENT
    assert not stream.closed
    assert (tmp_path / "file").exists()
    assert len(list(blobs.ids())) == 4


@pytest.mark.parametrize("expected", [SHA1, f"sha256:{SHA256}", f"{SHA1};sha256:{SHA256}", f"SHA256:{SHA256.upper()}", ""])
def test_right_digest(blobs: LocalBlobstore, expected: str) -> None:
    blobs.verify(blobs.put(CONTENT, expected=expected).id, expected or SHA1)


@pytest.mark.parametrize("expected", ["0" * 40, f"sha256:{'0' * 64}", f"{SHA1};sha256:{'0' * 64}", "no digest", "md5:" + "0" * 32])
def test_wrong_digest_leaves_nothing(blobs: LocalBlobstore, expected: str) -> None:
    with pytest.raises(errors.ReleaseError) as caught:
        blobs.put(CONTENT, expected=expected)
    assert caught.value.code == 30015
    assert [path for path in blobs.root.rglob("*") if path.is_file()] == []


def test_failing_stream_leaves_nothing(blobs: LocalBlobstore) -> None:
    class Full(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise OSError(28, "No space left on device")
            return super().read(100)

    source: BinaryIO = Full(CONTENT)
    with pytest.raises(errors.CaissonError, match="No space left on device"):
        blobs.put(source)
    assert [path for path in blobs.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "", "x", "3b30123e-dfa6-4eff-abe6-63c2d5a88938/../x", "3b30123e-dfa6-4eff-abe6-63c2d5a88938\n"],
)
def test_what_is_no_id_is_unknown(blobs: LocalBlobstore, name: str) -> None:
    assert not blobs.exists(name)
    for ask in (blobs.path, blobs.open, blobs.read, blobs.delete):
        with pytest.raises(errors.NotFoundError) as caught:
            ask(name)
        assert caught.value.code == 100002


def test_deleted_twice(blobs: LocalBlobstore) -> None:
    blob = blobs.put(CONTENT)
    blobs.delete(blob.id)
    blobs.delete(blob.id)
    with pytest.raises(errors.NotFoundError):
        next(blobs.chunks(blob.id))


def test_changed_on_disk(blobs: LocalBlobstore) -> None:
    blob = blobs.put(CONTENT)
    blobs.path(blob.id).write_bytes(b"other")
    with pytest.raises(errors.ReleaseError):
        blobs.read(blob.id, sha256=SHA256)
    with pytest.raises(errors.ReleaseError):
        blobs.verify(blob.id, SHA1)


def test_private(blobs: LocalBlobstore) -> None:
    assert stat.S_IMODE(blobs.path(blobs.put(CONTENT).id).stat().st_mode) == 0o600
    assert stat.S_IMODE(blobs.root.stat().st_mode) == 0o700


def test_pieces(blobs: LocalBlobstore) -> None:
    blob = blobs.put(CONTENT)
    assert b"".join(blobs.chunks(blob.id, start=10, size=999)) == CONTENT[10:]


def test_killed_while_writing(tmp_path: Path) -> None:
    """What a dead director was writing is no blob, and is removed by the next one."""
    script = (
        "import os, signal, sys, io\n"
        "from director.blobs import LocalBlobstore\n"
        "class Slow(io.BytesIO):\n"
        "    def read(self, size=-1):\n"
        "        if self.tell(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().read(10)\n"
        "LocalBlobstore(sys.argv[1]).put(Slow(b'x' * 100))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    (tmp_path / "tmp" / "unpacking").mkdir()
    (tmp_path / "tmp" / "unpacking" / "file").write_text("x")
    blobs = LocalBlobstore(tmp_path)
    assert list(blobs.ids()) == []
    assert list(blobs.incoming.iterdir()) == []


PATH = "/blobs/3b30123e-dfa6-4eff-abe6-63c2d5a88938"


def signer(now: float = 1000.0) -> Signer:
    return Signer(b"s" * 32, lambda: now)


def query(link: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in link.partition("?")[2].split("&"))


def test_link_allows_one_thing_for_a_while() -> None:
    link = signer().sign(PATH, 60)
    assert link.startswith(PATH + "?")
    assert signer(1059.0).allows(PATH, query(link))
    assert signer(1059.0).allows(PATH, query(link), method="HEAD")
    assert not signer(1060.0).allows(PATH, query(link))
    assert not signer().allows(PATH, query(link), method="PUT")
    assert not signer().allows(PATH + "0", query(link))
    assert not Signer(b"t" * 32, lambda: 1000.0).allows(PATH, query(link))
    assert signer().allows(PATH, query(signer().sign(PATH, 60, method="PUT")), method="PUT")


@given(strategies.text(max_size=20), strategies.text(max_size=70))
def test_made_up_links_are_refused(expires: str, signature: str) -> None:
    assert not signer().allows(PATH, {"expires": expires, "signature": signature})


def test_later_end_needs_another_signature() -> None:
    parts = query(signer().sign(PATH, 60))
    assert not signer().allows(PATH, {**parts, "expires": str(int(parts["expires"]) + 1)})
    assert not signer().allows(PATH, {})


def test_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Signer(b"short", lambda: 0.0)
