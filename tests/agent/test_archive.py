from __future__ import annotations

import contextlib
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from director.guest.agent import archive, files
from director.guest.agent.errors import ActionError

from .conftest import tgz

PARTS = st.sampled_from(["a", "b", "..", ".", "", "/", "outside", "a\\b", "é", "x" * 300])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, size
    return info


def pack_members(members: list[tarfile.TarInfo]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as writer:
        for info in members:
            info.size = 5 if info.type == tarfile.REGTYPE else 0
            writer.addfile(info, io.BytesIO(b"hello") if info.size else None)
    return packed.getvalue()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NAMES, KINDS, st.one_of(NAMES, st.just("../outside"), st.just("/etc/passwd"))), max_size=8), st.booleans())
def test_nothing_is_ever_written_outside(entries: list[tuple[str, bytes, str]], links: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "outside").write_text("untouched")
        source = top / "source.tgz"
        source.write_bytes(pack_members([member(*entry) for entry in entries]))
        before = sorted(os.listdir(top))
        with contextlib.suppress(ActionError, OSError):  # refused, or a name too long for the file system
            archive.unpack(source, top / "target", links=links)
        assert sorted(set(os.listdir(top)) - {"target"}) == before
        assert (top / "outside").read_text() == "untouched"
        for folder, folders, found in os.walk(top / "target"):
            for item in folders + found:
                path = Path(folder, item)
                if not path.is_symlink():
                    assert path.resolve().is_relative_to((top / "target").resolve())
                else:
                    assert links


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 255))
def test_broken_archives_are_refused_in_words(tail: bytes, at: int, value: int) -> None:
    data = bytearray(tgz({"a/": "", "a/b": "text" * 20}) + tail)
    data[at % len(data)] = value
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "source.tgz")
        source.write_bytes(bytes(data))
        with contextlib.suppress(ActionError):  # never another error
            archive.unpack(source, Path(name, "target"))


@pytest.mark.parametrize(
    "members",
    [
        [member("../x")],
        [member("/x")],
        [member("a/../../x")],
        [member("dev", tarfile.CHRTYPE)],
        [member("fifo", tarfile.FIFOTYPE)],
        [member("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("hard", tarfile.LNKTYPE, "../../etc/passwd")],
        [member("a"), member("a/b")],
    ],
)
def test_refused_members(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    source = tmp_path / "source.tgz"
    source.write_bytes(pack_members(members))
    with pytest.raises(ActionError):
        archive.unpack(source, tmp_path / "target")


def test_a_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    source = tmp_path / "source.tgz"
    source.write_bytes(pack_members([member("way", tarfile.SYMTYPE, str(elsewhere)), member("way/file")]))
    with pytest.raises(ActionError):
        archive.unpack(source, tmp_path / "target")
    assert list(elsewhere.iterdir()) == []


def test_links_may_be_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.tgz"
    source.write_bytes(pack_members([member("a", tarfile.SYMTYPE, "b")]))
    with pytest.raises(ActionError, match="no file or folder"):
        archive.unpack(source, tmp_path / "target", links=False)


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    source = tmp_path / "source.tgz"
    source.write_bytes(tgz({"zeros": b"\0" * 2_000_000}))
    with pytest.raises(ActionError, match="unpacks to more than"):
        archive.unpack(source, tmp_path / "target", max_bytes=1_000_000)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_compression_is_told_by_content(tmp_path: Path, mode: str) -> None:
    source = tmp_path / "source.tgz"
    with tarfile.open(source, mode) as writer:  # type: ignore[call-overload]
        info = member("./bin/run", mode=0o755, size=5)
        writer.addfile(info, io.BytesIO(b"hello"))
    archive.unpack(source, tmp_path / "target")
    assert (tmp_path / "target/bin/run").read_text() == "hello"
    assert (tmp_path / "target/bin/run").stat().st_mode & 0o777 == 0o755


def test_what_is_packed_comes_back_and_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "bin").mkdir(parents=True)
    (made / "bin/tool").write_text("#!/bin/sh\n")
    (made / "bin/tool").chmod(0o755)
    (made / "lib").symlink_to("bin")
    os.link(made / "bin/tool", made / "bin/same")
    (made / "empty").mkdir()
    archive.pack(made, tmp_path / "one.tgz")
    archive.pack(made, tmp_path / "two.tgz")
    assert files.sha256(tmp_path / "one.tgz") == files.sha256(tmp_path / "two.tgz")
    archive.unpack(tmp_path / "one.tgz", tmp_path / "back")
    assert (tmp_path / "back/bin/tool").stat().st_mode & 0o777 == 0o755
    assert os.readlink(tmp_path / "back/lib") == "bin"
    assert (tmp_path / "back/bin/same").read_text() == "#!/bin/sh\n"
    assert (tmp_path / "back/empty").is_dir()
