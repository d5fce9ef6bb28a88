"""What did not change since an instance was applied is not rendered again, also by a director that was started anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from fakes import World
from small_world import MANIFEST

from director.execute import prepare
from director.render.model import RenderedJob
from director.render.renderer import Renderer
from director.render.report import Problem
from director.render.units import Unit

CHANGED = MANIFEST.replace("greeting: hello", "greeting: bonjour")


class CountingRenderer(Renderer):
    """Remembers which instances' jobs were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def jobs_of(self, units: Sequence[Unit]) -> tuple[dict[bytes, RenderedJob], list[Problem]]:
        self.asked += [name for unit in units if (name := f"{unit.request.group}/{unit.request.index}") not in self.asked]
        return super().jobs_of(units)


def asked(world: World, manifest: str, **options: object) -> list[str]:
    """What a director with an empty memory renders for a deploy."""
    renderer = world.renderer = CountingRenderer()
    world.task += 1
    world.deploy(manifest, **options)
    return sorted(renderer.asked)


def test_an_unchanged_manifest_renders_nothing(world: World) -> None:
    assert asked(world, MANIFEST) == ["db/0", "web/0", "web/1"]
    assert asked(world, MANIFEST) == []


def test_only_what_changed_is_rendered(world: World) -> None:
    world.deploy(MANIFEST)
    calls = len(world.fleet.calls)
    assert asked(world, CHANGED) == ["web/0", "web/1"]
    changed = {call.cid for call in world.fleet.calls[calls:] if call.action == "apply"}
    assert changed == {cid for cid, machine in world.fleet.machines.items() if "web" in machine.jobs}
    assert asked(world, CHANGED) == []
    assert asked(world, MANIFEST) == ["web/0", "web/1"]


def test_files_are_there_when_a_machine_is_replaced(world: World) -> None:
    world.deploy(MANIFEST)
    before = set(world.fleet.machines)
    assert asked(world, MANIFEST, recreate=True) == ["db/0", "web/0", "web/1"]
    assert not before & set(world.fleet.machines)
    assert {job for machine in world.fleet.machines.values() for job in machine.jobs} == {"db", "web"}


def test_another_director_knows_too(world: World, tmp_path: Path) -> None:
    world.deploy(MANIFEST)
    twin = world.twin(tmp_path / "twin")
    assert asked(twin, MANIFEST) == []
    twin.close()


def test_what_is_recorded_is_no_plain_digest(world: World) -> None:
    """Who reads the database must not be able to try short secrets out: the same input is recorded otherwise by another director."""
    world.deploy(MANIFEST)
    context = world.context
    other = dataclasses.replace(context, director=dataclasses.replace(context.director, secret=b"o" * 32))
    before = {row.id: row.applied["rendered_from"] for row in world.store.instances.of("app")}
    prepared = prepare.prepare(other, prepare.Wanted(MANIFEST), write=False)
    for id, recorded in before.items():
        hidden = prepared.rendered.remembered(id, {"configuration_hash": prepared.rendered.hashes[id]})["rendered_from"]
        assert hidden != recorded
