"""DNS records as the director gives them out: when, to whom, what it waits for, and what it says of those who lag.

Source: planning contract, sections 1, 9 and 16; DNS contract, section 1; issue 5, point 4.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from fakes import Machine, World
from small_world import MANIFEST

from director.errors import AgentError
from director.execute import dns, dns_status, errands
from director.guest.dns.peers.keys import pair
from director.tasks.schedule import CHORES

ERRAND = """
- name: check
  lifecycle: errand
  instances: 1
  azs: [z1]
  vm_type: small
  stemcell: default
  networks: [{name: default}]
  jobs: [{name: db, release: rel, provides: {db: nil}}]
"""


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy(MANIFEST)
    world.fleet.calls.clear()
    return world


def named(machine: Machine) -> set[str]:
    """Agents that the machine's records name."""
    return {row[11] for row in json.loads(machine.records)["record_infos"]}


def context(world: World) -> Any:
    return world.context


def agent_ids(world: World) -> dict[str, str]:
    return {vm.cid: vm.agent_id for vm in world.store.vms.all()}


def test_all_machines_have_the_newest_version_after_a_deploy(deployed: World) -> None:
    found = dns_status.standing(deployed.store)
    assert (found.current, found.behind) == (found.machines, ())
    assert found.machines == len(deployed.fleet.machines)
    assert {machine.dns_version for machine in deployed.fleet.machines.values()} == {found.version}


def test_every_pair_of_machines_shares_a_key(deployed: World) -> None:
    ids = agent_ids(deployed)
    for one in deployed.fleet.machines.values():
        for other in deployed.fleet.machines.values():
            if one is not other:
                assert one.ring["peers"][ids[other.cid]] == pair(bytes.fromhex(other.ring["speaker"]), ids[one.cid]).hex()


def test_an_instance_that_goes_is_unknown_to_the_others_before_it_is_drained(deployed: World) -> None:
    gone = deployed.machine("web", 1)
    agent = agent_ids(deployed)[gone.cid]
    others = [machine for machine in deployed.fleet.machines.values() if machine is not gone]
    assert all(agent in named(machine) for machine in others)
    told: list[set[str]] = []

    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if machine is gone and action == "drain":
            told.extend(named(other) for other in others)

    deployed.fleet.refuse = refuse
    deployed.deploy(MANIFEST.replace("instances: 2", "instances: 1"))
    assert len(told) == 2
    assert all(agent not in names for names in told)


def test_machines_of_an_errand_are_unknown_to_the_others_before_they_go(deployed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed.task += 1
    deployed.deploy(MANIFEST + ERRAND)
    seen: list[tuple[bool, bool]] = []
    agents: set[str] = set()

    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if action == "run_errand":
            agents.add(agent_ids(deployed)[machine.cid])

    delete = errands.delete_vm

    def deleting(ctx: Any, vm: Any) -> None:
        db = deployed.machine("db")
        seen.append((vm.agent_id in agents, vm.agent_id in named(db)))
        delete(ctx, vm)

    monkeypatch.setattr(errands, "delete_vm", deleting)
    deployed.fleet.refuse = refuse
    deployed.task += 1
    assert errands.run_errand(context(deployed), "app", errands.ErrandRequest("check")) == "1 succeeded, 0 errored, 0 canceled"
    assert seen == [(True, False)], "it ran on the machine that went, and by then nobody was told of it"


def test_an_errand_that_is_kept_alive_is_found_again(deployed: World) -> None:
    """Also when an earlier director had withdrawn it, and died before it deleted the machine."""
    deployed.task += 1
    deployed.deploy(MANIFEST + ERRAND)
    deployed.task += 1
    kept = errands.ErrandRequest("check", keep_alive=True)
    errands.run_errand(context(deployed), "app", kept)
    agent = agent_ids(deployed)[deployed.machine("check").cid]
    assert agent in named(deployed.machine("db"))
    dns.withdraw(context(deployed), [deployed.store.instances.at("app", "check", 0).id])
    assert agent not in named(deployed.machine("db"))
    deployed.task += 1
    errands.run_errand(context(deployed), "app", kept)
    assert agent in named(deployed.machine("db"))


def test_a_deletion_that_failed_leaves_the_instance_to_be_found_again(deployed: World) -> None:
    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if action == "drain":
            raise AgentError("drain failed")

    deployed.fleet.refuse = refuse
    with pytest.raises(AgentError):
        deployed.deploy(MANIFEST.replace("instances: 2", "instances: 1"))
    stays = deployed.machine("web", 1)
    agent = agent_ids(deployed)[stays.cid]
    assert agent not in named(deployed.machine("db"))
    deployed.fleet.refuse = lambda machine, action, arguments: None
    deployed.deploy(MANIFEST)
    assert agent in named(deployed.machine("db"))


def test_a_new_machine_of_an_instance_is_known_before_its_jobs_start(deployed: World) -> None:
    before = agent_ids(deployed)
    told: list[bool] = []

    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if action == "start":
            told.append(agent_ids(deployed)[machine.cid] in named(deployed.machine("db")))

    deployed.fleet.refuse = refuse
    deployed.task += 1
    deployed.deploy(MANIFEST, recreate=True)
    assert not set(before.values()) & set(agent_ids(deployed).values())
    assert told
    assert all(told)


def test_who_lags_is_named_and_the_rest_goes_on(deployed: World) -> None:
    web = deployed.machine("web")
    others = [machine for machine in deployed.fleet.machines.values() if machine is not web]

    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if machine is others[0] and action == "sync_names":
            raise AgentError("the disk is full")

    deployed.fleet.refuse = refuse
    ctx = context(deployed)
    row = deployed.store.instances.at("app", "web", 0)
    dns.withdraw(ctx, [row.id])
    found = dns_status.standing(deployed.store)
    late = [item for item in found.behind if item.instance != row.name]
    assert len(late) == 1
    assert late[0].version < found.version
    assert late[0].since is not None
    dns.take_back(ctx, "app")
    deployed.fleet.refuse = lambda machine, action, arguments: None
    dns.publish(ctx)
    assert dns_status.standing(deployed.store).behind == ()
    assert agent_ids(deployed)[web.cid] in named(others[0])


def test_catching_up_is_due_only_when_there_is_hope(deployed: World) -> None:
    chore = next(chore for chore in CHORES if chore.kind == "sync_dns")
    assert not chore.due(deployed.store)
    machine = deployed.machine("web")
    row = deployed.store.instances.at("app", "web", 0)
    deployed.store.dns.forget_acknowledgement(row.id)
    machine.records, machine.dns_version = "", 0
    assert chore.due(deployed.store)
    deployed.store.tasks.add("scheduled_dns_catch_up", "give DNS records to machines that are behind", user="scheduler")
    assert not chore.due(deployed.store), "it was tried for this version a moment ago"
    text = dns.catch_up(context(deployed))
    assert "1 machine(s) caught up, 0 behind" in text
    assert machine.dns_version == dns_status.standing(deployed.store).version


def test_a_machine_that_has_the_base_gets_a_delta_and_one_that_lost_it_the_whole(deployed: World) -> None:
    seen: list[bool] = []
    web = deployed.machine("web")

    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if machine is web and action == "sync_names":
            seen.append("records" in arguments)

    deployed.fleet.refuse = refuse
    ctx = context(deployed)
    ids = [row.id for row in deployed.store.instances.all() if row.group != "web"] or [deployed.store.instances.all()[0].id]
    dns.withdraw(ctx, ids)
    dns.take_back(ctx, "app")
    web.records = ""
    dns.publish(ctx)
    assert seen == [False, False, True]


def test_those_who_wait_for_their_turn_make_one_version_together(deployed: World) -> None:
    ctx = context(deployed)
    publishing = ctx.director.publishing
    made: list[int] = []
    with publishing.lock:
        threads = [threading.Thread(target=lambda: made.append(dns.publish(ctx))) for _ in range(4)]
        for thread in threads:
            thread.start()
        before = publishing.begun
        threading.Event().wait(0.3)
    for thread in threads:
        thread.join(20)
    assert len(made) == 4
    assert publishing.begun == before + 1


def test_a_director_restored_from_an_old_copy_goes_on_behind_what_machines_have(deployed: World) -> None:
    """They would take nothing older, and be right."""
    for machine in deployed.fleet.machines.values():
        machine.dns_version = 500
    ctx = context(deployed)
    row = deployed.store.instances.at("app", "web", 1)
    gone = deployed.machine("web", 1)
    dns.withdraw(ctx, [row.id])
    others = [machine for machine in deployed.fleet.machines.values() if machine is not gone]
    assert {machine.dns_version for machine in others} == {501}
    assert all(agent_ids(deployed)[gone.cid] not in named(machine) for machine in others)
    assert dns.publish(ctx) == 501
    dns.take_back(ctx, "app")
    assert dns.publish(ctx) == 502
