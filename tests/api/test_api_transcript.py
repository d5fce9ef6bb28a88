"""The exchange of a deploy as the `bosh` command holds it. Source: director API contract, section 7.1."""

from __future__ import annotations

import httpx
from api_world import World

MANIFEST = b"name: app\nreleases: []\n"
YAML = {"Content-Type": "text/yaml"}
LINE = '{"time":1451020321,"stage":"A","tags":[],"total":1,"task":"a","index":1,"state":"%s","progress":0}\n'


def follow(world: World, response: httpx.Response) -> httpx.Response:
    """As the Go client does: GET, with the scheme of the Location and the host of the configuration."""
    location = response.headers["location"]
    assert location.startswith(("/", "https://"))
    return world.get(location)


def test_deploy(world: World) -> None:
    assert world.anonymous.get("/info").json()["user_authentication"]["type"] == "basic"
    assert world.get("/configs?latest=true&limit=1&type=deploy").json() == []
    config = world.post("/cloud_configs?name=", content=b"azs: []", headers=YAML)
    assert config.status_code == 201

    shape = world.post("/deployments/app/diff?redact=true", content=MANIFEST, headers=YAML).json()
    assert shape["context"] == {"cloud_config_ids": [1], "runtime_config_ids": []}
    context = "%7B%22cloud_config_ids%22%3A%5B1%5D%2C%22runtime_config_ids%22%3A%5B%5D%7D"
    task = follow(world, world.post(f"/deployments?context={context}", content=MANIFEST, headers=YAML)).json()
    assert (task["id"], task["state"], task["timestamp"], task["started_at"], task["result"]) == (1, "queued", None, None, None)

    output = "/tasks/1/output?type=event"
    assert world.get("/tasks/1").json()["state"] == "queued"
    assert world.get(output, headers={"Range": "bytes=0-"}).status_code == 204

    world.store.tasks.claim("w")
    world.tasks.write(1, "event", LINE % "started")
    assert world.get("/tasks/1").json()["state"] == "processing"
    part = world.get(output, headers={"Range": "bytes=0-"})
    size = len(LINE % "started")
    assert (part.status_code, len(part.content), part.headers["content-range"]) == (206, size, f"bytes 0-{size - 1}/{size}")
    assert world.get(output, headers={"Range": f"bytes={size}-"}).status_code == 416

    world.tasks.write(1, "event", LINE % "finished")
    world.store.tasks.finish(1, "done", "/deployments/app")
    assert world.get("/tasks/1").json()["result"] == "/deployments/app"
    assert world.get(output, headers={"Range": f"bytes={size}-"}).text == LINE % "finished"
    assert world.get("/tasks/1/output?type=result").status_code == 204


def test_every_request_may_come_on_a_new_connection(world: World) -> None:
    for _ in range(3):
        assert world.get("/tasks", headers={"Connection": "close"}).status_code == 200


def test_a_repeated_body_after_401_is_taken(world: World) -> None:
    assert world.anonymous.post("/deployments", content=MANIFEST, headers=YAML).status_code == 401
    assert world.store.tasks.select() == []
    assert world.post("/deployments", content=MANIFEST, headers=YAML).status_code == 302
