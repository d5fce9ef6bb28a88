"""The director dies after any effect, on its database, the cloud or a machine; a new one runs the same task again and ends it.

Every operation runs once; after each of its effects a twin is kept, which is what a kill -9 in that moment would leave. Each twin then
does the operation from the start, as the queue does with the task of a dead director.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import World
from small_world import MANIFEST

from director.execute import delete, states
from director.execute.steps.orphan_vm import delete_orphaned_vms

FEWER = MANIFEST.replace("instances: 2", "instances: 1")
BIGGER = FEWER.replace("persistent_disk_type: small", "persistent_disk_type: big")
OTHER = MANIFEST.replace("greeting: hello", "greeting: bye")
pytestmark = pytest.mark.walk

# Machines take the place of others; orphaned ones are cleaned up in the end.
SWAP = FEWER.replace("networks: [{name: default, static_ips: [10.0.0.10]}]", "networks: [{name: default}]").replace(
    "max_in_flight: 2", "max_in_flight: 2, vm_strategy: create-swap-delete")
# Of commits that are about no effect one in so many is taken, since each costs a tenth of a second; 1 takes all.
PLAIN = int(os.environ.get("CRASH_AFTER_EVERY", "8"))


@dataclasses.dataclass(frozen=True)
class Case:
    """An operation on a deployment (`start` is what was deployed before), how many VMs and disks it makes in the cloud (not counted when
    it compiles too), and what is so afterwards."""

    act: Callable[[World], Any]
    after: Callable[[World], None]
    vms: int = 0
    disks: int = 0
    start: str = MANIFEST
    compiling: bool = False


def runs(*groups: tuple[str, int]) -> Callable[[World], None]:
    """All instances run, and exactly these machines are there."""
    def after(world: World) -> None:
        machines = [world.machine(group, index) for group, count in groups for index in range(count)]
        assert all(machine.running and machine.supervised == (group_of(machine.spec),) for machine in machines)
        assert len(world.fleet.machines) == len(machines)
        assert set(world.machine("db").mounts) == {"store"}
    return after


def group_of(spec: dict[str, Any]) -> str:
    return str(spec["name"])


def state(request: str, group: str, index: str = "") -> Callable[[World], Any]:
    return lambda world: states.change_state(world.context, "app", states.StateRequest(request, group, index))


def grown(world: World) -> None:
    runs(("db", 1), ("web", 1))(world)
    cid = world.machine("db").mounts["store"]
    row = world.store.disks.get(cid)
    assert row.active
    assert row.size_mib == 128
    assert world.fleet.contents[cid][0] == "started", "what was on the old disk is on the new one"
    assert [disk.size_mib for disk in world.store.disks.orphans()] == [64]


def detached(world: World) -> None:
    assert len(world.fleet.machines) == 2
    assert world.store.disks.of("app")[0].active


def gone(world: World) -> None:
    assert world.fleet.machines == {}
    assert world.store.deployments.all() == []
    assert [disk.orphan_deployment for disk in world.store.disks.all()] == ["app"]
    assert world.store.addresses.taken("") == []


def swap(world: World) -> None:
    world.deploy(SWAP, recreate=True)
    delete_orphaned_vms(world.context)


def undeploy(world: World) -> None:
    delete.delete_deployment(world.context, "app")
    delete_orphaned_vms(world.context)


CASES = {
    "first deploy": Case(lambda world: world.deploy(FEWER), runs(("db", 1), ("web", 1)), 2, 1, start="", compiling=True),
    "update in place": Case(lambda world: world.deploy(OTHER), runs(("db", 1), ("web", 2))),
    "recreate all": Case(lambda world: world.deploy(FEWER, recreate=True), runs(("db", 1), ("web", 1)), 2, start=FEWER),
    "recreate one": Case(state("recreate", "web", "1"), runs(("db", 1), ("web", 2)), 1),
    "new disk": Case(lambda world: world.deploy(FEWER, recreate_persistent_disks=True), runs(("db", 1), ("web", 1)), 0, 1, start=FEWER),
    "bigger disk": Case(lambda world: world.deploy(BIGGER), grown, 0, 1, start=FEWER),
    "scale down": Case(lambda world: world.deploy(FEWER), runs(("db", 1), ("web", 1))),
    "stop hard": Case(state("detached", "db"), detached),
    "restart": Case(state("restart", "web"), runs(("db", 1), ("web", 2))),
    "create, swap, delete": Case(swap, runs(("db", 1), ("web", 1)), 2, start=SWAP),
    "delete what is orphaned": Case(undeploy, gone, start=SWAP),
    "delete": Case(lambda world: delete.delete_deployment(world.context, "app"), gone),
}


@pytest.mark.parametrize("name", CASES)
def test_a_director_that_died_anywhere_is_taken_over(name: str, world: World, tmp_path: Path) -> None:
    case = CASES[name]
    if case.start:
        world.deploy(case.start)
    before = len(world.cloud.made)
    world.task += 1
    twins: list[tuple[str, World]] = []
    seen, plain = world.dump(), 0

    def keep(effect: str) -> None:
        nonlocal seen, plain
        found = world.dump()
        if found == seen:
            return
        is_plain = effect == "commit" and found["journal"] == seen["journal"]
        seen, plain = found, plain + is_plain
        if not is_plain or plain % PLAIN == 0:
            twins.append((effect, world.twin(tmp_path / f"twin-{len(twins)}")))

    world.effect = keep
    case.act(world)
    world.effect = lambda effect: None
    assert len(twins) > 5
    check(case, world, before, settled=case.after is not gone)
    problems = []
    for number, (effect, twin) in enumerate(twins):
        try:
            case.act(twin)
            check(case, twin, before, settled=number % 8 == 0 and case.after is not gone)
        except Exception as error:
            problems.append(f"{number} (after {effect}, {after_what(twins, number)}): {type(error).__name__}: {error}"[:600])
        finally:
            twin.close()
    assert problems == []


def check(case: Case, world: World, before: int, *, settled: bool) -> None:
    case.after(world)
    if settled:
        seen = len(world.fleet.calls)
        world.task += 1
        world.deploy(world.store.deployments.get("app").manifest or "")
        assert {call.action for call in world.fleet.calls[seen:]} <= {"get_state"}, "all is as it should be: nothing is left to do"
    assert world.leaks() == []
    made = [kind for kind, _ in world.cloud.made[before:]]
    if not case.compiling:
        assert made.count("vm") == case.vms
    assert made.count("disk") == case.disks
    tokens = [token for _, token in world.cloud.made]
    assert len(tokens) == len(set(tokens))


def after_what(twins: list[tuple[str, World]], number: int) -> str:
    """The calls on the way there."""
    calls = twins[number][1].fleet.calls[-3:]
    return ", ".join(f"{call.action} {call.detail}".strip() for call in calls)
