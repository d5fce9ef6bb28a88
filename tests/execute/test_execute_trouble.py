"""Machines, clouds and jobs that do not do as they should: what is told, what is left, what --fix does."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from fakes import Machine, World
from small_world import MANIFEST, RELEASE

from cpis import contract
from cpis.fake import Fault
from director.errors import AgentError, CaissonError, CloudError, HostKeyChanged, MachineError, PlanError, ScriptFailed
from director.execute import delete

OTHER = MANIFEST.replace("greeting: hello", "greeting: bye").replace("password: ((password))", "password: other")


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy(MANIFEST)
    world.task += 1
    return world


def test_a_first_deploy_that_fails_before_anything_is_made_leaves_nothing(world: World) -> None:
    world.upload({**RELEASE, "src/lib.txt": "never compiles\n"}, "2")
    with pytest.raises(ScriptFailed) as caught:
        world.deploy(MANIFEST)
    assert "packages/lib/packaging" in str(caught.value)
    assert "logs" not in caught.value.diagnostics[0].suggestion, "the machine and its logs are gone"
    assert world.store.deployments.all() == []
    assert world.store.addresses.taken("") == []
    assert world.fleet.machines == {}
    assert world.leaks() == []


def test_a_silent_machine_ends_a_deploy_and_nothing_is_changed(deployed: World) -> None:
    deployed.machine("db").deaf = True
    before = deployed.machine("web").spec
    with pytest.raises(PlanError) as caught:
        deployed.deploy(OTHER)
    said = str(caught.value)
    assert "the agent does not respond" in said
    assert "cannot be reached at 10.0.0.10" in said, "and why"
    assert "--fix" in said
    assert deployed.machine("web").spec == before


@pytest.mark.parametrize("how", ["deaf", "dead"])
def test_fix_replaces_a_silent_machine_and_keeps_its_disk(deployed: World, how: str) -> None:
    old = deployed.machine("db")
    setattr(old, how, True)
    disk = old.mounts["store"]
    deployed.deploy(MANIFEST, fix=True)
    new = deployed.machine("db")
    assert new.cid != old.cid
    assert new.mounts == {"store": disk}
    assert deployed.fleet.contents[disk] == ["started", "started"]
    assert deployed.leaks() == []


def test_fix_replaces_a_machine_that_shows_another_host_key(deployed: World) -> None:
    old = deployed.machine("web")

    def other_key(machine: Machine, action: str, arguments: dict[str, Any]) -> None:
        if machine is old:
            raise HostKeyChanged("shows another host key than the one recorded for it")

    deployed.fleet.refuse = other_key
    with pytest.raises(PlanError, match="shows another host key"):
        deployed.deploy(OTHER)
    deployed.deploy(OTHER, fix=True)
    assert deployed.machine("web").cid != old.cid
    assert deployed.leaks() == []


def test_a_cloud_that_takes_no_login_is_met_with_the_images_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPIs of BOSH do: the first key that the machine shows is recorded, and replaced at once by one that only we know."""
    create = world.cloud.create_vm

    def with_a_key_of_its_own(request: contract.VmRequest) -> contract.Vm:
        made = create(request)
        world.fleet.machines[made.cid].host_key = "ssh-ed25519 of-the-image"
        return dataclasses.replace(made, ssh_user="ubuntu", host_key_known=False)

    monkeypatch.setattr(world.cloud, "create_vm", with_a_key_of_its_own)
    world.deploy(MANIFEST)
    for vm in world.store.vms.all():
        assert vm.ssh_user == "ubuntu"
        assert vm.host_public_key == world.fleet.machines[vm.cid].host_key != "ssh-ed25519 of-the-image"
    world.machine("web").host_key = "ssh-ed25519 of-somebody"
    world.task += 1
    with pytest.raises(AssertionError, match="a key that nobody pinned"):
        world.deploy(OTHER)


def test_fix_recreates_a_machine_that_cannot_be_stopped(deployed: World) -> None:
    """Its disk is full, for example: nothing works on it any more, and that must not keep it for ever."""
    old = deployed.machine("web")

    def full(machine: Machine, action: str, arguments: dict[str, Any]) -> None:
        if machine is old and action == "drain":
            raise AgentError("No space left on the machine's disk")

    deployed.fleet.refuse = full
    with pytest.raises(AgentError):
        deployed.deploy(MANIFEST, recreate=True)
    deployed.task += 1
    deployed.deploy(MANIFEST, recreate=True, fix=True)
    assert deployed.machine("web").cid != old.cid
    assert any("No space left" in warning and "--fix" in warning for warning in deployed.log.warnings)
    assert deployed.leaks() == []


def test_a_deployment_with_silent_machines_can_be_deleted(deployed: World) -> None:
    deployed.machine("db").deaf = True
    deployed.machine("web").dead = True
    delete.delete_deployment(deployed.context, "app")
    assert deployed.fleet.machines == {}
    assert deployed.leaks() == []


def test_a_failing_canary_stops_the_rest(deployed: World) -> None:
    deployed.fleet.sick.add("web")
    other = deployed.machine("web", 1)
    before = other.spec
    with pytest.raises(MachineError) as caught:
        deployed.deploy(OTHER)
    assert "is not running after update. Review logs for failed jobs: web" in str(caught.value)
    assert "the last words of web" in str(caught.value)
    assert other.spec == before
    deployed.fleet.sick.clear()
    deployed.deploy(OTHER)
    assert other.spec != before


def test_a_cloud_that_is_full_is_told_and_what_was_made_is_taken_up(world: World) -> None:
    world.cloud._limits["vms"] = 2
    with pytest.raises(CloudError, match=r"Creating VM for .*quota of vms is used up"):
        world.deploy(MANIFEST)
    assert world.leaks() == []
    made = set(world.fleet.machines)
    assert made, "what could be made stays for the next try"
    world.cloud._limits.clear()
    world.deploy(MANIFEST)
    assert made <= set(world.fleet.machines)
    assert world.leaks() == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["create_vm", "delete_vm", "create_disk", "attach_disk"])
def test_answers_of_a_cloud_that_are_lost_are_asked_for_again(world: World, method: str, when: str) -> None:
    world.cloud.faults = [Fault(method, "Unavailable", nth=1, times=3, when=when)]
    world.deploy(MANIFEST)
    assert len(world.fleet.machines) == 3
    assert world.leaks() == []
    tokens = [token for _, token in world.cloud.made]
    assert len(tokens) == len(set(tokens))


def test_a_cloud_that_stays_away_leaves_its_effect_open_for_the_next_try(deployed: World) -> None:
    """The answer to a creation is lost for good: the machine may be there, so the next task looks and finds it."""
    deployed.cloud.faults = [Fault("create_vm", "Unavailable", nth=deployed.cloud.calls["create_vm"] + 1, times=5, when="after")]
    with pytest.raises(CaissonError):
        deployed.deploy(MANIFEST.replace("instances: 2", "instances: 3"))
    assert len(deployed.fleet.machines) == 4
    assert [line for line in deployed.leaks() if "is open" in line]
    deployed.cloud.faults = []
    deployed.task += 1
    deployed.deploy(MANIFEST.replace("instances: 2", "instances: 3"))
    assert len(deployed.fleet.machines) == 4
    assert deployed.leaks() == []


def test_a_job_that_runs_for_a_moment_only_is_no_job_that_runs(deployed: World) -> None:
    """Each look at it finds it in another state: a crash loop."""
    looks = 0

    def flicker(machine: Machine, action: str, arguments: dict[str, Any]) -> None:
        nonlocal looks
        if action == "get_state" and machine is deployed.machine("web"):
            looks += 1
            (deployed.fleet.sick.add if looks % 2 else deployed.fleet.sick.discard)("web")

    deployed.fleet.refuse = flicker
    with pytest.raises(MachineError, match="is not running after update"):
        deployed.deploy(OTHER.replace("0-1000", "0-1900"))
