"""Plans and differences over HTTP: plans asked for, sent back, refused; which configs a difference is about."""

from __future__ import annotations

import json
from typing import Any

from api_world import YAML, World

from director.manifest.load import load_yaml
from director.plan import planfile
from director.plan.outline import Outline
from director.plan.planfile import PlanFile
from director.state.stemcells import StemcellRow

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


RUNTIME = """
releases: [{name: dns, version: 1}, {name: unused, version: 1}]
addons:
- {name: everywhere, jobs: [{name: resolver, release: dns}]}
- {name: elsewhere, jobs: [{name: x, release: unused}], include: {deployments: [other]}}
- {name: linux, jobs: [{name: w, release: dns}], include: {stemcell: [{os: linux}]}}
- {name: windows, jobs: [{name: z, release: unused}], include: {stemcell: [{os: windows}]}}
"""
GROUP = "instance_groups: [{name: web, stemcell: d, jobs: [{name: j, release: r}], networks: [{name: n1}]}]\n"


def difference(world: World, text: str) -> list[str]:
    return [line for line, _ in world.post("/deployments/app/diff", content=text.encode(), headers=YAML).json()["diff"]]


def test_addons_that_apply_to_nothing_are_left_out(world: World) -> None:
    world.store.configs.save("runtime", "default", RUNTIME)
    lines = difference(world, "name: app\nstemcells: [{alias: d, os: linux, version: 1}]\n" + GROUP)
    told = [line for line in lines if line.startswith("- name: ")]
    assert told == ["- name: dns", "- name: everywhere", "- name: linux", "- name: web"]
    world.store.stemcells.add(StemcellRow("named", "1", "windows", "cid", "token"))
    lines = difference(world, "name: app\nstemcells: [{alias: d, name: named, version: 1}]\n" + GROUP)
    assert [line for line in lines if line.startswith("- name: ")] == [
        "- name: dns", "- name: unused", "- name: everywhere", "- name: windows", "- name: web"]


def test_a_runtime_config_that_cannot_be_read_is_compared_as_it_is(world: World) -> None:
    world.store.configs.save("runtime", "default", "addons: [{name: a, include: {stemcell: [{}]}}]\n")
    assert "- name: a" in difference(world, "name: app\n" + GROUP)


def test_an_addon_that_applies_no_longer_is_a_removed_one(world: World) -> None:
    config = world.store.configs.save("runtime", "default", RUNTIME)
    text = "name: app\nstemcells: [{alias: d, os: linux, version: 1}]\n" + GROUP
    world.store.deployments.ensure("app")
    world.store.deployments.update("app", manifest=text, resolved=load_yaml(text, "").tree, runtime_config_ids=(config.id,))
    assert difference(world, text) == []
    removed = world.post("/deployments/app/diff", content=text.replace("os: linux", "os: other").encode(), headers=YAML).json()["diff"]
    assert ["- name: linux", "removed"] in removed
    assert not any("windows" in line for line, _ in removed)


def test_placeholders_are_filled_in_on_neither_side(world: World) -> None:
    text = "name: app\nreleases: [{name: r, version: latest}]\nupdate: {canaries: ((canaries))}\n"
    world.store.deployments.ensure("app")
    resolved = {"name": "app", "releases": [{"name": "r", "version": "3"}], "update": {"canaries": 5}}
    world.store.deployments.update("app", manifest=text, resolved=resolved)
    assert difference(world, text.replace("latest", "'3'")) == []
    assert difference(world, text.replace("latest", "'4'")) == ["releases:", "- name: r", "  version: '3'", "  version: '4'"]


def test_a_version_without_quotes_is_no_difference(world: World) -> None:
    text = "name: app\nreleases: [{name: r, version: 3}]\n"
    world.store.deployments.ensure("app")
    world.store.deployments.update("app", manifest=text, resolved={"name": "app", "releases": [{"name": "r", "version": "3"}]})
    assert difference(world, text) == []


def test_whatever_cannot_be_compared_is_told_in_the_answer(world: World) -> None:
    world.store.configs.save("cloud", "default", "a: [")
    answer = world.post("/deployments/app/diff", content=b"name: app", headers=YAML)
    assert (answer.status_code, answer.json()["diff"]) == (200, [])
    assert answer.json()["error"].startswith("Unable to diff manifest: ")
