"""Kept plans over HTTP: asked for, sent back, refused."""

from __future__ import annotations

import json
from typing import Any

from api_world import YAML, World

from director.plan import planfile
from director.plan.outline import Outline
from director.plan.planfile import PlanFile

PLAN = {"Content-Type": "application/vnd.caisson.plan+json"}


def kept(**more: Any) -> PlanFile:
    return PlanFile(**{
        "director_name": "caisson", "director_uuid": "11111111-2222-3333-4444-555555555555", "deployment": "app", "made_at": 1.0,
        "options": {}, "plan": Outline("app"), "plan_digest": "sha256:1", "rests_on": {}, "sealed": "c2VhbGVk", **more})


def send(world: World, text: str) -> Any:
    return world.post("/deployments", content=text.encode(), headers=PLAN)


def test_the_file_is_sent_only_when_it_is_asked_for(world: World) -> None:
    world.plan_answer = {"text": "t", "plan": {}, "warnings": [], "file": {"a": 1}}
    assert "file" not in world.post("/deployments/app/plan", content=b"name: app\n", headers=YAML).json()
    assert world.post("/deployments/app/plan?keep=true", content=b"name: app\n", headers=YAML).json()["file"] == {"a": 1}


def test_a_plan_becomes_a_task_that_keeps_it_whole(world: World) -> None:
    response = send(world, planfile.write(kept()))
    assert response.status_code == 302
    task = world.last_task()
    assert response.headers["location"] == f"/tasks/{task.id}"
    assert (task.type, task.description, task.deployment) == ("update_deployment", "create deployment", "app")
    assert planfile.of_tree(task.arguments["plan"]) == kept()
    assert [row.name for row in world.store.deployments.all()] == ["app"]


def test_plans_that_are_damaged_or_foreign_make_nothing(world: World) -> None:
    newer = {**planfile.to_tree(kept()), "caisson_plan": 9}
    changed = {**planfile.to_tree(kept()), "deployment": "other"}
    for text, words in (
        ("{", "not JSON"), ("[]", "JSON object"), ("{}", "no plan file"), (json.dumps(newer), "version 9"),
        (json.dumps(changed), "was changed after it was made"), (planfile.write(kept(director_uuid="x")), "made by director"),
        ("[" * 100_000, ""),
    ):
        response = send(world, text)
        assert response.status_code == 400, text[:50]
        assert words in response.json()["description"]
    assert (world.store.tasks.select(), world.store.deployments.all()) == ([], [])


def test_the_manifests_name_is_a_name(world: World) -> None:
    assert world.post("/deployments?manifest_file=a/app.yml", content=b"name: app", headers=YAML).status_code == 302
    assert world.last_task().arguments["options"]["file"] == "a/app.yml"
    for bad in ("a%0Ab", "x" * 2000):
        assert world.post(f"/deployments?manifest_file={bad}", content=b"name: app", headers=YAML).json()["code"] == 40005
