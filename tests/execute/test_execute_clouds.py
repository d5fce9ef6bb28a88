"""Several clouds under one director: zones of different ones in one deployment, what each is told, what is said when one fails."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import Cloud, World
from small_world import CLOUD, MANIFEST

from cpis import contract, registry
from cpis.fake import FakeCpi, Fault
from cpis.process import ProcessCpi
from director.errors import CloudError, NotFoundError
from director.execute import clouds, delete, fetch, upkeep, upload_stemcell
from director.execute.clouds import Clouds, maker

ZONED = CLOUD.replace("azs: [{name: z1}, {name: z2}]", "azs: [{name: z1, cpi: east}, {name: z2, cpi: west}]")
NAMES = ("east", "west")


def add_clouds(world: World, folder: Path, *, stemcells: tuple[str, ...] = NAMES) -> dict[str, Cloud]:
    """Two clouds, their zones, and the stemcell on each of `stemcells`."""
    for name in NAMES:
        world.clouds[name] = Cloud(world.fleet, world._done)
        world.clouds[name]._prefix = f"{name}-"
    world.configure(ZONED)
    for row in world.store.stemcells.all():
        world.store.stemcells.delete(row.id)
        world.cloud.delete_stemcell(row.cid)
    path = folder / "stemcell.yml"
    path.write_text("name: linux\nversion: '1'\noperating_system: linux\napi_version: 2\nstemcell_formats: [caisson-light]\n")
    world.cpis = {name: {"type": "fake"} for name in stemcells}
    upload_stemcell.upload_stemcell(world.context, fetch.Upload(path=str(path)))
    world.cpis = {name: {"type": "fake"} for name in NAMES}
    return world.clouds


def owned(cloud: Cloud) -> dict[str, str]:
    return {found.cid: found.kind for found in cloud.owned()}


def recorded(world: World, cpi: str) -> dict[str, str]:
    return {
        **{row.cid: "vm" for row in world.store.vms.all() if row.cpi == cpi},
        **{row.cid: "disk" for row in world.store.disks.all() if row.cpi == cpi},
        **{row.cid: "stemcell" for row in world.store.stemcells.all() if row.cpi == cpi},
    }


def test_a_deployment_stands_in_two_clouds_and_goes_from_both(world: World, tmp_path: Path) -> None:
    found = add_clouds(world, tmp_path)
    world.deploy(MANIFEST)
    where = {row.label.partition("/")[0] + row.az: world.store.vms.active_of(row.id) for row in world.store.instances.all()}
    assert {key: vm.cpi for key, vm in where.items() if vm} == {"dbz1": "east", "webz1": "east", "webz2": "west"}
    for name in NAMES:
        assert owned(found[name]) == recorded(world, name)
        assert all(cid.startswith(name) for cid in owned(found[name]))
    assert sorted(owned(found["west"]).values()) == ["stemcell", "vm"]
    assert not owned(world.cloud), "the director's own cloud has no part in it"
    world.task += 1
    delete.delete_deployment(world.context, "app")
    for name in NAMES:
        assert sorted(set(owned(found[name]).values()) - {"disk"}) == ["stemcell"]


def test_a_second_deploy_changes_nothing_in_either(world: World, tmp_path: Path) -> None:
    found = add_clouds(world, tmp_path)
    world.deploy(MANIFEST)
    world.task += 1
    before = [owned(found[name]) for name in NAMES]
    world.deploy(MANIFEST)
    assert [owned(found[name]) for name in NAMES] == before


def test_a_cloud_without_the_stemcell_is_named_before_anything_is_made_there(world: World, tmp_path: Path) -> None:
    found = add_clouds(world, tmp_path, stemcells=("east",))
    with pytest.raises(NotFoundError, match="Required stemcell linux/1 not found for cpi west, please upload again"):
        world.deploy(MANIFEST)
    assert not owned(found["west"])


def test_an_error_names_the_cloud(world: World, tmp_path: Path) -> None:
    found = add_clouds(world, tmp_path)
    found["west"].faults = [Fault("create_vm", "Quota", message="no more machines")]
    with pytest.raises(CloudError, match="no more machines") as caught:
        world.deploy(MANIFEST)
    assert "cpi: west" in caught.value.diagnostics[0].detail
    world.task += 1
    world.deploy(MANIFEST)
    for name in NAMES:
        assert owned(found[name]) == recorded(world, name)


def test_what_was_made_on_a_cloud_that_is_configured_no_more_is_told(world: World, tmp_path: Path) -> None:
    add_clouds(world, tmp_path)
    world.cpis = {"east": {"type": "fake"}}
    with pytest.raises(NotFoundError, match="CPI 'west' not found"):
        upkeep.delete_stemcell(world.context, "linux", "1")
    assert upkeep.delete_stemcell(world.context, "linux", "1", force=True)
    assert [warning for warning in world.log.warnings if "may be left in the cloud: CPI 'west' not found" in warning]
    assert not world.store.stemcells.all()


def test_errors_outside_the_journal_are_told_in_an_operators_words(world: World, tmp_path: Path) -> None:
    found = add_clouds(world, tmp_path)
    found["west"].faults = [Fault("calculate_vm_cloud_properties", "Denied", message="not allowed to list types")]
    web = "  vm_type: small\n  stemcell: default\n  networks: [{name: default}]"
    sized = MANIFEST.replace(web, web.replace("vm_type: small", "vm_resources: {cpu: 1, ram: 512, ephemeral_disk_size: 1024}"))
    with pytest.raises(CloudError, match=r"Choosing a machine for web/.*not allowed to list types"):
        world.deploy(sized)


# What an entry of the CPI config becomes


def test_every_cloud_is_told_whose_it_is_and_where_it_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, config: Any) -> contract.Cpi:
        seen.append((name, dict(config)))
        return FakeCpi()

    monkeypatch.setattr(registry, "load", load)
    make = maker(tmp_path, "the-mark")
    make("a/b", {"type": "fake", "properties": {"limits": {}}})
    make("c", {"type": "aws", "properties": {"region": "r", "director": "other"}, "exec_path": "/opt/cpi"})
    make("d", {"type": "fake"})
    assert seen == [
        ("fake", {"director": "the-mark", "state_dir": f"{tmp_path}/a%2Fb", "limits": {}}),
        ("process", {
            "director": "the-mark", "state_dir": f"{tmp_path}/c", "path": "/opt/cpi", "properties": {"region": "r", "director": "other"}}),
        ("fake", {"director": "the-mark", "state_dir": f"{tmp_path}/d"}),
    ]


def test_a_type_that_is_none_of_ours_is_looked_for_where_bosh_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "EXECUTABLE", f"{tmp_path}/{{type}}_cpi/bin/cpi")
    make = maker(tmp_path, "m")
    with pytest.raises(contract.Invalid, match="there is no CPI 'warden'"):
        make("a", {"type": "warden"})
    (tmp_path / "warden_cpi" / "bin").mkdir(parents=True)
    (tmp_path / "warden_cpi" / "bin" / "cpi").touch()
    assert isinstance(make("a", {"type": "warden"}), ProcessCpi)


def test_a_wrong_configuration_names_the_entry(tmp_path: Path) -> None:
    found = Clouds(FakeCpi(), maker(tmp_path, "m"), lambda: {"east": {"type": "fake", "properties": {"limit": 1}}})
    with pytest.raises(CloudError, match="CPI 'east' cannot be used: the fake CPI has no setting 'limit'"):
        found.get("east")


def test_a_changed_configuration_makes_the_cloud_anew_and_closes_the_old_one_at_the_end() -> None:
    closed: list[int] = []

    @dataclasses.dataclass
    class Numbered:
        number: int

        def close(self) -> None:
            closed.append(self.number)

    made: list[Any] = []

    def make(name: str, entry: Any) -> Any:
        made.append(Numbered(len(made)))
        return made[-1]

    entries: dict[str, Any] = {"a": {"type": "x", "properties": {"n": 1}}}
    found = Clouds(FakeCpi(), make, lambda: entries)
    first = found.get("a")
    assert found.get("a") is first
    entries["a"] = {"type": "x", "properties": {"n": 2}}
    assert found.get("a") is not first
    assert closed == [], "a task may be at work with it"
    found.close()
    assert closed == [0, 1]


def test_a_director_that_uses_no_cloud_loads_no_library_of_one() -> None:
    code = (
        "import sys, director.service, director.cli.main, cpis.registry, cpis.fake, cpis.local\n"
        "import director.api.app, director.execute.clouds, cpis.cloud.schema, cpis.portable, cpis.process, cpis.wire.server\n"
        "[cpis.cloud.schema.Schema.of(name) for name in cpis.cloud.schema.clouds()]\n"
        "libraries = {'libcloud', 'pyVmomi', 'boto3', 'botocore', 'google', 'azure', 'msal', 'openstack', 'moto'}\n"
        "found = sorted({name.partition('.')[0] for name in sys.modules} & libraries)\n"
        "sys.exit(f'loaded: {found}' if found else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
