"""What release authors do with a release directory: begin it, keep blobs, make and finalize versions, take over packages.

Source: release contract, sections 1, 3, 5 and 6.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from release_builder import release_directory

from director import errors
from director.release import archive, blobs, builds, create, finalize, manifest, redigest, scaffold, source, stores, tar, vendor

STORE = "blobstore: {provider: local, options: {blobstore_path: ../store}}\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With a blobstore beside it."""
    root = release_directory(tmp_path / "demo")
    (root / "config/final.yml").write_text("name: demo\n" + STORE)
    return root


def store_of(directory: Path) -> stores.Blobstore:
    return stores.needed(stores.store_of(directory, source.read_config(directory)))


def objects(directory: Path) -> list[str]:
    folder = directory.parent / "store"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


# Beginning

def test_a_new_release_can_be_made_at_once(tmp_path: Path) -> None:
    root = tmp_path / "new-release"
    assert scaffold.init_release(root) == "new"
    assert (root / "config/blobs.yml").read_text() == "--- {}\n"
    scaffold.generate_job(root, "web")
    scaffold.generate_package(root, "app")
    (root / "src/app.txt").write_text("app\n")
    spec = root / "packages/app/spec"
    spec.write_text(spec.read_text().replace("files: []", "files: [app.txt]"))
    made = archive.read_release(create.create_release(root).path)
    assert (made.name, [job.name for job in made.jobs], [package.name for package in made.packages]) == ("new", ["web"], ["app"])


def test_a_new_release_in_git_ignores_what_is_made(tmp_path: Path) -> None:
    root = tmp_path / "x"
    scaffold.init_release(root, git=True)
    scaffold.generate_job(root, "web")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(root)]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    create.create_release(root)
    assert subprocess.run([*git, "status", "--short"], check=True, capture_output=True).stdout == b""


@pytest.mark.parametrize(("do", "words"), [
    (lambda root: scaffold.init_release(root), "is a release directory already"),
    (lambda root: scaffold.generate_job(root, "web"), "Job 'web' at '.*' already exists"),
    (lambda root: scaffold.generate_package(root, "app"), "Package 'app' at '.*' already exists"),
    (lambda root: scaffold.generate_package(root, "../app"), "cannot be the name of a package"),
    (lambda root: scaffold.generate_job(root, ".."), "cannot be the name of a job"),
    (lambda root: scaffold.generate_job(root / "src", "web"), "is no release directory"),
    (lambda root: scaffold.reset_release(root / "src"), "is no release directory"),
])
def test_what_cannot_be_begun(do: Callable[[Path], object], words: str, directory: Path) -> None:
    before = sorted(directory.rglob("*"))
    with pytest.raises(errors.ReleaseError, match=words):
        do(directory)
    assert sorted(directory.rglob("*")) == before


def test_reset_removes_what_was_made_and_nothing_else(directory: Path) -> None:
    create.create_release(directory, final=True)
    create.create_release(directory)
    assert scaffold.reset_release(directory) == ["dev_releases", ".dev_builds"]
    assert (directory / "releases/demo/demo-1.yml").is_file()
    assert scaffold.reset_release(directory) == []


# Blobs

def test_the_life_of_a_blob(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "go.tgz").write_bytes(b"go")
    (directory / "config/blobs.yml").write_text(
        f"---\n# kept\nold/x:\n  size: 1\n  object_id: gone\n  sha: {hashlib.sha1(b'x').hexdigest()}\n")
    blobs.add(directory, tmp_path / "go.tgz", "golang/go.tgz")
    digest = "sha256:" + hashlib.sha256(b"go").hexdigest()
    assert yaml.safe_load((directory / "config/blobs.yml").read_text())["golang/go.tgz"] == {"size": 2, "sha": digest}
    (uploaded,) = blobs.upload(directory, store_of(directory))
    assert objects(directory) == [uploaded.object_id]
    assert blobs.upload(directory, store_of(directory)) == []
    assert "# kept\nold/x:" in (directory / "config/blobs.yml").read_text()
    blobs.remove(directory, "old/x")
    (directory / "blobs/golang/go.tgz").write_bytes(b"no")
    (directory / "blobs/stray").write_bytes(b"")
    blobs.fetch(directory, store_of(directory))
    assert (directory / "blobs/golang/go.tgz").read_bytes() == b"go", "what is wrong is fetched again"
    assert not (directory / "blobs/stray").exists(), "what is not listed goes"
    blobs.add(directory, directory / "blobs/golang/go.tgz", "golang/go.tgz")
    blobs.remove(directory, "golang/go.tgz")
    assert blobs.read_index(directory) == {}
    assert (directory / "config/blobs.yml").read_text() == "--- {}\n"


@pytest.mark.parametrize(("path", "words"), [
    ("/x", "would not be a file of blobs/"), ("a/../../x", "would not be a file"), ("", "would not be"), ("a/", "would not be"),
    ("golang", "'blobs/golang' is a folder")])
def test_blobs_stay_in_their_folder(path: str, words: str, directory: Path, tmp_path: Path) -> None:
    (directory / "blobs/golang").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(errors.ReleaseError, match=words):
        blobs.add(directory, tmp_path / "file", path)
    assert blobs.read_index(directory) == {}


def test_blobs_that_are_not_there(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.ReleaseError, match="There is no file"):
        blobs.add(directory, tmp_path / "none", "a")
    (tmp_path / "file").write_text("x")
    for name in ("a/one", "a/two"):
        blobs.add(directory, tmp_path / "file", name)
    with pytest.raises(errors.ReleaseError, match="Did you mean 'a/one'"):
        blobs.remove(directory, "a/ome")
    shutil.rmtree(directory / "blobs")
    with pytest.raises(errors.ReleaseError, match=r"(?s)'a/one' is missing.*'a/two' is missing"):
        blobs.upload(directory, store_of(directory))
    assert objects(directory) == []


# Final versions

def test_a_final_release_is_made_again_from_its_blobstore(directory: Path, tmp_path: Path) -> None:
    """As after a clone: nothing but what is committed, and the blobstore."""
    made = create.create_release(directory, final=True, tarball=tmp_path / "first.tgz")
    first = (tmp_path / "first.tgz").read_bytes()
    assert len(objects(directory)) == 4, "a job, two packages, the license"
    scaffold.reset_release(directory)
    create.write_tarball(directory, manifest.parse(made.manifest_path.read_text()), tmp_path / "second.tgz")
    assert (tmp_path / "second.tgz").read_bytes() == first
    scaffold.reset_release(directory)
    create.fetch_archives(made.manifest_path)
    assert archive.read_release(made.manifest_path) == archive.read_release(tmp_path / "first.tgz")
    shutil.rmtree(directory.parent / "store")
    scaffold.reset_release(directory)
    with pytest.raises(errors.ReleaseError, match="is not in the blobstore"):
        create.write_tarball(directory, manifest.parse(made.manifest_path.read_text()), tmp_path / "third.tgz")


def test_what_is_final_is_not_uploaded_twice(directory: Path) -> None:
    create.create_release(directory, final=True)
    before = objects(directory)
    (directory / "src/lib.txt").write_text("two\n")
    assert create.create_release(directory, final=True).version == "2"
    assert len(objects(directory)) == len(before) + 1
    index = yaml.safe_load((directory / ".final_builds/packages/lib/index.yml").read_text())
    assert index["format-version"] == "2"
    for mark, entry in index["builds"].items():
        assert entry["version"] == mark
        assert sorted(entry) == ["blobstore_id", "sha1", "version"]
    versions = yaml.safe_load((directory / "releases/demo/index.yml").read_text())["builds"].values()
    assert [item["version"] for item in versions] == ["1", "2"]


def test_a_blobstore_of_another_kind_is_an_error_when_it_is_needed(directory: Path) -> None:
    (directory / "config/final.yml").write_text("name: demo\nblobstore: {provider: s3, options: {bucket_name: b}}\n")
    create.create_release(directory)
    with pytest.raises(errors.ReleaseError, match=r"Blobstore provider 's3' of config/final\.yml is not supported here"):
        create.create_release(directory, final=True)
    assert not (directory / "releases").exists()


def test_a_tested_archive_becomes_final(directory: Path, tmp_path: Path) -> None:
    create.create_release(directory, tarball=tmp_path / "dev.tgz")
    made = finalize.finalize_release(directory, tmp_path / "dev.tgz")
    assert (made.version, len(objects(directory))) == ("1", 4)
    assert finalize.finalize_release(directory, tmp_path / "dev.tgz", version="1.5").version == "1.5"
    assert len(objects(directory)) == 4
    assert finalize.finalize_release(directory, tmp_path / "dev.tgz").version == "1.6"
    with pytest.raises(errors.ReleaseError, match=r"'1\.5' already exists"):
        finalize.finalize_release(directory, tmp_path / "dev.tgz", version="1.5")
    assert finalize.finalize_release(directory, tmp_path / "dev.tgz", name="other").name == "other"
    path = directory / "releases/demo/demo-1.6.yml"
    dev, final = archive.read_release(tmp_path / "dev.tgz"), manifest.parse(path.read_text())
    assert [item.fingerprint for item in final.packages] == [item.fingerprint for item in dev.packages]
    scaffold.reset_release(directory)
    create.write_tarball(directory, final, tmp_path / "final.tgz")
    assert "license.tgz" in {member.name for member in tar.check(tmp_path / "final.tgz")}


def test_what_cannot_be_finalized(directory: Path, tmp_path: Path) -> None:
    create.create_release(directory, tarball=tmp_path / "dev.tgz")
    subprocess.run(["git", "init", "-q", str(directory)], check=True)
    with pytest.raises(errors.ReleaseError, match="local modifications"):
        finalize.finalize_release(directory, tmp_path / "dev.tgz")
    assert finalize.finalize_release(directory, tmp_path / "dev.tgz", force=True).version == "1"
    (directory / "config/final.yml").write_text("name: demo\n")
    with pytest.raises(errors.ReleaseError, match="No blobstore is configured"):
        finalize.finalize_release(directory, tmp_path / "dev.tgz", force=True)


# Vendored packages

@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Another release, with a store of its own."""
    root = release_directory(tmp_path / "elsewhere/golang", name="golang")
    (root / "config/final.yml").write_text("name: golang\n" + STORE)
    return root


def test_a_package_with_what_it_needs_is_taken_over(directory: Path, origin: Path, tmp_path: Path) -> None:
    create.create_release(origin, final=True, tarball=tmp_path / "origin.tgz")
    shutil.rmtree(directory / "packages")
    assert vendor.vendor_package(directory, "app", origin) == ["lib", "app"]
    lock = yaml.safe_load((directory / "packages/app/spec.lock").read_text())
    theirs = archive.read_release(tmp_path / "origin.tgz")
    app = theirs.package("app")
    assert app is not None
    assert lock == {"name": "app", "fingerprint": app.fingerprint, "dependencies": ["lib"]}
    assert sorted(path.name for path in (directory / "packages/app").iterdir()) == ["spec.lock"]
    shutil.rmtree(origin.parent)
    made = archive.read_release(create.create_release(directory, tarball=tmp_path / "mine.tgz").path)
    assert made.packages == theirs.packages, "without the other release, the same archives"
    before = objects(directory)
    assert create.create_release(directory, final=True).version == "1"
    assert len(objects(directory)) == len(before) + 2, "a job and the license; the packages were there"


def test_prefixed_names(directory: Path, origin: Path) -> None:
    create.create_release(origin, final=True)
    assert vendor.vendor_package(directory, "app", origin, prefix="uaa") == ["uaa-lib", "uaa-app"]
    (directory / "jobs/web/spec").write_text((directory / "jobs/web/spec").read_text().replace("[app]", "[app, uaa-app]"))
    made = archive.read_release(create.create_release(directory).path)
    package = made.package("uaa-app")
    assert package is not None
    assert package.dependencies == ("uaa-lib",)
    assert [item.name for item in made.packages] == ["app", "lib", "uaa-app", "uaa-lib"]


def test_vendoring_again_takes_what_changed(directory: Path, origin: Path) -> None:
    create.create_release(origin, final=True)
    vendor.vendor_package(directory, "app", origin)
    before = objects(directory)
    vendor.vendor_package(directory, "app", origin)
    assert objects(directory) == before
    (origin / "src/lib.txt").write_text("new\n")
    create.create_release(origin, final=True)
    vendor.vendor_package(directory, "app", origin)
    assert len(objects(directory)) == len(before) + 1
    assert len(builds.entries(directory / ".final_builds/packages/lib/index.yml")) == 2


def test_what_cannot_be_vendored(directory: Path, origin: Path) -> None:
    with pytest.raises(errors.ReleaseError, match=r"(?s)'lib' .*is in no final release of 'golang'.*'app' .*is in no final release"):
        vendor.vendor_package(directory, "app", origin)
    create.create_release(origin, final=True)
    with pytest.raises(errors.ReleaseError, match=r"has no package 'ap'"):
        vendor.vendor_package(directory, "ap", origin)
    (directory / "config/final.yml").write_text("name: demo\n")
    with pytest.raises(errors.ReleaseError, match="No blobstore is configured"):
        vendor.vendor_package(directory, "app", origin)
    assert (directory / "packages/app/packaging").is_file()


def test_an_archive_that_is_not_what_the_index_says_is_not_taken(directory: Path, origin: Path) -> None:
    create.create_release(origin, final=True)
    for path in (origin.parent / "store").iterdir():
        path.write_bytes(b"rotten")
    with pytest.raises(errors.ReleaseError, match="wrong digest"):
        vendor.vendor_package(directory, "app", origin)
    assert objects(directory) == []


# Digests

@pytest.mark.parametrize(("algorithm", "prefix", "length"), [("sha1", "", 40), ("sha256", "sha256:", 71)])
def test_other_digests_of_the_same_archives(algorithm: str, prefix: str, length: int, directory: Path, tmp_path: Path) -> None:
    create.create_release(directory, tarball=tmp_path / "in.tgz")
    redigest.redigest(tmp_path / "in.tgz", tmp_path / "out.tgz", algorithm)
    before, after = (archive.read_release(tmp_path / name) for name in ("in.tgz", "out.tgz"))
    assert [item.fingerprint for item in after.packages] == [item.fingerprint for item in before.packages]
    listing = yaml.safe_load(tar.read_files(tmp_path / "out.tgz")["release.MF"][0])
    for item in (*listing["jobs"], *listing["packages"], listing["license"]):
        assert item["sha1"].startswith(prefix)
        assert len(item["sha1"]) == length
    (tmp_path / "in.tgz").write_bytes(b"no archive")
    with pytest.raises(errors.ReleaseError):
        redigest.redigest(tmp_path / "in.tgz", tmp_path / "none.tgz", algorithm)
    assert not (tmp_path / "none.tgz").exists()
