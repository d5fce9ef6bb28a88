"""Deleting what nothing uses, and refusing what is in use. Source: planning contract, section 21."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import World
from release_files import blobs, build, compiled, consistent, upload
from small_world import MANIFEST, RELEASE

from cpis import contract
from director.errors import CaissonError, CloudError, ConflictError, NotFoundError
from director.execute import cleanup, deploy, export, prepare, upkeep
from director.state.stemcells import StemcellRow


@pytest.fixture
def deployed(world: World) -> World:
    """`rel/0+dev.1` and `linux/1` are in use."""
    world.deploy(MANIFEST)
    return world


def stemcell(world: World, version: str, os: str = "linux") -> None:
    cid = world.cloud.create_stemcell("", {}, f"token-{os}-{version}")
    world.store.stemcells.add(StemcellRow(os, version, os, cid, f"token-{os}-{version}"))


def clean(world: World, **more: Any) -> str:
    return cleanup.clean_up(world.context, **more)


def versions(world: World) -> list[str]:
    return world.store.releases.versions("rel")


def test_the_two_newest_unused_stay(deployed: World, tmp_path: Path) -> None:
    for version in ("1", "10", "9", "2"):
        upload(deployed, build(tmp_path, RELEASE, version=version))
        stemcell(deployed, f"{version}.0")
    found = cleanup.leftovers(deployed.store)
    told = clean(deployed)
    assert told.startswith("Deleted 2 release(s), 2 stemcell(s), 0 extra compiled package(s), 0 orphaned disk(s), 0 orphaned vm(s)")
    assert versions(deployed) == ["0+dev.1", "10", "9"]
    assert sorted(row.version for row in deployed.store.stemcells.all()) == ["1", "10.0", "9.0"]
    assert (list(found.releases), [row.version for row in found.stemcells]) == ([("rel", "1"), ("rel", "2")], ["1.0", "2.0"])
    assert consistent(deployed)
    assert not deployed.leaks()


def test_all_means_all_that_is_unused(deployed: World, tmp_path: Path) -> None:
    source = build(tmp_path, {**RELEASE, "src/lib.txt": "two\n"}, version="2")
    for tarball in (source, compiled(source, "linux/7"), compiled(source, "linux/1")):
        upload(deployed, tarball)
    stemcell(deployed, "7")
    stemcell(deployed, "8")
    # `lib`'s forms go with the release; `app` is in both releases, and what was made of it with the other `lib` fits none any more.
    assert [row.name for row in cleanup.leftovers(deployed.store, remove_all=True).compiled_packages] == ["app", "app"]
    assert "Deleted 1 release(s), 2 stemcell(s), 2 extra compiled" in clean(deployed, remove_all=True)
    assert len(deployed.store.compiled_packages.all()) == 2
    assert versions(deployed) == ["0+dev.1"]
    assert [row.version for row in deployed.store.stemcells.all()] == ["1"]
    assert consistent(deployed)
    deployed.log.steps.clear()
    deployed.deploy(MANIFEST)
    assert not [step for step in deployed.log.steps if step.startswith("Compiling")], "what is in use was left alone"


def test_what_was_compiled_for_stemcells_that_are_gone(deployed: World, tmp_path: Path) -> None:
    """With --all; and never what could not be made again."""
    tarball = build(tmp_path, RELEASE, version="0+dev.1")
    upload(deployed, compiled(tarball, "linux/7"))
    only = {**RELEASE, "src/lib.txt": "only\n"}
    upload(deployed, compiled(build(tmp_path, only, name="other"), "linux/7"))
    deployed.store.configs.save("runtime", "default", "releases: [{name: other, version: '1'}]\naddons: []\n")
    assert "0 extra compiled package(s)" in clean(deployed)
    assert [row.name for row in cleanup.leftovers(deployed.store, remove_all=True).compiled_packages] == ["app", "lib"]
    assert "2 extra compiled package(s)" in clean(deployed, remove_all=True)
    assert sorted(f"{row.name} {row.stemcell_version}" for row in deployed.store.compiled_packages.all()) == [
        "app 1", "app 7", "lib 1", "lib 7"]
    assert consistent(deployed)


def test_releases_of_runtime_configs_stay(deployed: World, tmp_path: Path) -> None:
    for version in ("1", "2"):
        upload(deployed, build(tmp_path, RELEASE, name="addon", version=version))
    deployed.store.configs.save("runtime", "default", "releases: [{name: addon, version: '1'}]\naddons: []\n")
    clean(deployed, remove_all=True)
    assert deployed.store.releases.versions("addon") == ["1"]


def test_exports_and_orphans(deployed: World) -> None:
    export.export_release(deployed.context, "app", export.ExportRequest("rel", "0+dev.1", "linux", "1"))
    (blob,) = deployed.store.blobs.of_kind(export.KIND)
    deployed.deploy(MANIFEST.replace("  persistent_disk_type: small\n", ""))
    assert len(deployed.store.disks.orphans()) == 1
    assert "0 orphaned disk(s), 0 orphaned vm(s), 1 exported release(s)" in clean(deployed)
    assert blob.id not in blobs(deployed)
    assert "0 orphaned disk(s)" in clean(deployed, remove_all=True, keep_orphaned_disks=True)
    assert "1 orphaned disk(s)" in clean(deployed, remove_all=True)
    assert not deployed.leaks()


def test_looking_changes_nothing(deployed: World, tmp_path: Path) -> None:
    upload(deployed, build(tmp_path, RELEASE, version="1"))
    before = deployed.dump()
    found = cleanup.leftovers(deployed.store, remove_all=True)
    assert list(found.releases) == [("rel", "1")]
    assert deployed.dump() == before


def test_what_fails_is_told_and_stops_nothing(deployed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("7", "8"):
        stemcell(deployed, version)
    upload(deployed, build(tmp_path, RELEASE, version="1"))
    real = deployed.cloud.delete_stemcell
    stuck = deployed.store.stemcells.get("linux", "7").cid

    def refusing(cid: str) -> None:
        if cid == stuck:
            raise contract.Conflict("the image is held", resource=cid)
        real(cid)

    monkeypatch.setattr(deployed.cloud, "delete_stemcell", refusing)
    with pytest.raises(CaissonError, match="the image is held"):
        clean(deployed, remove_all=True)
    assert (versions(deployed), sorted(row.version for row in deployed.store.stemcells.all())) == (["0+dev.1"], ["1", "7"])
    with pytest.raises(CloudError, match="the image is held"):
        upkeep.delete_stemcell(deployed.context, "linux", "7")
    assert upkeep.delete_stemcell(deployed.context, "linux", "7", force=True) == "/stemcells/linux/7"
    assert "may be left in the cloud" in deployed.log.warnings[-1]


def test_what_is_in_use_is_refused_naming_the_users(deployed: World, tmp_path: Path) -> None:
    upload(deployed, build(tmp_path, RELEASE, version="1"))
    for version, code, words in (
        ("0+dev.1", 30008, "ReleaseVersion 'rel/0+dev.1' is still in use by: app"), ("", 30007, "Release 'rel' is still in use by: app"),
    ):
        with pytest.raises(ConflictError) as caught:
            upkeep.delete_release(deployed.context, "rel", version)
        assert (caught.value.code, caught.value.message) == (code, words)
    for force in (False, True):
        with pytest.raises(ConflictError, match="Stemcell 'linux/1' is still in use by: app") as caught:
            upkeep.delete_stemcell(deployed.context, "linux", "1", force=force)
        assert caught.value.code == 50004
    assert upkeep.delete_release(deployed.context, "rel", "1") == "/release/rel"
    assert versions(deployed) == ["0+dev.1"]
    assert consistent(deployed)


def test_what_is_being_deployed_is_in_use(world: World) -> None:
    """From the moment when anything is done with it, not only when the deploy has succeeded."""
    seen: list[str] = []

    def effect(name: str) -> None:
        if name == "create_vm" and not seen:
            with pytest.raises(ConflictError, match="Release 'rel' is still in use by: app"):
                upkeep.delete_release(world.context, "rel")
            with pytest.raises(ConflictError, match="Stemcell 'linux/1' is still in use by: app"):
                upkeep.delete_stemcell(world.context, "linux", "1")
            seen.append(name)

    world.effect = effect
    world.deploy(MANIFEST)
    assert seen == ["create_vm"]


def test_a_failed_update_holds_what_was_and_what_was_to_be(deployed: World, tmp_path: Path) -> None:
    upload(deployed, build(tmp_path, RELEASE, version="1"))
    deployed.fleet.sick.add("db")
    with pytest.raises(CaissonError):
        deployed.deploy(MANIFEST.replace("greeting: hello", "greeting: bye").replace("((password))", "other"))
    held = {version for _, _, version in deployed.store.deployments.releases("app")}
    assert held == {"0+dev.1", "1"}
    deployed.fleet.sick.clear()
    deployed.deploy(MANIFEST)
    assert {version for _, _, version in deployed.store.deployments.releases("app")} == {"1"}


def test_a_release_that_was_deleted_while_a_deploy_was_planned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = prepare.prepare

    def slow(*arguments: Any, **more: Any) -> Any:
        prepared = real(*arguments, **more)
        upkeep.delete_release(world.context, "rel")
        return prepared

    monkeypatch.setattr(deploy, "prepare", slow)
    with pytest.raises(NotFoundError, match="Release 'rel' doesn't exist"):
        world.deploy(MANIFEST)
    assert not world.fleet.machines

