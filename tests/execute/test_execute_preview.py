"""Dry runs of tasks: everything told, nothing done and nothing written."""

from __future__ import annotations

from fakes import World
from small_world import MANIFEST

from director.execute import states
from director.execute.prepare import Wanted
from director.execute.preview import preview


def seen(world: World) -> tuple[object, ...]:
    return world.dump(), sorted(world.fleet.machines), [dict(machine.mounts) for machine in world.fleet.machines.values()]


def test_recreate_as_a_dry_run_recreates_nothing(world: World) -> None:
    world.deploy(MANIFEST)
    before = seen(world)
    ctx = world.context
    preview(ctx, states.wanted(ctx, "app", states.StateRequest("recreate", "web")))
    assert seen(world) == before
    told = "".join(ctx.log.results)
    assert "2 to recreate" in told
    assert "web/" in told


def test_a_deploy_as_a_dry_run(world: World) -> None:
    ctx = world.context
    before = seen(world)
    preview(ctx, Wanted(MANIFEST))
    assert seen(world) == before
    assert "3 to create" in "".join(ctx.log.results)
