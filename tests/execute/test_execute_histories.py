"""Random histories: whatever is changed and whatever fails, never are more instances down than `max_in_flight` allows, no address is held
twice, nothing is lost, and in the end all is as the manifest says."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from fakes import Machine, World
from small_world import CLOUD, MANIFEST

from director.errors import AgentError, CaissonError
from director.execute.prepare import Wanted, prepare
from director.execute.steps.orphan_vm import delete_orphaned_vms
from director.plan.model import Action, Options

pytestmark = pytest.mark.walk

# More are worth it after changes of the executor: HISTORIES=50.
SEEDS = range(int(os.environ.get("HISTORIES", "4")))
STEPS = 6
FRAGILE = ("drain", "stop", "apply", "start", "prepare", "unmount_disk", "mount_disk", "run_script")


class Watch:
    """Looks at every effect which instances of those that ran at the beginning are down, by group and AZ."""

    def __init__(self, world: World, limits: dict[tuple[str, str], int], doomed: set[str]) -> None:
        self._world, self._limits = world, limits
        self._places = {
            machine.spec["id"]: (machine.spec["name"], machine.spec["az"]) for machine in world.fleet.machines.values()
            if machine.running and machine.spec.get("id") not in doomed}
        self.most: Counter[tuple[str, str]] = Counter()
        self.broken: list[str] = []
        world.effect = self.look

    def look(self, effect: str) -> None:
        up = {machine.spec.get("id") for machine in self._world.fleet.machines.values() if machine.running}
        down = Counter(place for identity, place in self._places.items() if identity not in up)
        for place, count in down.items():
            self.most[place] = max(self.most[place], count)
            if count > self._limits.get(place, 0):
                self.broken.append(f"{count} of {place} are down after {effect}, {self._limits.get(place, 0)} may be")
        groups = {group for group, _ in down}
        if len(groups) > 1:
            self.broken.append(f"serial groups {sorted(groups)} are down at the same time, after {effect}")


def manifests(dice: random.Random) -> Iterator[str]:
    """Each differs from the one before in a few things."""
    tree: dict[str, Any] = yaml.safe_load(MANIFEST)
    tree["variables"] = []
    db, web = tree["instance_groups"]
    db["jobs"][0]["properties"] = {}
    db["networks"] = [{"name": "default"}]
    changes: dict[str, Callable[[], object]] = {
        "greeting": lambda: web["jobs"][0]["properties"].update(greeting=f"hello {dice.randrange(100)}"),
        "size": lambda: web.update(instances=dice.randrange(2, 7)),
        "machine": lambda: web.update(env={"number": dice.randrange(100)}),
        "disk": lambda: db.update(persistent_disk_type=dice.choice(["small", "big"])),
        "strategy": lambda: tree["update"].update(vm_strategy=dice.choice(["delete-create", "create-swap-delete"])),
        "speed": lambda: tree["update"].update(
            max_in_flight=dice.choice([1, 2, 3, "50%", "100%"]), canaries=dice.choice([0, 1, 2, "50%"])),
    }
    changes["size"]()
    while True:
        for name in dice.sample(sorted(changes), dice.randrange(1, 4)):
            changes[name]()
        yield yaml.safe_dump(tree)


def limits_of(world: World, text: str, recreate: bool) -> tuple[dict[tuple[str, str], int], set[str]]:
    """By group and AZ how many may be down, out of the plan; and what is deleted."""
    plan = prepare(world.context, Wanted(text, Options(recreate=recreate, fix=True)), write=False).plan
    limits: dict[tuple[str, str], int] = {}
    for run in plan.runs:
        for group in run:
            for wave in group.waves:
                limits[wave.group, wave.az] = max(limits.get((wave.group, wave.az), 0), wave.parallel)
    return limits, {change.id for change in plan.changes if change.action is Action.DELETE}


def faults(dice: random.Random) -> Callable[[Machine, str, dict[str, Any]], None]:
    """One thing fails, at a random place; starting takes a moment, so that others are down meanwhile if they may."""
    left = dice.randrange(1, 40) if dice.random() < 0.6 else 0
    lock = threading.Lock()

    def refuse(machine: Machine, action: str, arguments: dict[str, Any]) -> None:
        nonlocal left
        if action == "start":
            time.sleep(0.003)
        if action in FRAGILE and left:
            with lock:
                left -= 1
                broken = left == 0
            if broken:
                raise AgentError(f"{action} fails here")

    return refuse


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_history(seed: int, world: World) -> None:
    dice = random.Random(seed)
    world.configure(CLOUD)
    most = 0
    history = manifests(dice)
    for _ in range(STEPS):
        text, recreate = next(history), dice.random() < 0.3
        limits, doomed = limits_of(world, text, recreate)
        world.fleet.refuse = faults(dice)
        watch = Watch(world, limits, doomed)
        with contextlib.suppress(CaissonError):
            world.deploy(text, recreate=recreate, fix=True)
        world.effect = lambda effect: None
        assert watch.broken == []
        most = max([most, *watch.most.values()])
        held = [row.ip for row in world.store.addresses.of("app")]
        assert len(held) == len(set(held))
        assert world.leaks() == []
        world.task += 1
        if dice.random() < 0.5:
            delete_orphaned_vms(world.context)
    world.fleet.refuse = lambda machine, action, arguments: None
    world.deploy(text, fix=True)
    world.task += 1
    delete_orphaned_vms(world.context)
    assert all(machine.running for machine in world.fleet.machines.values())
    assert len(world.fleet.machines) == len(world.store.instances.of("app"))
    assert {row.ip for row in world.store.addresses.of("app")} == {ip for vm in world.store.vms.all() for ip in vm.ips}
    seen = len(world.fleet.calls)
    world.deploy(text)
    assert {call.action for call in world.fleet.calls[seen:]} == {"get_state"}
    assert most, "something was down at some time"
