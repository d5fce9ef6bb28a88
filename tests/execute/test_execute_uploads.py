"""Releases arrive: whole, in part, compiled, again, changed, damaged. Source: release contract, section 8; rows 9 to 11 of section 21."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import World
from release_files import Listing, blobs, build, compiled, consistent, upload
from small_world import MANIFEST, RELEASE

from director.errors import CaissonError, ConflictError, ReleaseError
from director.execute import fetch, uploads
from director.release import archive, manifest, tar


@pytest.fixture
def empty(tmp_path: Path) -> Any:
    world = World(tmp_path / "empty")
    yield world
    world.close()


def test_what_is_new_and_what_is_known_is_told(empty: World, tmp_path: Path) -> None:
    assert upload(empty, build(tmp_path, RELEASE)) == "Created release 'rel/1'"
    assert [step for step in empty.log.steps if step.startswith("Creating")] == [
        f"Creating new {kind}s: {name}" for kind, name in _names(empty, "1")]
    empty.log.steps.clear()
    upload(empty, build(tmp_path, {**RELEASE, "src/app.txt": "other\n"}, version="2"))
    told = [step.split(":")[0] for step in empty.log.steps]
    assert told == [
        "Extracting release", "Verifying manifest", "Resolving package dependencies", "Creating new packages",
        "Processing 1 existing package", "Processing 2 existing jobs", "Release has been created"]
    assert consistent(empty)


def _names(world: World, version: str) -> list[tuple[str, str]]:
    release = world.store.releases.get("rel", version)
    return [("package", f"{item.name}/{item.version}") for item in release.packages] + [
        ("job", f"{item.name}/{item.version}") for item in release.jobs]


def test_the_same_again_changes_nothing(empty: World, tmp_path: Path) -> None:
    tarball = build(tmp_path, RELEASE)
    upload(empty, tarball)
    before, had = empty.store.releases.get("rel", "1"), blobs(empty)
    upload(empty, tarball)
    assert (empty.store.releases.get("rel", "1"), blobs(empty)) == (before, had)


@pytest.mark.parametrize(("change", "code", "words"), [
    ({"commit_hash": "abc"}, 30014, "has already been uploaded with commit_hash as 'non-git' and uncommitted_changes as 'false'"),
    ({"uncommitted_changes": True}, 30014, "has already been uploaded with commit_hash"),
])
def test_a_version_is_one_commit(change: dict[str, Any], code: int, words: str, empty: World, tmp_path: Path) -> None:
    """Row 9."""
    tarball = build(tmp_path, RELEASE)
    upload(empty, tarball)
    had = blobs(empty)
    with archive.open_release(tarball) as found:
        other = dataclasses.replace(found, manifest_path=_text(tmp_path, dataclasses.replace(found.manifest, **change)))
        other.write(tmp_path / "other.tgz")
    with pytest.raises(ConflictError, match=words) as caught:
        upload(empty, tmp_path / "other.tgz")
    assert caught.value.code == code
    assert blobs(empty) == had


def _text(folder: Path, listing: Listing) -> Path:
    path = folder / "changed.MF"
    path.write_text(manifest.dump(listing))
    return path


def test_all_that_differs_is_told_at_once(empty: World, tmp_path: Path) -> None:
    upload(empty, build(tmp_path, RELEASE))
    changed = {**RELEASE, "src/app.txt": "2\n", "src/lib.txt": "2\n", "jobs/web/monit": "check process other\n"}
    (tmp_path / "b").mkdir()
    with pytest.raises(ConflictError) as caught:
        upload(empty, build(tmp_path / "b", changed))
    assert sorted((item.code, item.summary) for item in caught.value.diagnostics) == [
        (30012, "package 'app' had different fingerprint in previously uploaded release 'rel/1'"),
        (30012, "package 'lib' had different fingerprint in previously uploaded release 'rel/1'"),
        (30013, "job 'web' had different fingerprint in previously uploaded release 'rel/1'")]


@pytest.mark.parametrize(("stored", "made"), [((), "5+dev.1"), (("5",), "5+dev.1"), (("5", "5+dev.3"), "5+dev.4")])
def test_rebase(stored: tuple[str, ...], made: str, empty: World, tmp_path: Path) -> None:
    """Row 9."""
    for version in stored:
        upload(empty, build(tmp_path, RELEASE, version=version))
    (tmp_path / "b").mkdir()
    assert upload(empty, build(tmp_path / "b", RELEASE, version="5+dev.1"), rebase=True) == f"Created release 'rel/{made}'"


def test_only_dev_versions_are_rebased(empty: World, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="Failed to Rebase - Invalid Version: 5"):
        upload(empty, build(tmp_path, RELEASE, version="5"), rebase=True)
    assert not blobs(empty)


def test_known_packages_need_not_be_sent_whatever_release_has_them(empty: World, tmp_path: Path) -> None:
    upload(empty, build(tmp_path, RELEASE))
    with archive.open_release(build(tmp_path, RELEASE, name="other")) as found:
        found.write(tmp_path / "slim.tgz", without={item.fingerprint for item in found.manifest.packages})
    assert not [name for name in tar.read_files(tmp_path / "slim.tgz") if name.startswith("packages/")]
    upload(empty, tmp_path / "slim.tgz")
    mine, other = (empty.store.releases.get(name, "1").packages for name in ("rel", "other"))
    assert [item.blob_id for item in mine] == [item.blob_id for item in other]
    unknown = build(tmp_path, {**RELEASE, "src/lib.txt": "new\n"}, name="third")
    with archive.open_release(unknown) as found:
        found.write(tmp_path / "slim.tgz", without={item.fingerprint for item in found.manifest.packages})
    with pytest.raises(ReleaseError, match="Package 'lib' is missing in release 'third/1'"):
        upload(empty, tmp_path / "slim.tgz")
    assert consistent(empty)


def test_fix_replaces_blobs_and_forgets_what_was_compiled_of_them(world: World, tmp_path: Path) -> None:
    world.deploy(MANIFEST)
    tarball = build(tmp_path, RELEASE, version=world.store.releases.versions("rel")[0])
    (lib,) = [item for item in world.store.releases.get("rel", world.store.releases.versions("rel")[0]).packages if item.name == "lib"]
    world.blobs.path(lib.blob_id).write_bytes(b"rotten")
    upload(world, build(tmp_path, RELEASE, name="other"))
    assert world.store.releases.packages_with([lib.fingerprint])[lib.fingerprint].blob_id == lib.blob_id, "without --fix it stays"
    before = blobs(world)
    upload(world, tarball, fix=True)
    (now,) = [item for item in world.store.releases.get("other", "1").packages if item.name == "lib"]
    assert now.blob_id != lib.blob_id, "the other release's rotten blob is replaced, too"
    world.blobs.verify(now.blob_id, now.digest)
    assert world.store.compiled_packages.all() == []
    assert lib.blob_id not in blobs(world)
    assert not before & {item.blob_id for item in world.store.releases.get("rel", "0+dev.1").packages}
    world.log.steps.clear()
    world.deploy(MANIFEST)
    assert [step.split("/")[0] for step in world.log.steps if step.startswith("Compiling packages")] == [
        "Compiling packages: lib", "Compiling packages: app"]


def test_a_package_whose_blob_is_gone_is_taken_from_the_next_upload(empty: World, tmp_path: Path) -> None:
    tarball = build(tmp_path, RELEASE)
    upload(empty, tarball)
    (lib,) = [item for item in empty.store.releases.get("rel", "1").packages if item.name == "lib"]
    empty.blobs.delete(lib.blob_id)
    upload(empty, tarball)
    (now,) = [item for item in empty.store.releases.get("rel", "1").packages if item.name == "lib"]
    assert empty.blobs.exists(now.blob_id)
    assert consistent(empty)


def test_a_failure_in_the_middle_leaves_nothing(empty: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = empty.blobs.put
    put: list[object] = []

    def failing(source: Any, *, expected: str = "") -> Any:
        put.append(source)
        if len(put) == 3:
            raise CaissonError("The blob cannot be stored")
        return real(source, expected=expected)

    monkeypatch.setattr(empty.blobs, "put", failing)
    with pytest.raises(CaissonError, match="cannot be stored"):
        upload(empty, build(tmp_path, RELEASE))
    assert not blobs(empty)
    assert empty.store.releases.all() == []
    assert consistent(empty)


def test_a_compiled_release_is_used_without_compiling(world: World, tmp_path: Path) -> None:
    world.store.releases.delete("rel", "0+dev.1")
    source = build(tmp_path, RELEASE)
    upload(world, compiled(source, "linux/1"))
    assert world.log.steps[-1] == "Compiled Release has been created: rel/1"
    assert all(not item.blob_id for item in world.store.releases.get("rel", "1").packages)
    world.deploy(MANIFEST)
    assert not [step for step in world.log.steps if step.startswith("Compiling")]
    package = world.machine("web").spec["packages"]["app"]
    assert package["version"].endswith(".1")
    assert world.store.compiled_packages.of_package(package["version"].removesuffix(".1"))[0].digest == package["sha1"]


def test_compiled_and_source_forms_are_kept_side_by_side(empty: World, tmp_path: Path) -> None:
    source = build(tmp_path, RELEASE)
    for tarball in (compiled(source, "linux/1"), source, compiled(source, "linux/2.5")):
        upload(empty, tarball)
    release = empty.store.releases.get("rel", "1")
    assert all(item.blob_id for item in release.packages)
    assert sorted({item.stemcell for item in release.compiled_packages}) == ["linux/1", "linux/2.5"]
    assert len(release.compiled_packages) == 4
    assert consistent(empty)


def test_a_compiled_release_of_another_line_is_refused_before_anything_is_done(world: World, tmp_path: Path) -> None:
    """Row 10, through the whole director."""
    world.store.releases.delete("rel", "0+dev.1")
    upload(world, compiled(build(tmp_path, RELEASE), "linux/2.0"))
    with pytest.raises(CaissonError, match="packages without source code and are not compiled against stemcell 'linux/1'") as caught:
        world.deploy(MANIFEST)
    assert caught.value.code == 60001
    assert not world.fleet.machines


def test_compiled_dependencies_must_be_those_that_are_known(empty: World, tmp_path: Path) -> None:
    source = build(tmp_path, RELEASE)
    upload(empty, source)

    def lonely(listing: Listing) -> Listing:
        return dataclasses.replace(listing, compiled_packages=tuple(
            dataclasses.replace(item, dependencies=()) for item in listing.compiled_packages))

    with pytest.raises(ConflictError, match="package dependencies in 'app' that do not match database records") as caught:
        upload(empty, compiled(source, "linux/1", lonely))
    assert caught.value.code == 30016
    assert empty.store.compiled_packages.all() == []


def test_fix_replaces_compiled_packages_in_place(empty: World, tmp_path: Path) -> None:
    source = build(tmp_path, RELEASE)
    upload(empty, compiled(source, "linux/1"))
    before = {row.key: row for row in empty.store.compiled_packages.all()}
    other = compiled(source, "linux/1", mark="-again")
    upload(empty, other)
    assert {row.key: row for row in empty.store.compiled_packages.all()} == before, "without --fix they stay"
    upload(empty, other, fix=True)
    after = {row.key: row for row in empty.store.compiled_packages.all()}
    assert {key: row.build for key, row in after.items()} == {key: row.build for key, row in before.items()}
    assert not {row.blob_id for row in after.values()} & {row.blob_id for row in before.values()}
    assert consistent(empty)


def test_known_compiled_packages_need_not_be_sent(empty: World, tmp_path: Path) -> None:
    source = build(tmp_path, RELEASE)
    upload(empty, compiled(source, "linux/1"))
    with archive.open_release(compiled(source, "linux/1", mark="-slim")) as found:
        found.write(tmp_path / "slim.tgz", without={item.fingerprint for item in found.manifest.compiled_packages})
    upload(empty, tmp_path / "slim.tgz")
    with archive.open_release(compiled(source, "linux/2")) as found:
        found.write(tmp_path / "slim.tgz", without={item.fingerprint for item in found.manifest.compiled_packages})
    with pytest.raises(ReleaseError, match="Compiled package 'app' is missing in release 'rel/1'"):
        upload(empty, tmp_path / "slim.tgz")


def test_a_release_that_goes_takes_its_compiled_packages_along(empty: World, tmp_path: Path) -> None:
    source = build(tmp_path, RELEASE)
    for tarball in (source, compiled(source, "linux/1"), build(tmp_path, RELEASE, name="other")):
        upload(empty, tarball)
    for blob in empty.store.releases.delete("rel", "1"):
        uploads.drop_blob(empty.context, blob)
    assert len(empty.store.compiled_packages.all()) == 2, "the other release has the same packages"
    for blob in empty.store.releases.delete("other", "1"):
        uploads.drop_blob(empty.context, blob)
    assert empty.store.compiled_packages.all() == []
    assert not blobs(empty)
    assert consistent(empty)


def test_what_compiles_has_direct_dependencies_only(world: World, tmp_path: Path) -> None:
    """Release contract, section 21, row 12: app needs lib, lib needs base; base is not there while app compiles."""
    files = {
        **RELEASE, "packages/lib/spec": "name: lib\ndependencies: [base]\nfiles: [lib.txt]\n",
        "packages/base/spec": "name: base\nfiles: [base.txt]\n", "packages/base/packaging": "true\n", "src/base.txt": "base\n",
    }
    upload(world, build(tmp_path, files, version="2"))
    world.deploy(MANIFEST)
    rows = {row.name: row for row in world.store.compiled_packages.all()}
    assert sorted(rows) == ["app", "base", "lib"]
    for name, needed in (("app", ["lib"]), ("lib", ["base"]), ("base", [])):
        with tarfile.open(world.blobs.path(rows[name].blob_id)) as archive_:
            told = archive_.extractfile("made")
            assert told is not None
            assert told.read().decode().endswith(str([rows[item].digest for item in needed]))


@contextlib.contextmanager
def served(content: bytes) -> Iterator[str]:
    """The address of a file on an HTTP server; others are not found."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.startswith("/rel.tgz")
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(content if found else b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/rel.tgz?token=a/b"
    server.shutdown()
    server.server_close()


def test_from_an_address(empty: World, tmp_path: Path) -> None:
    content = build(tmp_path, RELEASE).read_bytes()
    sha1, sha256 = hashlib.sha1(content).hexdigest(), "sha256:" + hashlib.sha256(content).hexdigest()
    with served(content) as url:
        for digest in ("", sha1, sha256):
            uploads.upload_release(empty.context, fetch.Upload(url=url, sha1=digest))
        assert empty.log.steps.count("Verifying remote release: Verifying remote release") == 2
        assert empty.log.steps[0] == "Downloading remote release: Downloading remote release"
        had = blobs(empty)
        with pytest.raises(ReleaseError, match="has the wrong digest") as caught:
            uploads.upload_release(empty.context, fetch.Upload(url=url, sha1="0" * 40))
        assert caught.value.code == 30015
        with pytest.raises(ReleaseError, match=r"cannot be fetched: .*404"):
            uploads.upload_release(empty.context, fetch.Upload(url=url.replace("rel.tgz", "none")))
    with pytest.raises(ReleaseError, match="cannot be fetched"):
        uploads.upload_release(empty.context, fetch.Upload(url=url))
    assert blobs(empty) == had
    assert list(empty.blobs.incoming.iterdir()) == []


def test_an_upload_holds_the_lock_of_its_release(empty: World, tmp_path: Path) -> None:
    held: list[tuple[str, float]] = []

    def lock(name: str, seconds: float) -> Any:
        held.append((name, seconds))
        return contextlib.nullcontext()

    tarball = build(tmp_path, RELEASE)
    uploads.upload_release(dataclasses.replace(empty.context, lock=lock), fetch.Upload(path=str(tarball)))
    assert held == [("lock:release:rel", 300.0)]
