"""Commands around releases and stemcells: those that need no director, export, and uploads that send only what is missing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import shutil
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cli_world import Cli, Script

from director.plan.packages import ReleasePackages
from director.release import archive, tar
from director.release.model import JobSpec, PackageSpec, Release
from director.state.compiled_packages import CompiledPackageRow


@contextlib.contextmanager
def inside(folder: pathlib.Path) -> Iterator[None]:
    with contextlib.chdir(folder):
        yield


def test_from_nothing_to_a_final_release(offline: Cli) -> None:
    offline.terminal = True
    offline.file("go.tgz", "go")
    with inside(offline.folder):
        offline.ok("init-release", "--dir", "hello-release")
    root = offline.folder / "hello-release"
    with inside(root):
        offline.ok("generate-job", "hello")
        offline.ok("generate-package", "go")
        offline.ok("add-blob", "../go.tgz", "go/go.tgz")
        assert "(local)" in offline.ok("blobs").out
        (root / "packages/go/spec").write_text("name: go\nfiles: [go/*.tgz]\n")
        assert "No blobstore is configured" in offline("upload-blobs").err
        (root / "config/final.yml").write_text("name: hello\nblobstore: {provider: local, options: {blobstore_path: ../store}}\n")
        assert "Uploaded blob 'go/go.tgz' (id: " in offline.ok("upload-blobs").out
        shutil.rmtree("blobs")
        assert "Fetched blob 'go/go.tgz'" in offline.ok("sync-blobs").out
        offline.ok("create-release", "--tarball", "../dev.tgz")
        offline.terminal = False
        row = offline.ok("finalize-release", "../dev.tgz", "--version", "1.2", "--json").rows[0]
        assert (row["name"], row["version"]) == ("hello", "1.2")
        offline.ok("-n", "reset-release")
        assert not (root / "blobs").exists()
        row = offline.ok("create-release", "releases/hello/hello-1.2.yml", "--tarball", "../final.tgz", "--json").rows[0]
        assert (row["version"], row["archive"]) == ("1.2", "../final.tgz")
        offline.ok("sha1ify-release", "../final.tgz", "../sha1.tgz")
        offline.ok("sha2ify-release", "../sha1.tgz", "../sha2.tgz")
        offline.ok("remove-blob", "go/go.tgz")
    assert archive.read_release(offline.folder / "sha2.tgz") == archive.read_release(offline.folder / "final.tgz")
    shown = offline.ok("inspect-local-release", str(offline.folder / "sha1.tgz"), "--json").json["Tables"]
    assert shown[0]["Rows"][0]["version"] == "1.2"
    (package,) = shown[2]["Rows"]
    assert (package["compiled_for"], len(package["digest"])) == ("(source)", 40)


def test_a_package_of_another_release(offline: Cli) -> None:
    offline.terminal = True
    for name in ("golang", "mine"):
        root = offline.folder / name
        offline.ok("init-release", "--dir", str(root))
        store = f"blobstore: {{provider: local, options: {{blobstore_path: ../{name}.store}}}}\n"
        (root / "config/final.yml").write_text(f"name: {name}\n{store}")
    offline.ok("generate-package", "go", "--dir", str(offline.folder / "golang"))
    told = offline("vendor-package", "go", str(offline.folder / "golang"), "--dir", str(offline.folder / "mine")).err
    assert "create-release --final --dir" in told
    offline.ok("create-release", "--final", "--dir", str(offline.folder / "golang"))
    done = offline.ok("vendor-package", "go", str(offline.folder / "golang"), "--dir", str(offline.folder / "mine"), "--prefix", "our")
    assert "Added package 'our-go'" in done.out
    assert (offline.folder / "mine/packages/our-go/spec.lock").is_file()


def stemcell(folder: pathlib.Path, **more: Any) -> pathlib.Path:
    listing = {"name": "debian", "version": "12", "operating_system": "debian-12", "sha1": "x", "cloud_properties": {"disk": 1}, **more}
    path = folder / "stemcell.tgz"
    tar.write(path, [("stemcell.MF", yaml.safe_dump(listing).encode(), 0o644), ("image", b"image", 0o644)])
    return path


def test_stemcells_on_this_computer(offline: Cli) -> None:
    path, light = stemcell(offline.folder), offline.folder / "light.tgz"
    row = offline.ok("inspect-local-stemcell", str(path), "--json").rows[0]
    assert (row["name"], row["version"], row["os"], row["kind"], row["cloud_properties"]) == (
        "debian", "12", "debian-12", "heavy", "disk: 1")
    offline.ok(
        "repack-stemcell", str(path), str(light), "--empty-image", "--format", "aws-light", "--format", "x", "--version", "12.1",
        "--name", "n")
    row = offline.ok("inspect-local-stemcell", str(light), "--json").rows[0]
    assert (row["name"], row["version"], row["kind"], row["formats"]) == ("n", "12.1", "light", "aws-light\nx")
    with tarfile.open(light) as found:
        listing = yaml.safe_load(found.extractfile("stemcell.MF"))  # type: ignore[arg-type]
    assert listing["sha1"] == hashlib.sha1(b"").hexdigest()
    assert "Stemcell version invalid: 1 2" in offline("repack-stemcell", str(path), str(light), "--version", "1 2").err
    assert "There is no stemcell" in offline("inspect-local-stemcell", "none").err
    assert "There is no release" in offline("inspect-local-release", "none").err


def test_export_release(cli: Cli) -> None:
    blob = cli.world.blobs.put(b"the archive")
    digest = hashlib.sha1(b"the archive").hexdigest()
    cli.world.store.deployments.ensure("app")
    cli.world.store.releases.save(Release("nats", "1", jobs=(JobSpec("nats", "nats", "1", "f1", "d1", {}, blob_id="jb"),)))
    cli.tasks.scripts["export_release"] = Script(result=json.dumps({"blobstore_id": blob.id, "sha1": digest}))
    folder = cli.folder / "exports"
    cli.terminal = True
    done = cli.ok("-d", "app", "export-release", "nats/1", "debian/12", "--dir", str(folder), "--job", "nats")
    (path,) = folder.iterdir()
    assert path.read_bytes() == b"the archive"
    assert path.name.startswith("nats-1-debian-12-20")
    assert f"Downloading resource '{blob.id}' to '{path}'..." in done.out
    assert cli.tasks.created == [("export_release", {
        "release": "nats", "version": "1", "stemcell_os": "debian", "stemcell_version": "12", "jobs": ["nats"], "sha2": False})]
    task = cli.world.last_task()
    assert (task.description, task.deployment) == ("export release: 'nats/1' for 'debian/12'", "app")
    cli.ok("-d", "app", "export-release", "nats/1", "debian/12", "--dir", str(folder), "--sha2")
    assert cli.tasks.created[-1][1]["sha2"] is True


def test_an_export_that_is_not_what_the_director_made(cli: Cli) -> None:
    blob = cli.world.blobs.put(b"the archive")
    cli.world.store.deployments.ensure("app")
    cli.world.store.releases.save(Release("nats", "1"))
    cli.tasks.scripts["export_release"] = Script(result=json.dumps({"blobstore_id": blob.id, "sha1": "sha256:" + "0" * 64}))
    assert "to have digest" in cli("-d", "app", "export-release", "nats/1", "debian/12", "--dir", str(cli.folder / "exports")).err
    assert list((cli.folder / "exports").iterdir()) == []


@pytest.mark.parametrize(("arguments", "words"), [
    (("nats", "debian/12"), "NAME/VERSION"), (("nats/1", "debian"), "OS/VERSION"), (("nats/2", "debian/12"), "Release version 'nats/2'"),
    (("nats/1", "debian/12", "--job", "nat"), "Did you mean 'nats'"),
])
def test_exports_that_cannot_be(arguments: tuple[str, ...], words: str, cli: Cli) -> None:
    cli.world.store.deployments.ensure("app")
    cli.world.store.releases.save(Release("nats", "1", jobs=(JobSpec("nats", "nats", "1", "f1", "d1", {}, blob_id="jb"),)))
    result = cli("-d", "app", "export-release", *arguments)
    assert result.code == 1
    assert words in result.err
    assert cli.tasks.created == []


def release_directory(cli: Cli) -> pathlib.Path:
    root = cli.folder / "demo"
    files = {
        "config/final.yml": "name: demo\n", "src/a": "a", "src/b": "b", "packages/a/spec": "name: a\nfiles: [a]\n",
        "packages/a/packaging": "", "packages/b/spec": "name: b\nfiles: [b]\n", "packages/b/packaging": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def sent(cli: Cli) -> list[list[str]]:
    """Archives in what was uploaded, by upload."""
    seen: list[list[str]] = []

    def look(_kind: str, arguments: Any) -> None:
        seen.append([member.name for member in tar.check(pathlib.Path(arguments["path"])) if member.name.endswith("tgz")])

    cli.tasks.effect = look
    return seen


def test_what_the_director_has_is_not_sent(cli: Cli) -> None:
    root, seen = release_directory(cli), sent(cli)
    tarball = cli.folder / "demo.tgz"
    cli.ok("create-release", "--dir", str(root), "--tarball", str(tarball))
    (a, _) = archive.read_release(tarball).packages
    blob = cli.world.blobs.put(b"a")
    cli.world.store.releases.save(Release("other", "7", packages=(PackageSpec("x", "1", a.fingerprint, "d", blob_id=blob.id),)))
    cli.terminal = True
    assert "1 of 2 package(s) are known to the director and not sent" in cli.ok("upload-release", str(tarball)).out
    cli.ok("upload-release", "--dir", str(root))
    cli.ok("upload-release", str(root / "dev_releases/demo/demo-0+dev.1.yml"))
    cli.ok("upload-release", str(tarball), "--fix")
    cli.world.blobs.delete(blob.id)
    cli.ok("upload-release", str(tarball))
    both = ["packages/a.tgz", "packages/b.tgz"]
    assert seen == [["packages/b.tgz"]] * 3 + [both, both]


def test_compiled_packages_that_the_director_has_are_not_sent(cli: Cli) -> None:
    root, seen = release_directory(cli), sent(cli)
    source = cli.folder / "source.tgz"
    cli.ok("create-release", "--dir", str(root), "--tarball", str(source))
    data = cli.folder / "compiled.tgz"
    tar.write(data, [("bin/x", b"x", 0o755)])
    digest = "sha256:" + hashlib.sha256(data.read_bytes()).hexdigest()
    packages = [
        {"name": item.name, "version": item.version, "fingerprint": item.fingerprint, "sha1": digest, "stemcell": "debian/12"}
        for item in archive.read_release(source).packages
    ]
    listing = {"name": "demo", "version": "0+dev.1", "compiled_packages": packages}
    entries = [(f"compiled_packages/{item['name']}.tgz", data, 0o600) for item in packages]
    tarball = cli.folder / "demo.tgz"
    tar.write(tarball, [("release.MF", yaml.safe_dump(listing).encode(), 0o644), *entries])
    blob = cli.world.blobs.put(data)
    keys = ReleasePackages(archive.read_release(tarball))
    rows = {
        item.name: CompiledPackageRow(
            keys.key(item.name, "debian/12"), item.name, item.version, item.fingerprint, "debian", "12", blob.id, digest)
        for item in keys.release.compiled_packages
    }
    cli.world.store.compiled_packages.add(rows["a"])
    cli.ok("upload-release", str(tarball))
    assert seen == [["compiled_packages/b.tgz"]]
    cli.world.store.releases.save(archive.read_release(tarball))
    cli.terminal = True
    assert "already exists" not in cli.ok("upload-release", str(tarball)).out, "b is not there compiled"
    cli.world.store.compiled_packages.add(rows["b"])
    assert "Release 'demo/0+dev.1' already exists." in cli.ok("upload-release", str(tarball)).out
