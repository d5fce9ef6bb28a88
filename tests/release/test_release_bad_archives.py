"""Archives that are refused, each with the member's name, and nothing written outside."""

from __future__ import annotations

import contextlib
import gzip
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_builder import entry, tar_bytes

from director import errors
from director.release import tar

LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE

BAD = {
    "absolute": ([entry("/etc/passwd", b"x")], "/etc/passwd"),
    "up": ([entry("../x", b"x")], "../x"),
    "up in the middle": ([entry("a/../../x", b"x")], "a/../../x"),
    "link out": ([entry("l", type=LINK, linkname="../../etc")], "l"),
    "absolute link": ([entry("l", type=LINK, linkname="/etc/passwd")], "l"),
    "hard link out": ([entry("l", type=HARD, linkname="../x")], "l"),
    "behind a link": ([entry("d", type=LINK, linkname="."), entry("d/x", b"x")], "d/x"),
    "links in a row": (
        [entry("d", type=tarfile.DIRTYPE), entry("d/up", type=LINK, linkname=".."), entry("l", type=LINK, linkname="d/up/../x")], "l"
    ),
    "device": ([entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "null"),
    "pipe": ([entry("pipe", type=tarfile.FIFOTYPE)], "pipe"),
    "file and folder": ([entry("a", b"x"), entry("a", type=tarfile.DIRTYPE)], "a"),
    "below a file": ([entry("a", b"x"), entry("a/b", b"x")], "a/b"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("packed", [True, False])
def test_refused(case: str, packed: bool, tmp_path: Path) -> None:
    entries, member = BAD[case]
    path = tmp_path / "bad.tgz"
    path.write_bytes(tar_bytes(entries, packed=packed))
    target = tmp_path / "in" / "side"
    target.mkdir(parents=True)
    with pytest.raises(errors.ReleaseError, match=r"bad\.tgz") as caught:
        tar.extract(path, target)
    assert f"'{member}'" in caught.value.message
    assert sorted(os.listdir(tmp_path)) == ["bad.tgz", "in"]
    assert os.listdir(tmp_path / "in") == ["side"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tgz"
    path.write_bytes(tar_bytes([entry("zeros", b"\0" * (4 << 20))]))
    limits = tar.Limits(ratio=10, ratio_from=1 << 20)
    with pytest.raises(errors.ReleaseError, match="unpacks to more than"):
        tar.check(path, limits=limits)
    (tmp_path / "out").mkdir()
    with pytest.raises(errors.ReleaseError, match="unpacks to more than"):
        tar.extract(path, tmp_path / "out", limits=limits)
    assert sum(item.stat().st_size for item in (tmp_path / "out").iterdir()) <= 2 << 20


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.XHDTYPE, 6 << 30
    path = tmp_path / "bomb.tgz"
    path.write_bytes(gzip.compress(info.tobuf() + b"\0" * (1 << 20)))
    with pytest.raises(errors.ReleaseError, match="gigabytes"):
        tar.check(path)


def test_too_many_entries(tmp_path: Path) -> None:
    path = tmp_path / "many.tgz"
    path.write_bytes(tar_bytes([entry(f"f{number}") for number in range(20)]))
    with pytest.raises(errors.ReleaseError, match="more than 10 entries"):
        tar.check(path, limits=tar.Limits(entries=10))


DAMAGED = [b"", b"no tar at all", b"\x1f\x8bgarbage", gzip.compress(b"no tar inside"), tar_bytes([entry("a", b"x" * 9000)])[:60]]


@pytest.mark.parametrize("content", DAMAGED, ids=["empty", "text", "garbage", "no tar", "cut off"])
def test_damaged(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tgz"
    path.write_bytes(content)
    with pytest.raises(errors.ReleaseError, match="damaged"):
        tar.check(path)


def test_links_inside_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "good.tgz"
    path.write_bytes(tar_bytes([
        entry("./lib/real.so", b"so", mode=0o755), entry("./lib/alias.so", type=LINK, linkname="real.so"),
        entry("./lib64", type=LINK, linkname="lib"), entry("./hard", type=HARD, linkname="./lib/real.so"),
        entry("./dangling", type=LINK, linkname="not/there"), entry("./round", type=LINK, linkname="round"),
    ]))
    (tmp_path / "out").mkdir()
    files = tar.extract(path, tmp_path / "out")
    assert sorted(files) == ["hard", "lib/alias.so", "lib/real.so"]
    assert (tmp_path / "out/hard").read_bytes() == b"so"
    assert (tmp_path / "out/lib/real.so").stat().st_mode & 0o777 == 0o755


def test_compiled_packages_may_link_to_where_they_are_installed(tmp_path: Path) -> None:
    path = tmp_path / "compiled.tgz"
    path.write_bytes(tar_bytes([entry("l", type=LINK, linkname="/var/vcap/packages/x/bin/x")]))
    assert tar.check(path, absolute_links=("/var/vcap/",))
    path.write_bytes(tar_bytes([entry("l", type=LINK, linkname="/var/vcap/../../etc")]))
    with pytest.raises(errors.ReleaseError, match="leads out"):
        tar.check(path, absolute_links=("/var/vcap/",))


names = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c"]), min_size=1, max_size=4).map("/".join)
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, LINK, HARD])
members = st.lists(
    st.builds(
        lambda name, kind, target: entry(name or "a", b"x" if kind == tarfile.REGTYPE else b"", type=kind, linkname=target),
        names, kinds, names,
    ),
    max_size=6,
)


@settings(max_examples=100, deadline=None)
@given(members)
def test_nothing_is_ever_written_outside(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        inside = root / "x" / "y" / "z"
        inside.mkdir(parents=True)
        (root / "archive.tgz").write_bytes(tar_bytes(entries))
        with contextlib.suppress(errors.ReleaseError):
            tar.extract(root / "archive.tgz", inside)
        outside = [path for path in root.rglob("*") if inside not in path.parents]
        assert sorted(path.relative_to(root).as_posix() for path in outside) == ["archive.tgz", "x", "x/y", "x/y/z"]
        assert not any(path.is_symlink() for path in inside.rglob("*"))


def test_written_archives_are_equal_for_equal_content(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("x")
    first, second = tmp_path / "1.tgz", tmp_path / "2.tgz"
    tar.write(first, [("d/a", source, 0o644), ("d/b", b"y", 0o755)])
    os.utime(source, (1, 1))
    tar.write(second, [("d/a", source, 0o644), ("d/b", b"y", 0o755)])
    assert first.read_bytes() == second.read_bytes()
    assert [member.name for member in tar.check(first)] == ["d", "d/a", "d/b"]
