"""Addresses that only the cloud knows. Source: planning contract, sections 6 and 10; release contract, 17.1."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fakes import Machine, World, rendered
from small_world import MANIFEST as SMALL

from cpis.contract import DiskHint
from director.errors import AgentError

CLOUD = """
azs: [{name: z1}]
vm_types: [{name: small, cloud_properties: {memory: 512}}]
disk_types: [{name: small, disk_size: 64}]
networks:
- {name: default, type: dynamic, subnets: [{az: z1}]}
- {name: build, subnets: [{range: 10.9.0.0/24, gateway: 10.9.0.1, az: z1}]}
compilation: {workers: 1, az: z1, vm_type: small, network: build}
"""
RELEASE = {
    "config/final.yml": "name: rel\n",
    "jobs/addr/spec": "name: addr\ntemplates: {addr.j2: config/addr}\npackages: []\nproperties: {extra: {default: ''}}\n"
                      "provides: [{name: addr, type: addr}]\nconsumes: [{name: addr, type: addr}]\n",
    "jobs/addr/monit": "check process addr\n",
    "jobs/addr/templates/addr.j2":
        "{{ spec.ip }} {{ spec.networks.default.ip }} {{ spec.networks.default.gateway }} {{ spec.networks.default.netmask }}"
        " {{ spec.address }} {{ link('addr').instances[0].address }} {{ p('extra') }}\n",
}
MANIFEST = """
name: app
releases: [{name: rel, version: latest}]
stemcells: [{alias: default, os: linux, version: latest}]
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 0-1000, update_watch_time: 0-1000, vm_strategy: delete-create}
instance_groups:
- name: web
  instances: 2
  azs: [z1]
  vm_type: small
  stemcell: default
  persistent_disk_type: small
  networks: [{name: default}]
  jobs: [{name: addr, release: rel}]
"""
SWAP = MANIFEST.replace("delete-create", "create-swap-delete")


@pytest.fixture
def cloudy(world: World) -> World:
    world.configure(CLOUD)
    world.upload(RELEASE, "2")
    return world


def content(machine: Machine) -> str:
    """What the job's template became on the machine."""
    return rendered(machine, "addr/config/addr")


def address(world: World, machine: Machine) -> str:
    (ip,) = world.store.vms.get(machine.cid).ips
    return ip


def shown(world: World, index: int = 0) -> str:
    """What it should say: its own address, and names for whoever links to it."""
    first, row = (world.store.instances.at("app", "web", number).id for number in (0, index))
    names = {name: f"{name}.web.default.app.bosh" for name in (first, row)}
    ip = address(world, world.machine("web", index))
    return f"{ip} {ip} 10.254.0.1 255.255.0.0 {names[row]} {names[first]} \n"


def nothing_to_do(world: World, manifest: str) -> None:
    seen = len(world.fleet.calls)
    world.task += 1
    world.deploy(manifest)
    assert {call.action for call in world.fleet.calls[seen:]} <= {"get_state"}


def test_templates_have_the_address_that_the_cloud_chose(cloudy: World) -> None:
    cloudy.deploy(MANIFEST)
    for index in (0, 1):
        assert content(cloudy.machine("web", index)) == shown(cloudy, index)
    assert cloudy.machine("web").spec["networks"]["default"]["ip"] == address(cloudy, cloudy.machine("web"))
    assert cloudy.store.addresses.of("app") == [], "what the cloud gives is not reserved"
    nothing_to_do(cloudy, MANIFEST)


def taken_by_somebody(world: World, ip: str) -> None:
    """A machine of somebody else has the address from now on."""
    cid = f"foreign-{ip.rpartition('.')[2]}"
    world.cloud._resources[cid] = {
        "kind": "vm", "cid": cid, "token": "", "shape": {}, "director": "somebody", "networks": [{"ip": ip}]}


@pytest.mark.parametrize("manifest", [MANIFEST, SWAP])
def test_a_new_machine_has_a_new_address_and_its_templates_too(cloudy: World, manifest: str) -> None:
    cloudy.deploy(manifest)
    before = [address(cloudy, cloudy.machine("web", index)) for index in (0, 1)]

    def effect(name: str) -> None:
        if name == "delete_vm":
            for ip in before:
                if not any(shape["ip"] == ip for vm in cloudy.cloud._of("vm") for shape in vm["networks"]):
                    taken_by_somebody(cloudy, ip)

    cloudy.effect = effect
    cloudy.task += 1
    cloudy.deploy(manifest, recreate=True)
    for index in (0, 1):
        assert content(cloudy.machine("web", index)) == shown(cloudy, index)
        assert address(cloudy, cloudy.machine("web", index)) not in before
    orphaned = {ip for orphan in cloudy.store.vms.orphans() for ip in orphan.ips}
    assert orphaned == (set(before) if manifest == SWAP else set())
    nothing_to_do(cloudy, manifest)


def test_an_update_in_place_keeps_the_address(cloudy: World) -> None:
    cloudy.deploy(MANIFEST)
    machine = cloudy.machine("web")
    cloudy.task += 1
    cloudy.deploy(MANIFEST.replace("{name: addr, release: rel}", "{name: addr, release: rel, properties: {extra: more}}"))
    assert cloudy.machine("web") is machine
    assert content(machine) == shown(cloudy).replace(" \n", " more\n")


def test_a_director_that_died_after_the_machine_was_made_finds_its_address(cloudy: World, tmp_path: Path) -> None:
    def refuse(machine: Machine, action: str, arguments: object) -> None:
        if action == "apply":
            raise AgentError("not now")

    cloudy.fleet.refuse = refuse
    with pytest.raises(AgentError):
        cloudy.deploy(MANIFEST)
    twin = cloudy.twin(tmp_path / "twin")
    twin.fleet.refuse = lambda machine, action, arguments: None
    twin.deploy(MANIFEST)
    assert content(twin.machine("web")) == shown(twin)
    nothing_to_do(twin, MANIFEST)
    twin.close()


def test_the_machine_learns_where_its_ephemeral_disk_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cloud made one: it is for /var/vcap/data, so the agent must know it from the first contact on."""
    made = world.cloud.create_vm
    monkeypatch.setattr(
        world.cloud, "create_vm", lambda request: dataclasses.replace(made(request), ephemeral_disk=DiskHint(path="/dev/sdb")))
    world.deploy(SMALL)
    assert {machine.settings["disks"]["ephemeral"]["path"] for machine in world.fleet.machines.values()} == {"/dev/sdb"}
