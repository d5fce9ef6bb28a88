from __future__ import annotations

import pytest
from api_world import World

LINE = '{"time":1,"stage":"A","tags":[],"total":1,"task":"a","index":1,"state":"started","progress":0}\n'


def make(world: World, kind: str = "update_deployment", **more: str) -> int:
    return world.tasks.create(kind=kind, arguments={}, description="create deployment", **more)


def test_shape_of_a_queued_task(world: World) -> None:
    number = make(world, user="admin", deployment="app")
    assert world.get(f"/tasks/{number}").json() == {
        "id": number, "state": "queued", "description": "create deployment", "timestamp": None, "started_at": None, "result": None,
        "user": "admin", "deployment": "app", "context_id": "",
    }


def test_times_are_whole_seconds_and_the_result_a_text(world: World) -> None:
    number = make(world)
    world.store.tasks.claim("w")
    world.store.tasks.finish(number, "done", "/deployments/app")
    task = world.get(f"/tasks/{number}").json()
    assert isinstance(task["timestamp"], int)
    assert isinstance(task["started_at"], int)
    assert task["result"] == "/deployments/app"
    assert task["deployment"] is None


@pytest.mark.parametrize("number", ["99", "abc", "9" * 40])
def test_unknown_task(world: World, number: str) -> None:
    response = world.get(f"/tasks/{number}")
    assert response.status_code == 404
    assert (response.json()["code"], response.json()["description"]) == (10000, f"Task {number} not found")


def test_list_takes_csv_states_and_shows_newest_first(world: World) -> None:
    first, second, done = make(world), make(world, "ssh"), make(world)
    world.store.tasks.finish(done, "done", "")
    query = "/tasks?state=processing,cancelling,queued"
    assert [row["id"] for row in world.get(query + "&verbose=2").json()] == [second, first]
    assert [row["id"] for row in world.get(query + "&verbose=1").json()] == [first]
    assert [row["id"] for row in world.get(query).json()] == [first]
    assert [row["id"] for row in world.get("/tasks?limit=1&verbose=2").json()] == [done]
    assert world.get("/tasks?limit=x").status_code == 400


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        (None, 200, "0123456789", None),
        ("bytes=0-", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=4-", 206, "456789", "bytes 4-9/10"),
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=2-400", 206, "23456789", "bytes 2-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=10-", 416, "Byte range unsatisfiable", "bytes */10"),
        ("bytes=0-1,4-5", 200, "0123456789", None),
        ("lines=0-", 200, "0123456789", None),
    ],
)
def test_ranges_of_output(world: World, header: str | None, status: int, body: str, content_range: str | None) -> None:
    number = make(world)
    world.tasks.write(number, "event", "0123456789")
    response = world.get(f"/tasks/{number}/output?type=event", headers={"Range": header} if header else {})
    assert (response.status_code, response.text, response.headers.get("content-range")) == (status, body, content_range)
    assert response.headers["task-state"] == world.get(f"/tasks/{number}").json()["state"]


def test_large_output_is_streamed_whole(world: World) -> None:
    number = make(world)
    world.tasks.write(number, "debug", LINE * 20000)
    assert world.get(f"/tasks/{number}/output").text == LINE * 20000
    assert world.get(f"/tasks/{number}/output?type=debug", headers={"Range": "bytes=5-"}).text == (LINE * 20000)[5:]


def test_no_output_yet(world: World) -> None:
    number = make(world)
    response = world.get(f"/tasks/{number}/output?type=event")
    assert (response.status_code, response.headers["task-state"]) == (204, "queued")
    assert world.get(f"/tasks/{number}/output?type=none").status_code == 204
    world.tasks.write(number, "event", "")
    response = world.get(f"/tasks/{number}/output?type=event", headers={"Range": "bytes=0-"})
    assert (response.status_code, response.content) == (200, b"")


def test_unknown_output_type(world: World) -> None:
    response = world.get(f"/tasks/{make(world)}/output?type=secrets")
    assert (response.status_code, response.json()["code"], response.json()["description"]) == (401, 600000, "Unknown type secrets")


def test_cancel(world: World) -> None:
    number = make(world)
    assert world.delete(f"/task/{number}").status_code == 204
    assert world.store.tasks.get(number).state == "cancelling"
    world.store.tasks.finish(number, "done", "")
    response = world.delete(f"/task/{number}")
    assert (response.status_code, response.text) == (400, f"Cannot cancel task {number}: invalid state (done)")
    assert world.delete("/task/77").json()["code"] == 10000
    assert world.delete(f"/tasks/{number}").status_code == 404


def test_cancel_many(world: World) -> None:
    queued, running = make(world), make(world)
    world.store.tasks.claim("w")
    running, queued = queued, running
    response = world.post("/tasks/cancel", json={"states": ["done"]})
    assert (response.status_code, response.text) == (400, "done is not one of the cancellable states: queued, processing")
    assert world.post("/tasks/cancel", json={}).status_code == 204
    assert world.store.tasks.get(queued).state == "cancelling"
    assert world.store.tasks.get(running).state == "processing"


def test_locks_have_texts(world: World) -> None:
    world.store.locks.acquire("lock:deployment:app", "uid", 12, 240)
    (lock,) = world.get("/locks").json()
    assert lock == {"type": "deployment", "resource": ["app"], "timeout": f"{1_790_000_240:.6f}", "task_id": "12"}


def test_events(world: World) -> None:
    first = world.store.events.add("create", "deployment", "app", user="admin", task=3)
    world.store.events.add("create", "deployment", "app", parent_id=first, error="no")
    second, one = world.get("/events").json()
    assert one["id"] == str(first)
    assert (second["parent_id"], second["error"]) == (str(first), "no")
    assert "error" not in one
    assert "instance" not in one
    assert [row["id"] for row in world.get("/events?task=3").json()] == [str(first)]
    response = world.get("/events/999")
    assert (response.status_code, response.text) == (404, "Event not found")
    response = world.get("/events?before_time=yesterday")
    assert (response.status_code, response.text) == (400, "Invalid before parameter: 'yesterday' ")
    assert world.post("/events", json={"action": "x"}).status_code == 400
    assert world.post("/events", json={"action": "x", "object_type": "y", "object_name": "z"}).status_code == 200
