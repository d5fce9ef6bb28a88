"""A config that machines stand on is not taken away under them; what a deploy would refuse is told when a config comes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from api_world import YAML, World

from director.api import app
from director.state.disks import DiskRow
from director.state.instances import InstanceRow
from director.state.vms import VmRow

CLOUD = """
azs: [{name: z1, cpi: a}, {name: z2, cpi: a}, {name: z3, cpi: a}]
networks: [{name: default, type: dynamic}, {name: spare, type: dynamic}]
compilation: {workers: 1, network: default}
"""
CPIS = "cpis: [{name: a, type: fake}, {name: b, type: fake}]"


@pytest.fixture
def used(world: World) -> World:
    """Deployment `app` with a machine in z1, one in z2, and a detached instance with a disk in z2; `idle` has nothing in z3."""
    for type_, content in (("cloud", CLOUD), ("cpi", CPIS)):
        world.store.configs.save(type_, "default", content)
    for deployment in ("app", "idle"):
        world.store.deployments.ensure(deployment)
    for number, az in ((0, "z1"), (1, "z2"), (2, "z2")):
        world.store.instances.add(InstanceRow(f"id-{number}", "app", "web", number, az))
    world.store.instances.add(InstanceRow("id-9", "idle", "gone", 0, "z3"))
    for number in (0, 1):
        world.store.vms.add(VmRow(
            f"vm-{number}", f"t{number}", "app", f"agent-{number}", f"id-{number}", cpi="a", active=True, networks=[{"name": "default"}]))
    world.store.disks.add(DiskRow("disk", "t9", 10, cpi="a", instance_id="id-2", active=True))
    return world


def put(world: World, content: str, type_: str = "cloud", name: str = "default", query: str = "") -> Any:
    return world.post(f"/configs{query}", json={"type": type_, "name": name, "content": content})


def test_a_zone_in_use_stays(used: World) -> None:
    answer = put(used, CLOUD.replace("{name: z2, cpi: a}, ", ""))
    assert (answer.status_code, answer.json()["code"]) == (400, 440011)
    assert answer.json()["description"] == (
        "Availability zone 'z2' is used by 2 instances: deployment 'app' (web/id-1 (1), web/id-2 (2))")
    assert "Deploy without it first" in answer.json()["diagnostics"][0]["suggestion"]
    assert len(used.store.configs.select(type="cloud", limit=None)) == 1
    assert put(used, CLOUD.replace(", {name: z3, cpi: a}", "")).status_code == 201


def test_a_network_in_use_stays(used: World) -> None:
    answer = put(used, CLOUD.replace("{name: default, ", "{name: other, "))
    assert "Network 'default' is used by 2 instances: deployment 'app'" in answer.json()["description"]
    assert put(used, CLOUD.replace(", {name: spare, type: dynamic}", "")).status_code == 201


def test_all_that_is_lost_is_told_at_once(used: World) -> None:
    answer = put(used, "azs: []\nnetworks: []")
    assert [item["summary"].partition(" is used")[0] for item in answer.json()["diagnostics"]] == [
        "Availability zone 'z1'", "Availability zone 'z2'", "Network 'default'"]


def test_a_cpi_in_use_stays_or_is_renamed(used: World) -> None:
    answer = put(used, "cpis: [{name: b, type: fake}]", "cpi")
    assert "CPI 'a' is used by 3 instances: deployment 'app'" in answer.json()["description"]
    assert put(used, "cpis: [{name: b, type: fake, migrated_from: [{name: a}]}]", "cpi").status_code == 201
    assert put(used, CLOUD.replace("cpi: a", "cpi: b")).status_code == 201


def test_a_cpi_stays_while_only_it_can_delete_what_is_orphaned(used: World) -> None:
    used.store.disks.add(DiskRow("lost-disk", "t8", 10, cpi="b", orphaned_at=1.0))
    answer = put(used, "cpis: [{name: a, type: fake}]", "cpi")
    assert answer.json()["description"] == "CPI 'b' still has 1 orphaned disk: lost-disk"
    assert put(used, "cpis: [{name: a, type: fake}, {name: c, type: fake, migrated_from: [{name: b}]}]", "cpi").status_code == 201


def test_a_zone_does_not_move_to_another_cloud(used: World) -> None:
    answer = put(used, CLOUD.replace("{name: z1, cpi: a}", "{name: z1, cpi: b}"))
    assert answer.json()["description"] == (
        "Availability zone 'z1' moves from CPI 'a' to CPI 'b', away from 1 instance: deployment 'app' (web/id-0 (0))")
    assert put(used, CLOUD.replace("{name: z3, cpi: a}", "{name: z3, cpi: b}")).status_code == 201


def test_another_config_of_the_type_may_offer_it(used: World) -> None:
    assert put(used, "azs: [{name: z2, cpi: a}]", name="second").status_code == 201
    assert put(used, CLOUD.replace("{name: z2, cpi: a}, ", "")).status_code == 201
    assert used.delete("/configs?type=cloud&name=second").json()["code"] == 440011


def test_deleting_is_held_to_the_same(used: World) -> None:
    assert "'z1'" in used.delete("/configs?type=cloud&name=default").json()["description"]
    grown = put(used, CLOUD.replace("{name: z3, cpi: a}", "{name: z4, cpi: a}")).json()
    used.store.instances.update("id-0", az="z4")
    assert "Availability zone 'z4'" in used.delete(f"/configs/{grown['id']}").json()["description"]
    assert used.delete("/configs/1").status_code == 204
    assert used.delete(f"/configs/{grown['id']}").json()["code"] == 440011
    assert used.delete("/configs?type=cpi&name=default").json()["code"] == 440011


def test_the_older_endpoints_are_held_to_the_same(used: World) -> None:
    assert used.post("/cloud_configs", content=b"azs: []", headers=YAML).json()["code"] == 440011
    assert used.post("/cpi_configs", content=b"cpis: []", headers=YAML).json()["code"] == 440011
    twice = b"cpis: [{name: a, type: x}, {name: a, type: x}]"
    assert used.post("/cpi_configs", content=twice, headers=YAML).json()["code"] == 550000


def test_force_does_it_all_the_same(used: World) -> None:
    assert put(used, "azs: []", query="?force=true").status_code == 201
    assert used.delete("/configs?type=cpi&name=default&force=true").status_code == 204


def test_what_a_placeholder_stands_for_is_not_judged(used: World) -> None:
    assert put(used, CLOUD.replace("azs: [{name: z1, cpi: a}, {name: z2, cpi: a}, {name: z3, cpi: a}]", "azs: ((/azs))")).status_code == 201


def test_many_instances_are_counted(used: World) -> None:
    for number in range(10, 20):
        used.store.instances.add(InstanceRow(f"id-{number}", "idle", "many", number, "z3"))
        used.store.vms.add(VmRow(f"vm-{number}", f"t{number}", "idle", f"agent-{number}", f"id-{number}", active=True))
    text = put(used, CLOUD.replace(", {name: z3, cpi: a}", "")).json()["description"]
    assert text.endswith("many/id-14 (14), 5 more)")


@pytest.mark.parametrize(("type_", "content", "told"), [
    ("cloud", "azs: [{nam: z1}]", "Unknown key 'nam' in az"), ("cloud", "networks: []", "No networks specified"),
    ("runtime", "addons: [{name: a, jobs: [{name: j, release: r}]}]", "'r' is not listed in the runtime releases section."),
    ("runtime", "releases: [{name: r, version: latest}]", "with version as 'latest'"),
    ("cpi", "cpis: [{name: a}]", "Required property 'type'"), ("resurrection", "rules: [{enabled: 1}]", "required type 'boolean'"),
    ("deploy", "{flags: [], include: [], exclude: []}", "both 'include' and 'exclude'"),
    ("deploy", "flags: [fix, recreat]", "Did you mean 'recreate'?"),
    ("runtime", "addons: [{name: a, include: {lifecycle: errnd}}]", "Did you mean 'errand'?"),
])  # fmt: skip
def test_what_a_deploy_would_refuse_is_told_before_the_upload(world: World, type_: str, content: str, told: str) -> None:
    answer = world.post("/configs/diff", json={"type": type_, "name": "default", "content": content})
    assert answer.status_code == 200
    assert told in json.dumps(answer.json()["problems"])
    assert put(world, content, type_).status_code == 201


def test_cloud_properties_that_a_cpi_will_refuse_are_told_before_the_upload(world: World) -> None:
    world.services = dataclasses.replace(world.services, clouds=lambda: {"": "local"})
    world.listening.switch.app = app.make_app(world.services)
    content = CLOUD.replace(", cpi: a", "") + "vm_types:\n- name: small\n  cloud_properties: {memry: 1}\n"
    (told,) = world.post("/configs/diff", json={"type": "cloud", "name": "default", "content": content}).json()["problems"]
    assert told["severity"] == "warning"
    assert told["summary"] == "The local CPI will refuse the cloud properties of machines of 'small': unknown key 'memry'"
    assert (told["where"]["line"], told["suggestion"]) == (7, "Did you mean 'memory'?")
    assert put(world, content).status_code == 201


@pytest.mark.parametrize(("type_", "content"), [
    ("cloud", CLOUD), ("cloud", "azs: ((/azs))\nnetworks: [{name: a, type: dynamic}]\ncompilation: {workers: ((/n)), network: a}"),
    ("runtime", "tags: {a: ((b))}"), ("cpi", CPIS), ("other", "a: 1"),
])  # fmt: skip
def test_nothing_is_said_of_right_ones(world: World, type_: str, content: str) -> None:
    assert "problems" not in world.post("/configs/diff", json={"type": type_, "name": "default", "content": content}).json()
