"""What a deploy and an errand leave in the events."""

from __future__ import annotations

from fakes import World
from small_world import MANIFEST, RELEASE

from director.execute.errands import ErrandRequest, run_errand


def test_a_deploy_tells_its_software_before_and_after(world: World) -> None:
    world.deploy(MANIFEST)
    first_version = world.store.releases.all()[0].version
    world.upload({**RELEASE, "src/app.txt": "other\n"}, "200")
    world.task += 1
    world.deploy(MANIFEST)
    second, first = [event.context for event in world.store.events.select(object_type="deployment") if event.parent_id]
    assert first["before"] == {"releases": [], "stemcells": []}
    assert first["after"] == second["before"]
    assert first["after"]["releases"] == [f"rel/{first_version}"]
    assert second["after"] == {"releases": ["rel/200"], "stemcells": first["after"]["stemcells"]}


def test_the_end_of_an_errand_tells_its_exit_code(world: World) -> None:
    world.deploy(MANIFEST)
    world.fleet.errands["db"] = 7
    assert run_errand(world.context, "app", ErrandRequest("db")) == "0 succeeded, 1 errored, 0 canceled"
    end, begin = world.store.events.select(object_type="errand")
    assert (begin.object_name, begin.context, end.parent_id, end.context) == ("db", {}, begin.id, {"exit_code": 7})
