"""A CA is rotated over three deploys of two deployments: at every moment everybody trusts everybody, and nobody may hurry."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trust
from fakes import World
from variables_world import RELEASE, manifest, on

from director.errors import CaissonError, ConflictError
from director.execute import delete, rotate, states

pytestmark = pytest.mark.walk

ROOT = "/test/app/root"
NAME = "leaf.internal"
VARIABLES = [
    {"name": "leaf", "type": "certificate", "options": {"ca": "middle", "common_name": "leaf", "alternative_names": [NAME]}},
    {"name": "middle", "type": "certificate", "options": {"ca": "root", "is_ca": True, "common_name": "middle"}},
    {"name": "root", "type": "certificate", "options": {"is_ca": True, "common_name": "root", "duration": 3650}},
    {"name": "password", "type": "password"},
]
VALUES = {"certificate": "((leaf.certificate))", "chain": "((middle.certificate))", "ca": "((leaf.ca))", "root": "((root.certificate))"}
APP = manifest(VARIABLES, VALUES, instances=2)
# Another deployment has its own leaf, signed with the same root, and trusts the root as it stands in the other's namespace.
OTHER = manifest(
    [{"name": "theirs", "type": "certificate", "options": {"ca": ROOT, "common_name": "theirs", "alternative_names": [NAME]}}],
    {"certificate": "((theirs.certificate))", "chain": "", "ca": "((theirs.ca))", "root": f"(({ROOT}.ca))"}, name="other", instances=1)

accepts = functools.cache(trust.accepts)


class Watch:
    """Looks at all machines after each thing that is done to one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moments: set[tuple[int, ...]] = set()
        # Later than the clock of the certificates that are yet to be made, for all moments the same.
        self.time = world.vault.now() + 3600
        world.effect = self.look

    def look(self, name: str) -> None:
        if name in ("apply", "start", "run_script"):
            machines = list(self.machines())
            self.moments.add(tuple(hash(str(sorted(shown.items()))) for _, shown in machines))
            for (one, client), (two, server) in itertools.product(machines, machines):
                assert self.trusts(client, server, alike=one == two), f"at {name}: {one} does not trust {two}"

    def trusts(self, client: dict[str, str], server: dict[str, str], *, alike: bool) -> bool:
        """Those of one deployment know its whole chain: the server need not show it."""
        whole = server["certificate"] + server["chain"]
        return all((
            accepts(client["ca"], server["certificate"] if alike else whole, NAME, self.time),
            accepts(client["root"], whole, NAME, self.time)))

    def machines(self) -> Iterator[tuple[str, dict[str, str]]]:
        for name in ("app", "other"):
            if self.world.store.deployments.find(name):
                yield from ((name, shown) for shown in on(self.world, name) if shown)


@pytest.fixture
def world(world: World) -> World:
    world.upload(RELEASE)
    return world


def step(world: World, *names: str, **flags: bool) -> dict[str, Any]:
    """What is told of the task, and of its first step."""
    ctx = world.context
    rotate.rotate(ctx, names or (ROOT,), **flags)
    told: dict[str, Any] = json.loads(ctx.log.results.pop())  # type: ignore[attr-defined]
    return {**told, **told["steps"][0]}


def refused(world: World, **flags: bool) -> list[str]:
    """Who is named when a step must wait."""
    with pytest.raises(ConflictError, match="must wait") as caught:
        step(world, **flags)
    return [line.partition(" is at ")[0] for line in caught.value.diagnostics[0].detail.splitlines() if " is at stage " in line]


def label(world: World, index: int) -> str:
    return f"app: {world.store.instances.at('app', 'web', index).label}"


def leaves(world: World) -> set[str]:
    return {shown["certificate"] for name in ("app", "other") for shown in on(world, name) if shown}


def test_three_deploys(world: World) -> None:
    watch = Watch(world)
    world.deploy(APP)
    world.deploy(OTHER)
    old = leaves(world)
    for stage in (1, 2, 3):
        told = step(world)
        assert (told["before"], told["after"], told["deployments"]) == (stage - 1, stage, ["app", "other"])
        row = world.store.rotations.find(ROOT)
        assert row is not None
        assert row.stage == stage
        assert refused(world) == ["deployment 'app'", "deployment 'other'"]
        world.deploy(OTHER)
        assert refused(world) == ["deployment 'app'"], "after the last step another rotation must wait too"
        world.deploy(APP)
        assert len(leaves(world) & old) == (2 if stage == 1 else 0)
    assert world.store.rotations.all() == [], "when all machines have the last step it is over"
    assert len(watch.moments) > 10
    last = [shown for _, shown in watch.machines()]
    assert all(shown["root"].count("BEGIN CERTIFICATE") == 1 for shown in last)
    assert len(world.store.variables.all()) == 5, "no version of the way is left"


def test_nobody_is_forgotten(world: World) -> None:
    """Ignored ones, those whose update failed, and those in between are waited for, by name."""
    Watch(world)
    world.deploy(APP)
    world.store.instances.update(world.store.instances.at("app", "web", 1).id, ignored=True)
    step(world)
    world.deploy(APP)
    assert refused(world) == [label(world, 1)]
    with pytest.raises(ConflictError) as caught:
        step(world)
    assert "it is ignored" in caught.value.diagnostics[0].detail
    world.store.instances.update(world.store.instances.at("app", "web", 1).id, ignored=False)
    world.fleet.sick.add("show")
    with pytest.raises(CaissonError):
        world.deploy(APP)
    assert refused(world) == [label(world, 1)]
    world.fleet.sick.clear()
    world.deploy(APP)
    assert step(world)["after"] == 2


def test_a_machine_that_is_made_again_in_between_fits_in(world: World) -> None:
    Watch(world)
    world.deploy(APP)
    world.deploy(OTHER)
    for _ in range(3):
        step(world)
        for name in ("app", "other"):
            states.change_state(world.context, name, states.StateRequest("recreate"))
        world.deploy(APP)
        states.change_state(world.context, "app", states.StateRequest("recreate", "web", "0", converge=False))
        world.deploy(OTHER)


def test_a_deploy_that_fails_half_way_at_each_step(world: World) -> None:
    Watch(world)
    world.deploy(APP)
    for stage in (1, 2, 3):
        step(world)
        world.fleet.sick.add("show")
        with pytest.raises(CaissonError):
            world.deploy(APP)
        world.fleet.sick.clear()
        if stage < 3:
            assert refused(world) == ["deployment 'app'", label(world, 0)]
            with pytest.raises(ConflictError) as caught:
                step(world)
            assert f"{label(world, 0)} is at stage {stage - 1}: its last update was not completed" in caught.value.diagnostics[0].detail
        states.change_state(world.context, "app", states.StateRequest("restart", "web"))
        world.deploy(APP)


def test_the_way_back(world: World) -> None:
    Watch(world)
    world.deploy(APP)
    world.deploy(OTHER)
    before = [shown for shown in on(world) if shown]
    step(world)
    world.deploy(APP)
    world.deploy(OTHER)
    step(world)
    world.deploy(APP)
    assert step(world, undo=True)["after"] == 1
    assert refused(world, undo=True) == ["deployment 'app'"], "its machines still show certificates of the new CA"
    world.deploy(APP)
    world.deploy(OTHER)
    assert step(world, undo=True)["after"] == 0
    world.deploy(APP)
    world.deploy(OTHER)
    assert world.store.rotations.all() == []
    assert {shown["root"] for shown in on(world)} == {shown["root"] for shown in before}


def test_another_director_goes_on(world: World, tmp_path: Path) -> None:
    """What is known of a rotation is in the database, all of it or nothing."""
    world.deploy(APP)

    def stop(name: str) -> None:
        if name == "commit":
            raise KeyboardInterrupt

    step(world)
    world.deploy(APP)
    before = world.store.variables.all()
    world.effect = stop
    with pytest.raises(KeyboardInterrupt):
        step(world)
    world.effect = lambda name: None
    twin = world.twin(tmp_path / "twin")
    try:
        row = twin.store.rotations.find(ROOT)
        assert row is not None
        assert (row.stage, len(twin.store.variables.all())) == (2, len(before) + 3), "killed after it was written: the step was taken"
        Watch(twin)
        twin.deploy(APP)
        assert step(twin)["after"] == 3
        twin.deploy(APP)
        assert twin.store.rotations.all() == []
    finally:
        twin.close()


def test_a_dry_run_tells_who_would_change_and_writes_nothing(world: World) -> None:
    world.deploy(APP)
    world.deploy(OTHER)
    before = world.dump()
    told = step(world, dry_run=True)
    assert world.dump() == before
    assert {item["name"].rpartition("/")[2]: item["what"] for item in told["versions"]} == dict.fromkeys(
        ("root", "middle", "leaf", "theirs"), "new CA trusted")
    changed = {
        plan["deployment"]: [(change["action"], [reason["kind"] for reason in change["reasons"]]) for change in plan["plan"]["changes"]]
        for plan in told["plans"]}
    assert changed == {"app": [("update", ["configuration"])] * 2, "other": [("update", ["configuration"])]}
    told = step(world, "/test/app/password", dry_run=True)
    assert [plan["plan"]["summary"]["empty"] for plan in told["plans"]] == [True], "nobody shows the password"


def test_events_tell_each_step(world: World) -> None:
    world.deploy(APP)
    world.task = 7
    step(world)
    told = [(event.action, event.object_name, event.context.get("what"), event.error) for event in reversed(
        world.store.events.select(task="7")) if event.object_type == "variable"]
    assert told == [
        ("rotate", ROOT, None, ""), *(("create", f"/test/app/{name}", "new CA trusted", "") for name in ("root", "middle", "leaf")),
        ("rotate", ROOT, None, "")]
    assert "PRIVATE" not in str(world.store.events.select(limit=1000))


def test_a_rotation_ends_with_its_last_user(world: World) -> None:
    world.deploy(APP)
    for _ in range(3):
        step(world)
        if world.store.rotations.all()[0].stage < 3:
            world.deploy(APP)
    assert world.store.rotations.all() != []
    delete.delete_deployment(world.context, "app")
    assert world.store.rotations.all() == []
    assert {row.name for row in world.store.variables.all()} == {f"/test/app/{name}" for name in ("root", "middle", "leaf", "password")}


def test_many_at_once_all_or_none(world: World) -> None:
    text = manifest([*VARIABLES, {"name": "user", "type": "user"}], VALUES, instances=1)
    world.deploy(text)
    before = world.store.variables.all()
    with pytest.raises(ConflictError) as caught:
        step(world, "/test/app/password", "/test/app/leaf", "/test/app/middle", "/test/app/pasword")
    assert [item.summary for item in caught.value.diagnostics] == [
        "'/test/app/middle' and '/test/app/leaf' belong to one CA, so they cannot be rotated at once",
        "There is no variable '/test/app/pasword'"]
    assert world.store.variables.all() == before
    told = step(world, "/test/app/password", "/test/app/user", "/test/app/leaf")
    assert [item["name"] for item in told["steps"]] == ["/test/app/password", "/test/app/user", "/test/app/leaf"]
    assert len(world.store.variables.all()) == len(before) + 3


def test_all_that_a_ca_signed(world: World) -> None:
    world.deploy(APP)
    world.deploy(OTHER)
    assert rotate.names_of(world.context, [], ROOT) == ("/test/other/theirs",), "CAs take steps of their own"
    assert rotate.names_of(world.context, [], "/test/app/middle") == ("/test/app/leaf",)
    with pytest.raises(CaissonError, match="has signed no certificate that signs nothing itself"):
        rotate.names_of(world.context, [], "/test/app/leaf")
    with pytest.raises(CaissonError, match="There is no variable '/test/app/midle'"):
        rotate.names_of(world.context, [], "/test/app/midle")


def test_password_and_leaf_reach_the_machines_with_the_next_deploy(world: World) -> None:
    text = manifest(VARIABLES, {**VALUES, "password": "((password))"}, instances=1)
    world.deploy(text)
    (before,) = on(world)
    assert step(world, "/test/app/password")["stage"] == ""
    step(world, "/test/app/leaf")
    assert on(world) == [before]
    world.deploy(text)
    (after,) = on(world)
    assert {key for key in before if before[key] != after[key]} == {"password", "certificate"}
