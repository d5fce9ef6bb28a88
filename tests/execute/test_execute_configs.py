"""Configs as a deploy uses them: CPIs and zones, older names of a cloud, pinned versions, order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import World
from small_world import CLOUD, MANIFEST

from cpis.fake import FakeCpi
from director.errors import ManifestError, NotFoundError
from director.execute import prepare
from director.execute.clouds import Clouds

ZONED = CLOUD.replace("azs: [{name: z1}, {name: z2}]", "azs: [{name: z1, cpi: new}, {name: z2, cpi: new}]")


def clouds(**entries: dict[str, Any]) -> tuple[Clouds, FakeCpi]:
    default = FakeCpi()
    return Clouds(default, lambda name, entry: FakeCpi(), lambda: entries), default


def test_a_cloud_answers_to_its_older_names() -> None:
    found, default = clouds(new={"type": "fake", "migrated_from": ("old", "")}, other={"type": "fake"})
    assert found.get("old") is found.get("new") is found.get("")
    assert found.get("other") is not found.get("new")
    assert found.aliases("new") == ("new", "old", "")
    with pytest.raises(NotFoundError, match="CPI 'none' not found in cpi-config"):
        found.get("none")
    found, default = clouds(new={"type": "fake"})
    assert found.get("") is default


def test_zones_must_name_a_cpi_of_the_config(world: World) -> None:
    world.configure(ZONED)
    with pytest.raises(ManifestError, match=r"CPI 'new' not found in cpi-config \(because cpi-config is not set"):
        world.deploy(MANIFEST)
    world.cpis = {"other": {"type": "fake"}}
    world.configure(CLOUD)
    with pytest.raises(ManifestError) as caught:
        world.deploy(MANIFEST)
    assert caught.value.code == 550001
    assert len(caught.value.diagnostics) == 2


def test_a_renamed_cloud_keeps_its_machines_and_stemcells(world: World) -> None:
    world.deploy(MANIFEST)
    before = set(world.fleet.machines)
    world.configure(ZONED)
    world.cpis = {"new": {"type": "fake", "migrated_from": ("",)}}
    world.deploy(MANIFEST)
    assert set(world.fleet.machines) == before
    world.deploy(MANIFEST.replace("instances: 2", "instances: 3"))
    assert len(world.fleet.machines) == len(before) + 1


def test_pinned_configs_are_used_oldest_first_also_when_they_are_gone(world: World, tmp_path: Path) -> None:
    configs = world.store.configs
    later = configs.save("cloud", "zz", "disk_types: []")
    first = configs.save("cloud", "aa", "vm_types: []")
    (default,) = [row for row in configs.current("cloud") if row.name == "default"]
    wanted = prepare.Wanted(MANIFEST)
    assert prepare.configs_of(world.context, wanted).cloud_ids == (default.id, later.id, first.id)
    configs.delete("cloud", "zz")
    pinned = prepare.Wanted(MANIFEST, cloud_config_ids=(later.id, default.id))
    assert prepare.configs_of(world.context, pinned).cloud_ids == (default.id, later.id)
    with pytest.raises(ManifestError) as caught:
        prepare.configs_of(world.context, prepare.Wanted(MANIFEST, cloud_config_ids=(99,)))
    assert caught.value.code == 190025
