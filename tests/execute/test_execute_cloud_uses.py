"""Cloud properties are compared with what each cloud knows, before a cloud is touched; and gathered for a look at it."""

from __future__ import annotations

import pytest
from fakes import World
from small_world import CLOUD, MANIFEST

from cpis.cloud import schema
from director.execute import cloud_uses
from director.execute.clouds import Clouds
from director.manifest.load import load_yaml

SCHEMA = """
az: {availability_zone: {type: string, required: true, description: x}}
network: {subnet: {type: string, required: true, description: x}}
vm_type:
  instance_type: {type: string, required: true, description: x}
  ephemeral_disk: {type: hash, description: x, keys: {size: {type: integer}}}
disk_type: {type: {type: string, values: [gp2, gp3], description: x}}
"""
CONFIG = """azs:
- {name: z1, cpi: east, cloud_properties: {availability_zone: a}}
- {name: z2, cpi: west, cloud_properties: {availability_zone: b}}
vm_types:
- name: small
  cloud_properties:
    instance_type: m5.large
vm_extensions:
- {name: more, cloud_properties: {ephemeral_disk: {size: 100}}}
disk_types:
- {name: disk, disk_size: 1024, cloud_properties: {type: gp3}}
networks:
- name: default
  subnets:
  - {range: 10.0.0.0/24, azs: [z1], cloud_properties: {subnet: s-1}}
  - {range: 10.0.1.0/24, azs: [z2], cloud_properties: {subnet: s-2}}
- {name: public, type: vip}
"""
BOTH = {"east": "first", "west": "second"}


@pytest.fixture(autouse=True)
def two_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """`first` has the schema above; machines of `second` have other keys."""
    known = {
        "local": schema.Schema.of("local"), "first": schema.Schema.read("first", SCHEMA),
        "second": schema.Schema.read("second", SCHEMA.replace("instance_type:", "machine_type:").replace("ephemeral_disk:", "scratch:")),
    }
    monkeypatch.setattr(schema, "clouds", lambda: tuple(known))
    monkeypatch.setattr(schema.Schema, "of", staticmethod(known.__getitem__))


def told(text: str, types: dict[str, str]) -> list[tuple[str, int | None, str]]:
    found = cloud_uses.problems([load_yaml(text, "cloud.yml")], types)
    assert all(item.severity == "warning" and item.where and item.where.file == "cloud.yml" for item in found)
    return [(item.summary, item.where.line if item.where else None, item.suggestion) for item in found]


def test_nothing_is_said_of_what_is_right() -> None:
    assert told(CONFIG, {"east": "first", "west": "first"}) == []


@pytest.mark.parametrize(("old", "new", "words", "line", "hint"), [
    ("instance_type: m5", "instance_typ: m5", "machines of 'small': unknown key 'instance_typ'", 7, "Did you mean 'instance_type'?"),
    ("{size: 100}", "{size: big}", "machines of 'more': 'ephemeral_disk.size' must be an integer, not 'big'", 9, "docs cpi/first vm_types"),
    ("type: gp3", "type: gp4", "disk type 'disk': 'type' must be one of gp2, gp3, not 'gp4'", 11, "Did you mean 'gp"),
    ("subnet: s-2", "subnett: s-2", "network 'default/10.0.1.0/24': unknown key 'subnett'", 16, "Did you mean 'subnet'?"),
    ("availability_zone: b", "zone: b", "zone 'z2': unknown key 'zone'", 3, "availability_zone"),
])
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, words: str, line: int, hint: str) -> None:
    ((summary, where, suggestion),) = told(CONFIG.replace(old, new), {"east": "first", "west": "first"})
    assert summary == f"The first CPI will refuse the cloud properties of {words}"
    assert where == line
    assert hint in suggestion


def test_what_one_of_several_clouds_takes_is_right() -> None:
    assert told(CONFIG, BOTH) == []
    assert told(CONFIG.replace("instance_type", "machine_type").replace("ephemeral_disk", "scratch"), BOTH) == []
    assert len(told(CONFIG.replace("instance_type", "no_type"), BOTH)) == 1


def test_what_a_machine_takes_may_stand_in_its_zone() -> None:
    """So a machine type without properties of its own is of use in clouds that have no key in common."""
    text = CONFIG.replace("{availability_zone: a}", "{availability_zone: a, instance_type: m5}")
    assert told(text.replace("{availability_zone: b}", "{availability_zone: b, machine_type: e2}"), BOTH) == []


def test_a_zones_properties_are_for_its_own_cloud() -> None:
    ((summary, _, _),) = told(CONFIG.replace("{availability_zone: b}", "{instance_type: x}"), BOTH)
    assert summary.startswith("The second CPI will refuse the cloud properties of zone 'z2'")


@pytest.mark.parametrize("types", [{"east": "first", "west": ""}, {"": "other"}, {"": ""}])
def test_of_a_cloud_that_nobody_knows_nothing_is_said(types: dict[str, str]) -> None:
    assert told(CONFIG.replace("instance_type", "anything"), types) == []


def test_placeholders_may_stand_for_anything() -> None:
    assert told(CONFIG.replace("size: 100", "size: ((size))").replace("type: gp3", "type: ((t))"), {"east": "first", "west": "first"}) == []
    assert told(CONFIG.replace("{type: gp3}", "((disk))"), {"east": "first", "west": "first"}) == []


def test_a_deploy_warns_and_goes_on(world: World) -> None:
    zones = "azs: [{name: z1, cpi: east}, {name: z2, cpi: east}]"
    world.configure(CLOUD.replace("{memory: 512}", "{memry: 512}").replace("azs: [{name: z1}, {name: z2}]", zones))
    world.cpis = {"east": {"type": "local", "migrated_from": ("",)}}
    with pytest.raises(Exception, match="unknown cloud property 'memry'"):
        world.deploy(MANIFEST)
    (warning,) = [text for text in world.log.warnings if "memry" in text]
    assert warning == (
        "The local CPI will refuse the cloud properties of machines of 'small': unknown key 'memry' (cloud-config 'default':3 "
        "vm_types/small/cloud_properties/memry). Did you mean 'memory'?")


def test_uses_are_those_of_one_cloud() -> None:
    found = cloud_uses.uses([load_yaml(CONFIG, "c")], "east", BOTH, ["ami-1"])
    assert found.azs == {"z1": {"availability_zone": "a"}}
    assert found.networks == {"default/10.0.0.0/24": {"subnet": "s-1"}}
    assert found.vm_types == {"small": {"instance_type": "m5.large"}, "more": {"ephemeral_disk": {"size": 100}}}
    assert found.disk_types == {"disk": {"type": "gp3"}}
    assert found.stemcell_cids == ("ami-1",)
    assert cloud_uses.uses([load_yaml(CONFIG, "c")], "west", BOTH, []).vm_types == {}


def test_the_cloud_behind_each_name_is_told() -> None:
    from cpis.fake import FakeCpi

    entries = {
        "a": {"type": "local"}, "b": {"type": "process"}, "c": {"type": "fake", "exec_path": "/cpi"}, "d": {"type": "warden"},
        "e": {"type": "fake"},
    }
    assert Clouds(FakeCpi(), lambda name, entry: FakeCpi(), lambda: entries).types() == {
        "a": "local", "b": "", "c": "", "d": "", "e": "fake"}
    assert Clouds(FakeCpi(), lambda name, entry: FakeCpi(), dict).types() == {"": "fake"}
