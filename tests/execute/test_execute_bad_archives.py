"""Compiled releases, exports and stemcells that are damaged, incomplete or made by an enemy: one clear error, nothing stored."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import World
from release_files import blobs, consistent

from director.errors import CaissonError
from director.execute import fetch, upload_stemcell, uploads
from director.release import tar

LINK, HARD, DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
Files = dict[str, Any]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One director for all: each refusal must leave it as it was."""
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


def packed(files: Files) -> bytes:
    """An archive of name -> content, or name -> fields of TarInfo."""
    raw = io.BytesIO()
    with tarfile.TarFile(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for key, value in content.items():
                    setattr(info, key, value)
                content = b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), 1, mtime=0)


JOB = packed({"job.MF": b"name: web\npackages: [app]\n", "monit": b""})
GOOD = packed({"bin/app": b"app"})


def form(name: str = "app", **more: Any) -> Files:
    """A compiled package's entry; its `archive` goes into the release."""
    archive = more.pop("archive", GOOD)
    digest = "sha256:" + hashlib.sha256(archive).hexdigest()
    return {"name": name, "version": name, "fingerprint": name, "sha1": digest, "stemcell": "linux/1.1", "dependencies": [],
            "archive": archive, **more}


def release(*forms: Files, leave_out: str = "", **changes: Any) -> bytes:
    """A compiled release `demo/1` with job `web`."""
    files: Files = {f"compiled_packages/{item['name']}.tgz": item["archive"] for item in forms}
    files["jobs/web.tgz"] = JOB
    listing = {
        "name": "demo", "version": "1", "commit_hash": "abc", "uncommitted_changes": False,
        "jobs": [{"name": "web", "version": "f1", "fingerprint": "f1", "sha1": hashlib.sha1(JOB).hexdigest()}],
        "compiled_packages": [{key: value for key, value in item.items() if key != "archive"} for item in forms], **changes,
    }
    listed = {"release.MF": yaml.safe_dump(listing).encode(), **files}
    return packed({name: content for name, content in listed.items() if name != leave_out})


RELEASES: dict[str, tuple[bytes, str]] = {
    "wrong digest": (release(form(sha1="sha256:" + "0" * 64)), r"Compiled package 'app' of release 'demo/1' has the wrong digest"),
    "no digest": (release(form(sha1="x")), "Compiled package 'app' of release 'demo/1' has no digest that can be verified"),
    "package missing": (
        release(form(), leave_out="compiled_packages/app.tgz"),
        r"Compiled package 'app' is missing in release 'demo/1' \(upload.tgz compiled_packages/app.tgz\)"),
    "job missing": (release(form(), leave_out="jobs/web.tgz"), "Job 'web' is missing in release 'demo/1'"),
    "manifest missing": (release(form(), leave_out="release.MF"), "Release manifest not found"),
    "name that goes up": (
        release(form(archive=packed({"../../etc/passwd": b"x"}))),
        r"(?s)'compiled_packages/app.tgz' is refused: '../../etc/passwd' would be written outside the folder"),
    "absolute name": (release(form(archive=packed({"/etc/passwd": b"x"}))), "'/etc/passwd' would be written outside the folder"),
    "link out": (
        release(form(archive=packed({"l": {"type": LINK, "linkname": "../../../etc"}}))), "'l' is a link that leads out of the archive"),
    "hard link out": (
        release(form(archive=packed({"l": {"type": HARD, "linkname": "/etc/shadow"}}))), "'l' is a link that leads out of the archive"),
    "device": (release(form(archive=packed({"null": {"type": DEVICE}}))), "'null' is neither a file, a folder nor a link"),
    "truncated package": (
        release(form(archive=packed({"bin/app": bytes(range(256)) * 4000})[:-3000])), "'compiled_packages/app.tgz' is refused: .*damaged"),
    "no archive": (release(form(archive=b"no archive")), "'compiled_packages/app.tgz' is refused: .*damaged or no"),
    "truncated": (release(form())[:-60], "Archive 'upload.tgz' is refused: .*damaged"),
    "empty": (b"", "Archive 'upload.tgz' is refused: it is damaged or no"),
    "circle": (
        release(form("app", dependencies=["lib"]), form("lib", dependencies=["app"])), "circle: app -> lib -> app"),
    "depends on itself": (release(form("app", dependencies=["app"])), "circle: app -> app"),
    "unknown dependency": (release(form("app", dependencies=["ap"])), "Package 'app' references missing package 'ap'"),
    "unknown package of a job": (release(form("lib")), "Job 'web' references missing package 'app'"),
    "twice": (release(form(), form()), "Release 'demo' lists compiled package 'app' for 'linux/1.1' twice"),
    "twice, differently": (
        release(form(), form(fingerprint="other", stemcell="linux/2")), "Release 'demo' lists package 'app' with different fingerprints"),
    "no stemcell": (release(form(stemcell="linux")), "'app' names no stemcell as OS/VERSION, got 'linux'"),
    "stemcell without version": (release(form(stemcell="linux/")), "got 'linux/'"),
    "stemcell without system": (release(form(stemcell="/1")), "got '/1'"),
    "stemcell with too much": (release(form(stemcell="linux/1/2")), "got 'linux/1/2'"),
    "no list": (release(form(), compiled_packages={"app": 1}), "'compiled_packages' of the release manifest is not a list of maps"),
    "bad version": (release(form(), version="1..2"), r"Release version invalid: 1\.\.2"),
    "bad name": (release(form(), form("a b", version="1")), 'Invalid compiled package 2 name in release manifest: "a b"'),
    "name of a package that goes up": (release(form("../app")), "'compiled_packages/../app.tgz' would be written outside the folder"),
}


def refused(world: World, tmp_path: Path, data: bytes, words: str, upload: Any) -> CaissonError:
    path = tmp_path / "upload.tgz"
    path.write_bytes(data)
    with pytest.raises(CaissonError, match=f"(?s){words}") as caught:
        upload(world.context, fetch.Upload(path=str(path)))
    assert not path.exists()
    store = world.store
    assert (blobs(world), store.releases.all(), store.compiled_packages.all(), store.stemcells.all()) == (set(), [], [], [])
    assert list(world.blobs.incoming.iterdir()) == [], "nothing unpacked is left"
    assert not world.cloud.owned()
    assert consistent(world)
    return caught.value


def bomb(mebibytes: int) -> bytes:
    """An archive of one file of zeros, which is never in memory as a whole."""
    info = tarfile.TarInfo("zeros")
    info.size = mebibytes << 20
    squeeze = zlib.compressobj(9, wbits=31)
    pieces = [squeeze.compress(info.tobuf(tarfile.GNU_FORMAT))]
    pieces += [squeeze.compress(bytes(1 << 20)) for _ in range(mebibytes)]
    return b"".join([*pieces, squeeze.compress(bytes(1024)), squeeze.flush()])


def test_a_compiled_package_that_is_a_bomb(shared: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a smaller limit than the real one, to be quick."""
    monkeypatch.setattr(tar, "Limits", functools.partial(tar.Limits, ratio_from=1 << 20))
    words = "'compiled_packages/app.tgz' is refused: it unpacks to more than 2 MiB"
    refused(shared, tmp_path, release(form(archive=bomb(4))), words, uploads.upload_release)


@pytest.mark.parametrize("case", RELEASES)
def test_compiled_releases(case: str, shared: World, tmp_path: Path) -> None:
    data, words = RELEASES[case]
    error = refused(shared, tmp_path, data, words, uploads.upload_release)
    assert len(error.diagnostics) == 1, error
    assert "app" in str(error) or "upload.tgz" in str(error) or "(release.MF)" in str(error), "it has a place"


def test_all_that_is_wrong_with_a_compiled_release_is_told_at_once(shared: World, tmp_path: Path) -> None:
    data = release(form("app", sha1="0" * 40), form("lib", archive=b"no"), form("more"), leave_out="compiled_packages/more.tgz")
    error = refused(shared, tmp_path, data, "'app'.*'compiled_packages/lib.tgz'.*'more'", uploads.upload_release)
    assert len(error.diagnostics) == 3


def test_a_good_one_is_taken_after_all_that(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    path = tmp_path / "upload.tgz"
    path.write_bytes(release(form("app", dependencies=["lib"]), form("lib")))
    assert uploads.upload_release(world.context, fetch.Upload(path=str(path))) == "Created release 'demo/1'"
    world.close()


def stemcell(*, leave_out: str = "", files: Files | None = None, **changes: Any) -> bytes:
    listing = {"name": "x", "version": "1", "operating_system": "linux", "sha1": "0" * 40, "cloud_properties": {}, **changes}
    content: Files = {"stemcell.MF": yaml.safe_dump(listing).encode(), "image": b"image", **(files or {})}
    return packed({name: data for name, data in content.items() if name != leave_out})


STEMCELLS: dict[str, tuple[bytes, str]] = {
    "no manifest": (stemcell(leave_out="stemcell.MF"), "'upload.tgz' holds no stemcell.MF"),
    "no image": (stemcell(leave_out="image"), "Stemcell image not found"),
    "no name": (stemcell(name=""), "Required property 'name' was not specified in the stemcell manifest"),
    "bad version": (stemcell(version="1 2"), "Stemcell version invalid: 1 2"),
    "properties that are no map": (stemcell(cloud_properties=[1]), "'cloud_properties' of the stemcell is not a map"),
    "formats that are no list": (stemcell(stemcell_formats="a"), "'stemcell_formats' of the stemcell is not a list"),
    "API version that is no number": (stemcell(api_version="3"), "'api_version' of the stemcell is not a number"),
    "no YAML": (stemcell(files={"stemcell.MF": b"a: ["}), "not valid YAML"),
    "name that goes up": (stemcell(files={"../x": b"x"}), "'../x' would be written outside the folder"),
    "image that is a link out": (
        stemcell(leave_out="image", files={"l": {"type": LINK, "linkname": "/etc/passwd"}}), "'l' is a link that leads out"),
    "device": (stemcell(files={"d": {"type": DEVICE}}), "'d' is neither a file, a folder nor a link"),
    "truncated": (stemcell()[:-40], "Archive 'upload.tgz' is refused: .*damaged"),
    "no archive": (b"no archive", "Archive 'upload.tgz' is refused: .*damaged"),
    "a format that no cloud takes": (
        stemcell(stemcell_formats=["vhd"]), r'uploaded stemcell with formats \["vhd"\] are not supported by available cpi formats: \["'),
}


@pytest.mark.parametrize("case", STEMCELLS)
def test_stemcells(case: str, shared: World, tmp_path: Path) -> None:
    data, words = STEMCELLS[case]
    error = refused(shared, tmp_path, data, words, upload_stemcell.upload_stemcell)
    assert len(error.diagnostics) == 1, error


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "0" * 40, "nonsense"])
def test_a_digest_that_was_given_must_fit(digest: str, shared: World, tmp_path: Path) -> None:
    for upload, data in ((uploads.upload_release, release(form())), (upload_stemcell.upload_stemcell, stemcell())):
        path = tmp_path / "upload.tgz"
        path.write_bytes(data)
        with pytest.raises(CaissonError, match="digest") as caught:
            upload(shared.context, fetch.Upload(path=str(path), sha1=digest))
        assert caught.value.code == 30015
        assert not path.exists()
    assert not blobs(shared)
    assert not shared.cloud.owned()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.tgz").write_bytes(GOOD)
    monkeypatch.setattr(tar.shutil, "copyfileobj", full)
    with pytest.raises(CaissonError, match=r"Archive 'a\.tgz' cannot be unpacked: No space left on device"):
        tar.extract(tmp_path / "a.tgz", tmp_path)
