"""export-release: what a deployment uses, compiled for a stemcell, as an archive that another director takes.

Source: release contract, section 11.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import World
from release_files import blobs, build, compiled, consistent, upload
from small_world import CLOUD, MANIFEST, RELEASE

from director.errors import CaissonError, NotFoundError, ReleaseError
from director.execute import export
from director.release import archive, tar
from director.state.blobs import BlobRow
from director.tasks import queue

# `tool` is needed by no job; `job` needs nothing.
FILES = {
    **RELEASE, "packages/tool/spec": "name: tool\nfiles: [lib.txt]\n", "packages/tool/packaging": "true\n",
    "jobs/plain/spec": "name: plain\npackages: []\n", "jobs/plain/monit": "",
}


@pytest.fixture
def deployed(world: World, tmp_path: Path) -> World:
    """Only `db` is deployed, so only `lib` is compiled."""
    upload(world, build(tmp_path, FILES))
    text = MANIFEST.replace("version: latest}]\nstem", "version: '1'}]\nstem")
    world.deploy(text[:text.index("- name: web")])
    assert [row.name for row in world.store.compiled_packages.all()] == ["lib"]
    world.log.steps.clear()
    return world


def do(world: World, **more: Any) -> dict[str, Any]:
    """Export, with the result's JSON."""
    request = export.ExportRequest(**{"release": "rel", "version": "1", "stemcell_os": "linux", "stemcell_version": "1", **more})
    assert export.export_release(world.context, "app", request) == f"Exported release: rel/{request.version} for linux/1"
    found: dict[str, Any] = json.loads(world.log.results[-1])
    return found


def test_what_is_missing_is_compiled_and_all_is_packed(deployed: World, tmp_path: Path) -> None:
    machines = set(deployed.fleet.machines)
    made = do(deployed, sha2=True)
    release = deployed.store.releases.get("rel", "1")
    marks = {item.name: item.fingerprint for item in (*release.packages, *release.jobs)}
    assert deployed.log.steps == [
        "Preparing package compilation: Finding packages to compile", f"Compiling packages: app/{marks['app']}",
        *(f"copying packages: {name}/{marks[name]}" for name in ("app", "lib")),
        *(f"copying jobs: {name}/{marks[name]}" for name in ("db", "plain", "web"))]
    deployed.blobs.verify(made["blobstore_id"], made["sha1"])
    assert made["sha1"].startswith("sha256:")
    assert set(deployed.fleet.machines) == machines, "machines that compiled are gone"
    with archive.open_release(deployed.blobs.path(made["blobstore_id"])) as found:
        assert [(item.name, item.stemcell) for item in found.release.compiled_packages] == [("app", "linux/1"), ("lib", "linux/1")]
        assert found.release.compiled_packages[0].dependencies == ("lib",)
        assert [item.name for item in found.release.jobs] == ["db", "plain", "web"]
        assert (found.release.commit_hash, found.release.packages) == ("non-git", ())
        assert "packages" not in found.manifest_path.read_text().split("compiled_packages")[0]
    names = [member.name for member in tar.check(deployed.blobs.path(made["blobstore_id"]))]
    assert [name for name in names if "." in name] == [
        "release.MF", "compiled_packages/app.tgz", "compiled_packages/lib.tgz", "jobs/db.tgz", "jobs/plain.tgz", "jobs/web.tgz"]
    events = [(row.action, row.object_type, row.object_name, row.error) for row in deployed.store.events.select(limit=50)]
    assert events.count(("export", "release", "rel/1", "")) == 2
    assert consistent(deployed)


def test_again_compiles_nothing_and_gives_the_same_bytes(deployed: World) -> None:
    first = do(deployed)
    deployed.log.steps.clear()
    second = do(deployed)
    assert first["sha1"] == second["sha1"]
    assert len(first["sha1"]) == 40, "a SHA-1, unless SHA-256 is asked for"
    assert not [step for step in deployed.log.steps if step.startswith("Compiling")]


def test_jobs_of_ones_choice_with_what_their_packages_need(deployed: World) -> None:
    with archive.open_release(deployed.blobs.path(do(deployed, jobs=("db",))["blobstore_id"])) as found:
        assert [item.name for item in found.release.jobs] == ["db"]
        assert [item.name for item in found.release.compiled_packages] == ["lib"]
    with archive.open_release(deployed.blobs.path(do(deployed, jobs=("plain", "web"))["blobstore_id"])) as found:
        assert [item.name for item in found.release.jobs] == ["plain", "web"]
        assert [item.name for item in found.release.compiled_packages] == ["app", "lib"], "app was compiled with lib"


def test_another_director_deploys_it_without_compiling(deployed: World, tmp_path: Path, renderer: Any) -> None:
    made = do(deployed)
    other = World(tmp_path / "other", renderer=renderer)
    try:
        other.configure(CLOUD)
        other.stemcell()
        upload(other, deployed.blobs.path(made["blobstore_id"]), sha1=made["sha1"])
        other.deploy(MANIFEST)
        assert not [step for step in other.log.steps if step.startswith("Compiling")]
        theirs, ours = (world.machine("db").spec["packages"]["lib"]["sha1"] for world in (other, deployed))
        assert theirs == ours
    finally:
        other.close()


def test_what_was_uploaded_compiled_is_exported_as_it_is(world: World, tmp_path: Path) -> None:
    world.store.releases.delete("rel", "0+dev.1")
    upload(world, compiled(build(tmp_path, RELEASE), "linux/1"))
    world.deploy(MANIFEST)
    world.log.steps.clear()
    with archive.open_release(world.blobs.path(do(world)["blobstore_id"])) as found:
        assert len(found.release.compiled_packages) == 2
    assert not [step for step in world.log.steps if step.startswith("Compiling")]


def test_a_near_form_is_not_passed_off_as_made_for_the_stemcell(world: World, tmp_path: Path) -> None:
    world.store.releases.delete("rel", "0+dev.1")
    upload(world, compiled(build(tmp_path, RELEASE), "linux/1.5"))
    world.deploy(MANIFEST)
    with pytest.raises(ReleaseError, match=r"(?s)against stemcell 'linux/1':.*'lib/.*'app/.*compiled for linux/1\.5") as caught:
        do(world)
    assert caught.value.code == 60001


@pytest.mark.parametrize(("more", "code", "words"), [
    ({"version": "0+dev.1"}, 30011, r"Release version 'rel/0\+dev\.1' not found in deployment 'app' manifest.*It uses rel/1\."),
    ({"stemcell_version": "2"}, 50003, "Stemcell 'linux/2' is not used by deployment 'app'"),
    ({"stemcell_os": "linus"}, 50003, "Did you mean 'linux/1'"),
    ({"jobs": ("wep", "db", "x")}, 70009, r"(?s)Job 'wep' not found in release 'rel/1'.*Did you mean 'web'.*Job 'x' not found"),
])
def test_what_the_deployment_does_not_have(more: dict[str, Any], code: int, words: str, deployed: World) -> None:
    before = blobs(deployed)
    with pytest.raises(NotFoundError, match=f"(?s){words}") as caught:
        do(deployed, **more)
    assert caught.value.code == code
    assert blobs(deployed) == before


def test_a_deployment_that_never_was(world: World) -> None:
    world.store.deployments.ensure("app")
    with pytest.raises(CaissonError, match="No successful BOSH deployment manifest available"):
        do(world)


def test_a_rotten_blob_does_not_travel(deployed: World) -> None:
    (form,) = deployed.store.compiled_packages.all()
    deployed.blobs.path(form.blob_id).write_bytes(b"rotten")
    with pytest.raises(CaissonError, match="wrong digest"):
        do(deployed, jobs=("db",))
    assert not deployed.store.blobs.of_kind(export.KIND)


def test_what_another_task_compiled_meanwhile_is_taken(deployed: World) -> None:
    """While this one waited for the lock of the package. Release contract, section 10."""
    waited: list[str] = []

    @contextlib.contextmanager
    def lock(name: str, seconds: float) -> Iterator[None]:
        if name.startswith("lock:compile:"):
            waited.append(name)
            assert seconds == 900.0
            other, blob = deployed.store.compiled_packages.all()[0], deployed.blobs.put(archive_of_nothing())
            deployed.store.blobs.add(BlobRow(blob.id, "compiled-package", blob.sha256, blob.size))
            app = deployed.store.releases.get("rel", "1").package("app")
            assert app is not None
            deployed.store.compiled_packages.add(dataclasses.replace(
                other, key=name.removeprefix("lock:compile:"), name="app", version=app.version, fingerprint=app.fingerprint,
                blob_id=blob.id, digest=f"sha256:{blob.sha256}", dependency_key=f'[["lib","{other.version}"]]'))
        yield

    machines = list(deployed.cloud.made)
    ctx = dataclasses.replace(deployed.context, lock=lock)
    export.export_release(ctx, "app", export.ExportRequest("rel", "1", "linux", "1"))
    assert len(waited) == 1
    assert deployed.cloud.made == machines, "no machine was made"


def archive_of_nothing() -> bytes:
    raw = io.BytesIO()
    tarfile.TarFile(fileobj=raw, mode="w").close()
    return raw.getvalue()


def test_a_director_that_dies_exports_again(deployed: World) -> None:
    """The task is taken up again, as deploys are: nothing that compiled is left, the archive is whole."""
    ctx = deployed.context

    def dying(name: str) -> None:
        if name == "create_vm":
            raise KeyboardInterrupt

    deployed.effect = dying
    with pytest.raises(KeyboardInterrupt):
        do(deployed)
    deployed.effect = lambda name: None
    assert deployed.leaks()
    made = do(deployed)
    assert not deployed.leaks()
    with archive.open_release(ctx.blobs.path(made["blobstore_id"])) as found:
        assert len(found.release.compiled_packages) == 2
    assert "export_release" in queue.RESUMABLE
