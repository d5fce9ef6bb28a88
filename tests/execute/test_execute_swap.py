"""create-swap-delete: the new machine is there before the old one goes. Source: planning contract, sections 15 and 21."""

from __future__ import annotations

import json

import pytest
from fakes import Machine, World
from small_world import CLOUD, MANIFEST

from cpis.fake import Fault
from director.errors import AgentError, CaissonError, CloudError, PlanError
from director.execute import access, cleanup, delete, states, upkeep
from director.execute.steps.orphan_vm import delete_orphaned_vms

SWAP = MANIFEST.replace("max_in_flight: 2", "max_in_flight: 2, vm_strategy: create-swap-delete")
# As SWAP, with automatic addresses everywhere.
AUTOMATIC = SWAP.replace("networks: [{name: default, static_ips: [10.0.0.10]}]", "networks: [{name: default}]")
OTHER = AUTOMATIC.replace("stemcell: default", "stemcell: default\n  env: {persistent_disk_fs: xfs}")


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy(AUTOMATIC)
    world.task += 1
    return world


def clean(world: World) -> int:
    return delete_orphaned_vms(world.context)


def events(world: World) -> list[tuple[str, str]]:
    found = world.store.events.select(task=str(world.task), limit=1000)
    return [(item.action, item.object_type) for item in reversed(found) if item.parent_id is None]


def test_the_new_machine_serves_with_the_disk_and_the_old_one_keeps_its_addresses_until_it_is_deleted(deployed: World) -> None:
    old, web = deployed.machine("db"), deployed.machine("web")
    disk = old.mounts["store"]
    before = {row.ip for row in deployed.store.addresses.of("app")}
    deployed.deploy(AUTOMATIC, recreate=True)
    new = deployed.machine("db")
    assert new.cid != old.cid
    assert new.running
    assert new.mounts == {"store": disk}
    assert deployed.fleet.contents[disk] == ["started", "started"]
    assert not old.running
    assert old.dead, "it was shut down"
    assert not web.running
    orphans = deployed.store.vms.orphans()
    assert {orphan.cid for orphan in orphans} == set(deployed.fleet.machines) - {
        deployed.machine(group, index).cid for group, index in (("db", 0), ("web", 0), ("web", 1))}
    assert {ip for orphan in orphans for ip in orphan.ips} == before, "addresses travel with the machines"
    assert {orphan.instance_name.partition("/")[0] for orphan in orphans} == {"db", "web"}
    assert deployed.leaks() == []
    assert clean(deployed) == 3
    assert len(deployed.fleet.machines) == 3
    assert not before & {row.ip for row in deployed.store.addresses.of("app")}, "and are free now"
    assert deployed.leaks() == []
    deployed.task += 1
    seen = len(deployed.fleet.calls)
    deployed.deploy(AUTOMATIC)
    assert {call.action for call in deployed.fleet.calls[seen:]} == {"get_state"}, "nothing is left to do"


def test_order_of_a_swap(deployed: World) -> None:
    """All new machines first, filled while the old ones serve; then, one after the other: stop, detach, swap, attach, start."""
    old = deployed.machine("db")
    deployed.log.steps.clear()
    seen = len(deployed.fleet.calls)
    deployed.deploy(AUTOMATIC, recreate=True)
    new = deployed.machine("db")
    stages = [step.partition(":")[0] for step in deployed.log.steps]
    assert list(dict.fromkeys(stages)) == [
        "Preparing deployment", "Preparing package compilation", "Creating missing vms", "Downloading packages", "Updating instance"]
    assert stages.count("Creating missing vms") == stages.count("Downloading packages") == 3
    calls = [(call.action, "old" if call.cid == old.cid else "new") for call in deployed.fleet.calls[seen:]
             if call.cid in (old.cid, new.cid)]
    wanted = [
        ("bootstrap", "new"), ("prepare", "new"), ("drain", "old"), ("stop", "old"), ("unmount_disk", "old"), ("shutdown", "old"),
        ("mount_disk", "new"), ("apply", "new"), ("start", "new")]
    assert [call for call in calls if call in wanted] == wanted
    assert ("start", "new") not in calls[:calls.index(("stop", "old"))], "no job runs on the new machine before"
    told = events(deployed)
    assert told.count(("create", "vm")) == told.count(("orphan", "vm")) == told.count(("recreate", "instance")) == 3
    assert ("delete", "vm") not in told


def test_a_group_with_static_addresses_is_deleted_first(world: World) -> None:
    """Row 32 of the planning contract's section 27."""
    world.deploy(SWAP)
    world.task += 1
    old = world.machine("db")
    world.deploy(SWAP, recreate=True)
    assert old.cid not in world.fleet.machines
    assert {orphan.instance_name.partition("/")[0] for orphan in world.store.vms.orphans()} == {"web"}
    assert world.machine("db").running
    assert world.leaks() == []


def test_no_spare_address_no_swap(world: World) -> None:
    """Row 33: both machines need addresses at the same time."""
    world.configure(CLOUD.replace("static: [10.0.0.10-10.0.0.19]", "reserved: [10.0.0.6-10.0.0.254]"))
    world.deploy(AUTOMATIC)
    world.task += 1
    with pytest.raises(PlanError, match=r"no more available") as caught:
        world.deploy(AUTOMATIC, recreate=True)
    assert caught.value.diagnostics[0].code == 130011
    assert all(machine.running for machine in world.fleet.machines.values())


def failing_stop(world: World) -> Machine:
    """Make the database's drain fail, once."""
    old = world.machine("db")

    def refuse(machine: Machine, action: str, arguments: object) -> None:
        if machine is old and action == "drain":
            raise AgentError("drain does not want to")

    world.fleet.refuse = refuse
    return old


def spares(world: World) -> dict[str, str]:
    names = {row.id: row.group for row in world.store.instances.of("app")}
    return {vm.cid: names[vm.instance_id or ""] for vm in world.store.vms.all() if not vm.active}


def test_machines_of_a_deploy_that_failed_are_used_by_the_next_one(deployed: World) -> None:
    failing_stop(deployed)
    with pytest.raises(AgentError):
        deployed.deploy(AUTOMATIC, recreate=True)
    left = spares(deployed)
    assert set(left.values()) == {"db", "web"}
    assert deployed.machine("db").running, "the old one still serves"
    deployed.fleet.refuse = lambda machine, action, arguments: None
    deployed.task += 1
    made = len(deployed.cloud.made)
    deployed.deploy(AUTOMATIC, recreate=True)
    assert len(deployed.cloud.made) == made, "no further machine was needed"
    assert deployed.machine("db").cid in left
    assert deployed.leaks() == []
    assert len(deployed.store.vms.orphans()) == 3


def test_machines_that_do_not_fit_any_more_are_orphaned_and_made_anew(deployed: World) -> None:
    failing_stop(deployed)
    with pytest.raises(AgentError):
        deployed.deploy(AUTOMATIC, recreate=True)
    left = spares(deployed)
    deployed.fleet.refuse = lambda machine, action, arguments: None
    deployed.task += 1
    deployed.deploy(OTHER)
    assert not set(left) & {deployed.machine(*one).cid for one in (("db", 0), ("web", 0), ("web", 1))}
    assert set(left) <= {orphan.cid for orphan in deployed.store.vms.orphans()}
    assert any("left by an interrupted create-swap-delete" in warning for warning in deployed.log.warnings)
    assert deployed.leaks() == []


def test_machines_that_nobody_needs_any_more_go_with_the_next_deploy(deployed: World) -> None:
    failing_stop(deployed)
    with pytest.raises(AgentError):
        deployed.deploy(AUTOMATIC, recreate=True)
    left = spares(deployed)
    running = {deployed.machine(*one).cid for one in (("db", 0), ("web", 0), ("web", 1))}
    deployed.fleet.refuse = lambda machine, action, arguments: None
    deployed.task += 1
    deployed.deploy(AUTOMATIC)
    assert {deployed.machine(*one).cid for one in (("db", 0), ("web", 0), ("web", 1))} == running
    assert spares(deployed) == {}
    assert {orphan.cid for orphan in deployed.store.vms.orphans()} == set(left)
    assert clean(deployed) == len(left)
    assert deployed.leaks() == []


def test_a_spare_machine_that_does_not_answer_is_replaced_by_one_with_its_addresses(deployed: World) -> None:
    failing_stop(deployed)
    with pytest.raises(AgentError):
        deployed.deploy(AUTOMATIC, recreate=True)
    cid = next(cid for cid, group in spares(deployed).items() if group == "db")
    address = deployed.store.vms.get(cid).ips
    deployed.fleet.machines[cid].dead = True
    deployed.fleet.refuse = lambda machine, action, arguments: None
    deployed.task += 1
    deployed.deploy(AUTOMATIC, recreate=True)
    assert cid not in deployed.fleet.machines
    row = deployed.store.vms.get(deployed.machine("db").cid)
    assert row.ips == address
    assert deployed.leaks() == []


def test_a_silent_machine_is_deleted_first(deployed: World) -> None:
    old = deployed.machine("db")
    old.deaf = True
    deployed.deploy(AUTOMATIC, fix=True)
    assert old.cid not in deployed.fleet.machines
    assert deployed.store.vms.orphans() == []
    assert deployed.leaks() == []


def test_with_fix_a_machine_that_cannot_be_stopped_goes_and_the_spare_one_takes_over(deployed: World) -> None:
    old = failing_stop(deployed)
    disk = old.mounts["store"]
    deployed.deploy(AUTOMATIC, recreate=True, fix=True)
    assert old.cid not in deployed.fleet.machines
    assert deployed.machine("db").mounts == {"store": disk}
    assert deployed.leaks() == []


def test_machines_of_deleted_instances_are_orphaned(deployed: World) -> None:
    doomed = deployed.machine("web", 1)
    deployed.deploy(AUTOMATIC.replace("instances: 2", "instances: 1"))
    assert [orphan.cid for orphan in deployed.store.vms.orphans()] == [doomed.cid]
    assert doomed.dead
    delete.delete_deployment(deployed.context, "app")
    assert len(deployed.store.vms.orphans()) == 3
    assert {row.deployment for row in deployed.store.vms.orphans()} == {"app"}
    assert clean(deployed) == 3
    assert deployed.fleet.machines == {}
    assert deployed.store.addresses.taken("") == []
    assert deployed.leaks() == []


def test_stop_hard_deletes_the_machine_and_keeps_the_addresses(deployed: World) -> None:
    held = {row.ip for row in deployed.store.addresses.of("app")}
    states.change_state(deployed.context, "app", states.StateRequest("detached", "db"))
    assert deployed.store.vms.orphans() == []
    assert {row.ip for row in deployed.store.addresses.of("app")} == held


def test_an_orphaned_machine_that_cannot_be_deleted_waits_for_the_next_clean_up(deployed: World) -> None:
    deployed.deploy(AUTOMATIC, recreate=True)
    deployed.cloud.faults = [Fault("delete_vm", "Denied", nth=deployed.cloud.calls.get("delete_vm", 0) + 1)]
    assert clean(deployed) == 2
    assert any("cannot be deleted" in warning for warning in deployed.log.warnings)
    assert clean(deployed) == 1
    assert deployed.leaks() == []


def test_clean_up_deletes_orphaned_machines_and_tells_how_many(deployed: World) -> None:
    deployed.deploy(AUTOMATIC, recreate=True)
    assert "0 orphaned disk(s), 3 orphaned vm(s)" in cleanup.clean_up(deployed.context)
    assert deployed.store.vms.orphans() == []
    assert deployed.leaks() == []


def test_disks_are_deleted_five_days_after_they_were_orphaned(deployed: World) -> None:
    deployed.deploy(AUTOMATIC.replace("persistent_disk_type: small", "persistent_disk_type: big"))
    (disk,) = deployed.store.disks.orphans()
    deployed.clock.now += 5 * 86400 - 60
    assert "Deleted 0 orphaned disk(s)" in upkeep.delete_old_disks(deployed.context)
    deployed.clock.now += 120
    assert "Deleted 1 orphaned disk(s)" in upkeep.delete_old_disks(deployed.context)
    assert disk.cid not in deployed.fleet.contents
    assert deployed.leaks() == []


def test_vms_lists_the_machines_that_stand_ready(deployed: World) -> None:
    failing_stop(deployed)
    with pytest.raises(AgentError):
        deployed.deploy(AUTOMATIC, recreate=True)
    deployed.log.results.clear()
    access.fetch_instances(deployed.context, "app", vms=True)
    rows = [json.loads(line) for line in deployed.log.results]
    assert len(rows) == 6
    assert [row["active"] for row in rows] == [True, False] * 3
    assert len({ip for row in rows for ip in row["ips"]}) == 6, "each with its own address"
    deployed.log.results.clear()
    access.fetch_instances(deployed.context, "app")
    assert [json.loads(line)["active"] for line in deployed.log.results] == [True] * 3


def test_an_address_of_an_orphaned_machine_is_refused_by_name(deployed: World) -> None:
    deployed.deploy(AUTOMATIC.replace("instances: 2", "instances: 1"))
    (orphan,) = deployed.store.vms.orphans()
    deployed.configure(CLOUD.replace("10.0.0.10-10.0.0.19", "10.0.0.2-10.0.0.19"))
    wanted = AUTOMATIC.replace("[{name: default}]", f"[{{name: default, static_ips: [{orphan.ips[0]}]}}]", 1)
    with pytest.raises(CaissonError, match="already reserved by orphaned instance 'web/"):
        deployed.deploy(wanted)


def test_a_new_machine_that_cannot_be_made_leaves_the_old_ones_running(deployed: World) -> None:
    running = set(deployed.fleet.machines)
    deployed.cloud.faults = [Fault("create_vm", "Quota", nth=deployed.cloud.calls["create_vm"] + 2)]
    with pytest.raises(CloudError):
        deployed.deploy(AUTOMATIC, recreate=True)
    assert all(deployed.fleet.machines[cid].running for cid in running)
    assert deployed.leaks() == []


def test_machines_that_compiled_are_orphaned_where_that_is_wanted(world: World) -> None:
    world.configure(CLOUD.replace("reuse_compilation_vms: true", "reuse_compilation_vms: true, orphan_workers: true"))
    world.deploy(AUTOMATIC)
    orphans = world.store.vms.orphans()
    assert orphans
    assert all(orphan.instance_name.startswith("compilation/") and orphan.ips for orphan in orphans)
    assert clean(world) == len(orphans)
    assert world.leaks() == []
    assert {row.purpose for row in world.store.addresses.of("app")} == {""}
