"""Plans kept in files: done as they are, refused with what moved, and taken up again after a kill."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import World
from small_world import CLOUD, MANIFEST, RELEASE

from director.errors import CaissonError, ConflictError, UsageError
from director.execute import deploy, kept_plans, states, telling
from director.execute.prepare import prepare
from director.plan import planfile
from director.plan.explain import explain
from director.plan.model import Provider
from director.plan.planfile import PlanFile
from director.render.renderer import Renderer
from director.state import Store
from director.state.addresses import AddressRow
from director.state.stemcells import StemcellRow
from director.tasks import operations
from director.variables.vault import Vault

KILLED_AFTER_EVERY = int(os.environ.get("CRASH_AFTER_EVERY", "23"))
OTHER = MANIFEST.replace("greeting: hello", "greeting: bye")
MORE = MANIFEST.replace("instances: 2", "instances: 3")


def plan(world: World, manifest: str = MANIFEST, **options: object) -> PlanFile:
    """Made, written and read again."""
    ctx = world.context
    prepared = prepare(ctx, operations.wanted_of({"manifest": manifest, "options": options}), write=False)
    return planfile.read(planfile.write(kept_plans.keep(ctx, prepared, options, telling.told(ctx, prepared))))


def do(world: World, kept: PlanFile) -> str:
    """What the task does."""
    ctx = world.context
    manifest, file = kept_plans.opened(ctx, kept)
    return deploy.deploy(ctx, operations.wanted_of({"manifest": manifest, "options": {**kept.options, "file": file}}), kept)


def refused(world: World, kept: PlanFile) -> str:
    """How the plan was refused; nothing was changed."""
    before = world.dump()
    with pytest.raises(ConflictError) as caught:
        do(world, kept)
    assert world.dump() == before
    told = str(caught.value)
    assert "The plan does not hold any more" in told
    assert "plan again: caisson -d app plan MANIFEST -o plan.json" in told
    return told


def test_a_first_deploy_makes_the_very_instances_of_its_plan(world: World) -> None:
    kept = plan(world)
    assert do(world, kept) == "/deployments/app"
    shown = {entry.id: [item.ip for item in entry.addresses] for entry in kept.plan.entries}
    assert shown == {row.id: [item.ip for item in world.store.addresses.of_instance(row.id)] for row in world.store.instances.of("app")}
    numbers = {(kind, key): number for kind, key, number in kept.foreseen_numbers}
    assert numbers["az", "z1"] == world.store.ids.all().azs["z1"]
    assert plan(world).plan.is_empty


def test_a_plan_is_done_once(world: World) -> None:
    kept = plan(world)
    do(world, kept)
    world.task += 1
    assert "deployment 'app': it was not there" in refused(world, kept)


def test_changes_are_done_as_planned(deployed: World) -> None:
    kept = plan(deployed, OTHER)
    do(deployed, kept)
    assert plan(deployed, OTHER).plan.is_empty
    assert not plan(deployed, MANIFEST).plan.is_empty


@pytest.fixture(scope="module")
def once(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A deployed world, of which tests get twins: to deploy takes longer than all that these tests do."""
    world = World(tmp_path_factory.mktemp("once") / "world", renderer=renderer)
    world.configure(CLOUD)
    world.stemcell()
    world.upload(RELEASE)
    world.deploy(MANIFEST)
    yield world
    world.close()


@pytest.fixture
def deployed(once: World, tmp_path: Path) -> Iterator[World]:
    twin = once.twin(tmp_path / "deployed")
    twin.task += 1
    yield twin
    twin.close()


def new_stemcell(world: World) -> None:
    world.store.stemcells.add(StemcellRow("linux", "2", "linux", world.cloud.create_stemcell("", {}, "stemcell-2"), "stemcell-2"))


def other_deployment(world: World) -> None:
    world.store.deployments.ensure("other")
    world.store.addresses.reserve([AddressRow(ip="10.0.0.4", network="default", kind="static", deployment="other", purpose="other/x")])


def shared_link(world: World) -> None:
    world.store.deployments.ensure("other")
    world.store.links.replace("other", [Provider("g", "j", "db", "db", "db", True, {"instances": []})])


def rotate(world: World) -> None:
    world.vault.set("/test/app/password", "password", "another-secret-value")


def replace_machine(world: World) -> None:
    states.change_state(world.context, "app", states.StateRequest("recreate", "web", "0", converge=False))
    world.task += 1


def touch(world: World, **changes: Any) -> None:
    world.store.instances.update(world.store.instances.at("app", "web", 1).id, **changes)


MOVES: dict[str, tuple[Callable[[World], object], str]] = {
    "a machine": (replace_machine, "machine was vm-"),
    "an instance's state": (
        lambda world: touch(world, state="stopped"),
        "state was started, is stopped"),
    "an instance that is not complete": (
        lambda world: touch(world, dirty=True),
        "last update was complete, is not complete"),
    "an ignored instance": (lambda world: touch(world, ignored=True), "ignored was no, is yes"),
    "the cloud config": (lambda world: world.configure(CLOUD + "# more\n"), "cloud-config 'default': version was 1, is 2"),
    "a runtime config": (
        lambda world: world.store.configs.save("runtime", "dns", "addons: []"),
        "runtime-config 'dns': it was not there, is version 2"),
    "a release": (
        lambda world: world.upload({**RELEASE, "jobs/web/templates/web.json.j2": "other {{ p('greeting') }}\n"}, "9"),
        "release 'rel': content was"),
    "a stemcell": (new_stemcell, "stemcell 'linux': version was 1"),
    "a variable": (rotate, "variable /test/app/password: version was "),
    "an address": (other_deployment, "address 10.0.0.4: it was free for web/"),
}


@pytest.mark.parametrize("what", MOVES)
def test_a_world_that_moved_is_told(deployed: World, what: str) -> None:
    act, words = MOVES[what]
    kept = plan(deployed, MORE)
    act(deployed)
    assert words in refused(deployed, kept)


def test_how_the_plan_would_differ_is_told(deployed: World) -> None:
    kept = plan(deployed, OTHER)
    new_stemcell(deployed)
    told = refused(deployed, kept)
    assert "was to update with 10.0.0.2 (configuration: rendered templates differ (web.greeting)), would recreate" in told
    assert "stemcell: stemcell changes (linux/1 -> linux/2)" in told


def test_what_cannot_be_planned_any_more_is_told_with_its_cause(deployed: World) -> None:
    kept = plan(deployed, OTHER)
    deployed.machine("web").deaf = True
    told = refused(deployed, kept)
    assert "the agent does not respond" in told


def test_links_of_others_that_change_nothing_do_not_matter(deployed: World) -> None:
    kept = plan(deployed, OTHER)
    shared_link(deployed)
    do(deployed, kept)


def test_a_refused_first_deploy_leaves_nothing(world: World) -> None:
    kept = plan(world)
    world.configure(CLOUD + "# more\n")
    refused(world, kept)
    assert world.store.deployments.all() == []


def test_options_are_those_of_the_plan(deployed: World) -> None:
    kept = plan(deployed, recreate=True, canaries="1", max_in_flight="1")
    assert {entry.action.value for entry in kept.plan.entries} == {"recreate"}
    before = set(deployed.fleet.machines)
    do(deployed, kept)
    assert not before & set(deployed.fleet.machines)


def test_a_killed_director_goes_on_with_the_plan(deployed: World, tmp_path: Path) -> None:
    """Of every few effects of the deploy a twin is kept, which does the same task again from its start."""
    changed = MORE.replace("greeting: hello", "greeting: bye")
    kept = plan(deployed, changed)
    twins: list[World] = []
    seen = 0

    def effect(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen % KILLED_AFTER_EVERY == 0:
            twins.append(deployed.twin(tmp_path / f"twin-{seen}"))

    deployed.effect = effect
    do(deployed, kept)
    deployed.effect = lambda name: None
    assert len(twins) >= 3
    for twin in twins:
        do(twin, kept)
        assert twin.leaks() == []
        assert {row.id for row in twin.store.instances.of("app")} == {row.id for row in deployed.store.instances.of("app")}
        assert plan(twin, changed).plan.is_empty
        twin.close()


def test_another_directors_seal_does_not_open(world: World) -> None:
    kept = plan(world)
    other = Store(world.folder / "other.db")  # a database knows its key: another one belongs to another
    world.vault = Vault(other, world.folder / "other.key", director_name="test")
    with pytest.raises(UsageError, match="cannot be opened"):
        kept_plans.opened(world.context, kept)
    other.close()


def test_a_plan_with_another_manifest_put_in_is_refused(world: World) -> None:
    kept = plan(world)
    other = plan(world, MANIFEST.replace("name: app", "name: other"))
    with pytest.raises(UsageError, match="the manifest in it for 'other'"):
        do(world, dataclasses.replace(kept, sealed=other.sealed))
    with pytest.raises(ConflictError, match="does not hold"):
        do(world, dataclasses.replace(kept, sealed=plan(world, MORE).sealed))


def test_planning_writes_nothing_not_even_for_a_first_deploy_with_variables(world: World) -> None:
    def everything() -> tuple[object, ...]:
        folder = {str(path.relative_to(world.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
                  for path in sorted(world.folder.rglob("*")) if path.is_file() and not path.name.startswith("state.db")}
        return world.dump(), [str(event) for event in world.store.events.select(limit=1000)], folder, list(world.fleet.calls)

    before = everything()
    assert plan(world).plan.changed
    assert everything() == before
    world.deploy(MANIFEST)
    before = everything()[:3]
    kept = plan(world, MORE.replace("name: password, type", "name: other, type").replace("((password))", "((other))"))
    assert explain(kept.plan)
    assert everything()[:3] == before


def test_nobody_reads_the_manifest_in_the_file(world: World) -> None:
    secret = "hunter2-in-the-manifest"
    kept = plan(world, MANIFEST.replace("greeting: hello", f"greeting: {secret}"))
    assert secret not in planfile.write(kept)
    assert secret in kept_plans.opened(world.context, kept)[0]


def test_new_ids_that_are_taken_are_not_used_twice(deployed: World) -> None:
    taken = deployed.store.instances.at("app", "web", 0).id
    fresh = "ffffffff-0000-4000-8000-000000000000"
    wanted = dataclasses.replace(operations.wanted_of({"manifest": MORE}), foreseen_ids=(taken, fresh))
    prepared = prepare(deployed.context, wanted, write=False)
    assert [change.id for change in prepared.plan.changes if change.observed is None] == [fresh]


def test_expectations_come_from_what_was_done_before(world: World) -> None:
    assert plan(world).plan.expected is not None
    assert "there is no past task to learn from" in explain(plan(world).plan)
    world.deploy(MANIFEST)
    found = plan(world, OTHER).plan.expected
    assert found is not None
    assert found.learned
    assert found.seconds > 0


def test_compilations_are_learned_from_outputs_of_tasks(world: World) -> None:
    task = world.store.tasks.add("update_deployment", "create deployment", deployment="other")
    world.store.tasks.finish(task, "done", "")
    lines = [
        {"time": time, "stage": "Compiling packages", "tags": [], "total": 2, "task": f"{name}/abc", "index": 1, "state": state}
        for name, state, time in (("lib", "started", 100), ("app", "started", 103), ("lib", "finished", 130), ("app", "failed", 140))]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    ctx = dataclasses.replace(world.context, task_events=lambda asked: text.encode() if asked == task else b"")
    prepared = prepare(ctx, operations.wanted_of({"manifest": MANIFEST}), write=False)
    expected = telling.told(ctx, prepared).expected
    assert expected is not None
    assert "compile app" in expected.unknown
    assert "compile lib" not in expected.unknown
    assert expected.seconds == 15.0


def test_known_secrets_are_taken_out_of_what_is_told(deployed: World) -> None:
    deployed.configure(CLOUD.replace("memory: 512", "zone: s3cretvalue"))
    ctx = dataclasses.replace(deployed.context, redact=lambda text: text.replace("s3cretvalue", "<redacted>"))
    prepared = prepare(ctx, operations.wanted_of({"manifest": MANIFEST}), write=False)
    kept = kept_plans.keep(ctx, prepared, {}, telling.told(ctx, prepared))
    assert "s3cretvalue" not in planfile.write(kept)
    assert 'zone: "<redacted>"' in explain(kept.plan)


def test_places_are_in_the_cloud_config_when_that_is_new(deployed: World) -> None:
    kept = plan(deployed, MANIFEST.replace("vm_type: small", "vm_type: small").replace("greeting: hello", "greeting: bye"))
    assert {reason.file for entry in kept.plan.changed for reason in entry.reasons} == {"manifest.yml"}
    deployed.configure(CLOUD.replace("memory: 512", "memory: 1024"))
    text = explain(plan(deployed).plan)
    assert "cloud properties of the machine change (memory: 512 -> memory: 1024), cloud-config 'default':3" in text


def test_rotated_variables_are_named(deployed: World) -> None:
    rotate(deployed)
    assert "rendered templates differ: variables have new values (password), manifest.yml:" in explain(plan(deployed).plan)


def test_damaged_plans_are_refused(world: World) -> None:
    text = planfile.write(plan(world))
    with pytest.raises(CaissonError, match="cut off"):
        planfile.read(text[: len(text) // 2])
