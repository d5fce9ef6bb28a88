"""create-release. Release contract, sections 1, 3 and 6; section 21, rows 1 to 6 and 40."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from release_builder import release_directory

from director import errors
from director.release import archive, create, globs, manifest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return release_directory(tmp_path / "demo-release")


def names(path: Path) -> list[str]:
    with tarfile.open(path) as opened:
        return sorted(opened.getnames())


def test_a_first_dev_release(directory: Path, tmp_path: Path) -> None:
    made = create.create_release(directory, tarball=tmp_path / "out.tgz")
    assert (made.name, made.version, made.jobs, made.packages) == ("demo", "0+dev.1", ("web",), ("app", "lib"))
    with archive.open_release(made.path) as found:
        assert found.release.package("app") is not None
        package = found.package_archive("app")
        assert package is not None
        assert names(package) == ["app", "app/deep", "app/deep/er", "app/deep/er/x.rb", "app/main.txt", "packaging"]
        assert found.manifest.license is not None
    archives = ["jobs", "jobs/web.tgz", "license.tgz", "packages", "packages/app.tgz", "packages/lib.tgz"]
    assert names(made.path) == ["LICENSE", *archives, "release.MF"]


def test_the_layout_of_the_archive(directory: Path, tmp_path: Path) -> None:
    """Release contract, section 7 with its corrections."""
    (directory / "NOTICE").write_text("notice\n")
    (directory / "src/app/run").write_text("#!/bin/sh\n")
    (directory / "src/app/run").chmod(0o700)
    (directory / "src/app/link").symlink_to("main.txt")
    made = create.create_release(directory, tarball=tmp_path / "out.tgz")
    with tarfile.open(made.path) as outer:
        modes = {item.name: oct(item.mode) for item in outer if item.isfile()}
        assert modes == {
            "release.MF": "0o644", "jobs/web.tgz": "0o600", "packages/app.tgz": "0o600", "packages/lib.tgz": "0o600",
            "license.tgz": "0o600", "LICENSE": "0o644", "NOTICE": "0o644"}
        assert outer.getnames()[0] == "release.MF"
        listing = yaml.safe_load(outer.extractfile("release.MF"))  # type: ignore[arg-type]
        package = outer.extractfile("packages/app.tgz")
        assert package is not None
        with tarfile.open(fileobj=package) as inner:
            assert {item.name: (oct(item.mode), item.linkname) for item in inner if not item.isdir()} == {
                "app/deep/er/x.rb": ("0o644", ""), "app/link": ("0o777", "main.txt"), "app/main.txt": ("0o644", ""),
                "app/run": ("0o755", ""), "packaging": ("0o644", "")}
            assert {(item.uid, item.gid, item.mtime) for item in inner} == {(0, 0, 0)}
    assert list(listing) == ["name", "version", "commit_hash", "uncommitted_changes", "jobs", "packages", "license", "no_compression"]
    assert list(listing["packages"][0]) == ["name", "version", "fingerprint", "sha1", "dependencies"]
    assert all(item["version"] == item["fingerprint"] for item in (*listing["jobs"], *listing["packages"]))


def test_equal_directories_make_equal_archives(directory: Path, tmp_path: Path) -> None:
    """Whenever, wherever and by whom they are made."""
    shutil.copytree(directory, tmp_path / "elsewhere", copy_function=shutil.copy)
    for path in (tmp_path / "elsewhere").rglob("*"):
        os.utime(path, (1, 1))
    first = create.create_release(directory, tarball=tmp_path / "one.tgz").path
    second = create.create_release(tmp_path / "elsewhere", tarball=tmp_path / "two.tgz").path
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("where", [
    "no_compression: true\n", "blobstore: {provider: local, no_compression: true, options: {blobstore_path: s}}\n"])
def test_an_archive_that_is_not_packed(where: str, directory: Path, tmp_path: Path) -> None:
    (directory / "config/final.yml").write_text(f"name: demo\n{where}")
    (directory / "packages/lib/spec").write_text("name: lib\nfiles: [lib.txt]\nno_compression: true\n")
    made = create.create_release(directory, tarball=tmp_path / "out.tgz")
    with tarfile.open(made.path, "r:") as outer:
        for name, packed in (("lib", False), ("app", True)):
            content = outer.extractfile(f"packages/{name}.tgz")
            assert content is not None
            assert (content.read(2) == b"\x1f\x8b") is packed
    assert archive.read_release(made.path).package("lib") is not None


def test_the_manifest_in_the_directory_opens_too(directory: Path, tmp_path: Path) -> None:
    made = create.create_release(directory)
    again = create.create_release(directory, tarball=tmp_path / "out.tgz")
    assert archive.read_release(made.path) == archive.read_release(again.path)


def test_archives_come_to_their_fingerprints(directory: Path) -> None:
    (directory / "src/app/link").symlink_to("main.txt")
    (directory / "src/app/main.txt").chmod(0o755)
    (directory / "packages/app/packaging").chmod(0o755)
    with archive.open_release(create.create_release(directory).path) as found:
        assert found.unlike == ()
    (directory / "packages/lib/pre_packaging").write_text("true\n")
    with archive.open_release(create.create_release(directory).path) as found:
        assert found.unlike == ("package 'lib'",)


def test_nothing_changed_is_a_no_op(directory: Path) -> None:
    first = create.create_release(directory)
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
    second = create.create_release(directory)
    assert (second.version, second.reused) == (first.version, True)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()} == before


def test_a_comment_in_a_package_spec_changes_nothing(directory: Path) -> None:
    """Row 1; one in a job's spec does."""
    first = create.create_release(directory)
    with (directory / "packages/app/spec").open("a") as spec:
        spec.write("# a comment\n\n")
    assert create.create_release(directory).reused
    with (directory / "jobs/web/spec").open("a") as spec:
        spec.write("# a comment\n")
    second = create.create_release(directory)
    marks = [{item.name: item.fingerprint for item in archive.read_release(made.path).packages} for made in (first, second)]
    assert marks[0] == marks[1]
    assert second.version == "0+dev.2"


def test_a_change_makes_the_next_version_and_one_archive(directory: Path) -> None:
    create.create_release(directory)
    (directory / "src/lib.txt").write_text("changed\n")
    second = create.create_release(directory)
    assert second.version == "0+dev.2"
    assert len(list((directory / ".dev_builds/packages/lib").glob("*.tgz"))) == 2
    assert len(list((directory / ".dev_builds/packages/app").glob("*.tgz"))) == 1, "a dependency's content is not the dependent's"


def test_a_damaged_build_is_made_again(directory: Path) -> None:
    made = create.create_release(directory)
    built = next((directory / ".dev_builds/jobs/web").glob("*.tgz"))
    good = built.read_bytes()
    built.write_bytes(b"damaged")
    assert create.create_release(directory).version == made.version
    assert built.read_bytes() == good


def test_final_releases_count_up_and_keep_archives(directory: Path) -> None:
    (directory / "config/final.yml").write_text("name: demo\nblobstore: {provider: local, options: {blobstore_path: store}}\n")
    first = create.create_release(directory, final=True)
    assert (first.version, create.create_release(directory, final=True).version) == ("1", "2")
    index = yaml.safe_load((directory / ".final_builds/jobs/web/index.yml").read_text())
    assert index["format-version"] == "2"
    (entry,) = index["builds"].values()
    assert (directory / "store" / entry["blobstore_id"]).is_file()
    shutil.rmtree(directory / ".dev_builds")
    dev = create.create_release(directory)
    assert dev.version == "2+dev.1"
    assert archive.read_release(dev.path).jobs == archive.read_release(first.path).jobs, "archives come back from the blobstore"


def test_versions_on_demand(directory: Path) -> None:
    assert create.create_release(directory, version="3").version == "3"
    with pytest.raises(errors.ReleaseError, match="Release version '3' already exists"):
        create.create_release(directory, version="3")
    with pytest.raises(errors.ReleaseError, match="Release version invalid"):
        create.create_release(directory, version="a b")
    assert create.create_release(directory, timestamp_version=True, clock=lambda: 77.9).version == "3+dev.77"
    assert create.create_release(directory, name="other").name == "other"


def test_all_problems_at_once(directory: Path) -> None:
    (directory / "config/final.yml").write_text("{}")
    (directory / "packages/app/spec").write_text("name: app\ndependencies: [lob]\nfiles: [nothing/*, app]\n")
    (directory / "jobs/web/spec").write_text("name: wob\n")
    (directory / "packages/lib/packaging").unlink()
    with pytest.raises(errors.ReleaseError) as caught:
        create.create_release(directory)
    text = str(caught.value)
    for expected in (
        "Expected non-empty 'name'", "Missing files for pattern 'nothing/*'", "Missing files for pattern 'app'",
        "Job directory 'web' does not match job name 'wob' in spec", "Expected to find 'packages/lib/packaging' for package 'lib'",
        "Package 'app' references missing package 'lob'",
    ):
        assert expected in text
    assert not (directory / "dev_releases").exists()


def test_package_file_selection(directory: Path) -> None:
    (directory / "blobs/app").mkdir(parents=True)
    (directory / "blobs/app/main.txt").write_text("loses\n")
    (directory / "blobs/app/blob.bin").write_text("blob\n")
    digest = "sha256:" + "0" * 64
    (directory / "config/blobs.yml").write_text(yaml.safe_dump({
        "app/blob.bin": {"size": 5, "sha": "dca5f6b9d8a0d2dd5d1b9b2e7b1f7d6ed6d53b31"}, "gone.bin": {"size": 1, "sha": digest},
    }))
    with pytest.raises(errors.ReleaseError) as caught:
        create.create_release(directory)
    assert "Blob 'gone.bin' is missing" in str(caught.value)
    assert "Blob 'app/blob.bin' is missing in blobs/ or changed" in str(caught.value)
    assert not (directory / "blobs/app/main.txt").exists(), "what blobs.yml does not list goes away"


def test_src_wins_and_exclusions_go(directory: Path) -> None:
    (directory / "src/app/link").symlink_to("main.txt")
    (directory / "src/app/.hidden").write_text("h")
    os.symlink("deep", directory / "src/app/other")
    (directory / "packages/app/spec").write_text("name: app\ndependencies: [lib]\nfiles: [app/**/*]\nexcluded_files: ['**/*.rb', 'none']\n")
    made = create.create_release(directory)
    with archive.open_release(made.path) as found:
        package = found.package_archive("app")
        assert package is not None
        with tarfile.open(package) as opened:
            kinds = {member.name: member.issym() for member in opened if not member.isdir()}
    assert kinds == {"app/main.txt": False, "app/link": True, "app/.hidden": False, "app/other": True, "packaging": False}


def test_pre_packaging_runs_in_a_copy(directory: Path) -> None:
    script = 'cd "$BUILD_DIR"; rm lib.txt; test -d "$RELEASE_DIR/jobs"; echo made > made.txt\n'
    (directory / "packages/lib/pre_packaging").write_text(script)
    made = create.create_release(directory)
    with archive.open_release(made.path) as found:
        package = found.package_archive("lib")
        assert package is not None
        assert names(package) == ["made.txt", "packaging"]
    assert (directory / "src/lib.txt").is_file()
    (directory / "packages/lib/pre_packaging").write_text("echo why >&2; exit 3\n")
    with pytest.raises(errors.ReleaseError, match=r"exit code 3(.|\n)*why"):
        create.create_release(directory)


def test_cycles_are_named(directory: Path) -> None:
    (directory / "packages/lib/spec").write_text("name: lib\nfiles: [lib.txt]\ndependencies: [app]\n")
    with pytest.raises(errors.ReleaseError, match="in a circle: app -> lib -> app"):
        create.create_release(directory)


def test_a_vendored_package_comes_from_the_final_builds(directory: Path) -> None:
    store = "name: demo\nblobstore: {provider: local, options: {blobstore_path: store}}\n"
    (directory / "config/final.yml").write_text(store)
    first = create.create_release(directory, final=True)
    package = archive.read_release(first.path).package("lib")
    assert package is not None
    shutil.rmtree(directory / "packages/lib")
    (directory / "packages/lib").mkdir()
    (directory / "packages/lib/spec.lock").write_text(f"name: lib\nfingerprint: {package.fingerprint}\n")
    shutil.rmtree(directory / ".dev_builds")
    assert archive.read_release(create.create_release(directory).path).package("lib") == package


def git(directory: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


def test_a_dirty_git_tree(directory: Path) -> None:
    git(directory, "init")
    with pytest.raises(errors.ReleaseError, match="local modifications"):
        create.create_release(directory)
    (directory / ".gitignore").write_text("/.dev_builds/\n/dev_releases/\n")
    git(directory, "add", ".")
    git(directory, "commit", "-m", "all")
    clean = create.create_release(directory)
    listing = manifest.parse(clean.path.read_text())
    assert len(listing.commit_hash) >= 7
    assert not listing.uncommitted_changes
    (directory / "src/lib.txt").write_text("changed")
    with pytest.raises(errors.ReleaseError) as caught:
        create.create_release(directory)
    assert "src/lib.txt" in str(caught.value)
    assert manifest.parse(create.create_release(directory, force=True).path.read_text()).uncommitted_changes


GLOBS = [
    ("*", ["a", ".h"]), ("**/*", ["a", ".h", "d/b.rb", "d/e/c.rb"]), ("d/**/*.rb", ["d/b.rb", "d/e/c.rb"]), ("d/*", ["d/b.rb"]),
    ("[^a]*", [".h"]), ("[!a]*", ["a"]), ("{a,d/e}{,/c.rb}", ["a", "d/e/c.rb"]), ("d/**", ["d/b.rb", "d/e/c.rb"]), ("?", ["a"]),
    ("**/c.rb", ["d/e/c.rb"]), ("./a", ["a"]),
]


@pytest.mark.parametrize(("pattern", "expected"), GLOBS)
def test_globs(pattern: str, expected: list[str]) -> None:
    assert globs.select(["a", ".h", "d/b.rb", "d/e/c.rb"], pattern) == expected
