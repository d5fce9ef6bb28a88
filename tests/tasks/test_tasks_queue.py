"""Tasks from creation to their end, with everything that may come in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from director import errors
from director.state import Store
from director.tasks import TaskContext, Tasks
from director.tasks.locks import LEASE_SECONDS
from director.tasks.queue import MOST_RESUMPTIONS, shortened

MakeTasks = Callable[..., Tasks]
Arguments = Mapping[str, Any]


def events(tasks: Tasks, task_id: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tasks.outputs.read(task_id, "event").splitlines()]


def waits(context: TaskContext, _: Arguments) -> str:
    """Runs until it is cancelled."""
    if context.cancel.wait(20):
        context.check()
    return "not cancelled"


class Gate:
    """A handler that tells that it began and ends when it is let through."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, context: TaskContext, _: Arguments) -> str:
        self.begun.set()
        assert self.open.wait(20)
        return f"/deployments/{context.deployment}"


def test_done(make_tasks: MakeTasks) -> None:
    def handler(context: TaskContext, arguments: Arguments) -> str:
        assert (context.user, context.deployment, context.resumed, dict(arguments)) == ("admin", "d", False, {"a": [1]})
        context.log.result("[]")
        return "/deployments/d"

    tasks = make_tasks({"update_deployment": handler})
    task_id = tasks.create("update_deployment", {"a": [1]}, "create deployment", user="admin", deployment="d", context_id="c")
    task = tasks.wait(task_id, 10)
    assert (task.state, task.result, task.description, task.context_id) == ("done", "/deployments/d", "create deployment", "c")
    assert task.finished_at is not None
    assert tasks.outputs.read(task_id, "result") == b"[]"
    assert tasks.outputs.size(task_id, "event") == 0


def test_error_is_told_before_it_is_seen(make_tasks: MakeTasks, store: Store) -> None:
    """API contract, row 10."""
    def handler(context: TaskContext, _: Arguments) -> str:
        raise errors.ManifestError("no network 'a'", "no network 'b'", code=150002, suggestion="add it")

    tasks = make_tasks({"x": handler}, start=False)
    finish, told = store.tasks.finish, []

    def finish_and_look(task_id: int, state: str, result: str) -> bool:
        told.extend(events(tasks, task_id))
        return finish(task_id, state, result)

    store.tasks.finish = finish_and_look  # type: ignore[method-assign]
    tasks.start()
    task = tasks.wait(tasks.create("x", {}, "x"), 10)
    assert (task.state, task.result) == ("error", "no network 'a'\nno network 'b'")
    assert told[-1]["error"]["code"] == 150002
    assert told[-1]["error"]["message"] == "no network 'a'\nno network 'b'"
    assert told[-1]["error"]["diagnostics"][1]["suggestion"] == "add it"


def test_defect_of_ours_is_an_error_too(make_tasks: MakeTasks) -> None:
    def handler(context: TaskContext, _: Arguments) -> str:
        raise KeyError("oops")

    tasks = make_tasks({"x": handler, "ok": lambda context, _: "ok"}, workers=1)
    task = tasks.wait(tasks.create("x", {}, "x"), 10)
    assert (task.state, events(tasks, task.id)[-1]["error"]["code"]) == ("error", 100)
    assert b"Traceback" in tasks.outputs.read(task.id, "debug")
    assert tasks.wait(tasks.create("ok", {}, "x"), 10).state == "done", "the worker goes on"


def test_unknown_type_is_refused_at_once(make_tasks: MakeTasks, store: Store) -> None:
    with pytest.raises(ValueError):
        make_tasks({}, start=False).create("x", {}, "x")
    assert store.tasks.select() == []


def test_secrets_are_redacted_in_results_too(make_tasks: MakeTasks) -> None:
    tasks = make_tasks({"x": lambda context, _: "made s3cret-value"}, start=False)
    tasks.redactor.add("s3cret-value")
    tasks.start()
    assert tasks.wait(tasks.create("x", {}, "x"), 10).result == "made <redacted>"


def test_cancel_while_processing(make_tasks: MakeTasks, store: Store) -> None:
    begun = threading.Event()

    def handler(context: TaskContext, arguments: Arguments) -> str:
        begun.set()
        return waits(context, arguments)

    tasks = make_tasks({"x": handler})
    task_id = tasks.create("x", {}, "x")
    assert begun.wait(10)
    tasks.cancel(task_id)
    task = tasks.wait(task_id, 10)
    assert (task.state, task.result) == ("cancelled", "task cancelled")
    assert events(tasks, task_id)[-1]["error"] == {"code": 10001, "message": f"Task {task_id} cancelled"}
    with pytest.raises(errors.UsageError, match=rf"Cannot cancel task {task_id}: invalid state \(cancelled\)"):
        tasks.cancel(task_id)


def test_cancel_while_queued(make_tasks: MakeTasks) -> None:
    tasks = make_tasks({"x": waits}, start=False)
    task_id = tasks.create("x", {}, "x")
    tasks.cancel(task_id)
    assert tasks.get(task_id).state == "cancelled"
    assert events(tasks, task_id)[-1]["error"]["code"] == 10001


def test_cancel_between_claim_and_run(make_tasks: MakeTasks, store: Store) -> None:
    tasks = make_tasks({"x": waits}, start=False)
    task_id = tasks.create("x", {}, "x")
    claim = store.tasks.claim

    def claim_then_cancel(worker: str, **lane: Any) -> Any:
        task = claim(worker, **lane)
        if task is not None:
            tasks.cancel(task.id)
        return task

    store.tasks.claim = claim_then_cancel  # type: ignore[method-assign]
    tasks.start()
    assert tasks.wait(task_id, 10).state == "cancelled"


def test_cancel_that_another_process_asked_for(make_tasks: MakeTasks, store: Store) -> None:
    tasks = make_tasks({"x": waits})
    task_id = tasks.create("x", {}, "x")
    while store.tasks.get(task_id).state == "queued":
        threading.Event().wait(0.01)
    store.tasks.cancel(task_id)
    tasks._see_cancellations()
    assert tasks.wait(task_id, 10).state == "cancelled"


def test_error_that_cancelling_caused_counts_as_cancelled(make_tasks: MakeTasks) -> None:
    begun = threading.Event()

    def handler(context: TaskContext, _: Arguments) -> str:
        begun.set()
        context.cancel.wait(10)
        raise errors.ScriptFailed("drain was cancelled")

    tasks = make_tasks({"x": handler})
    task_id = tasks.create("x", {}, "x")
    assert begun.wait(10)
    tasks.cancel(task_id)
    assert tasks.wait(task_id, 10).state == "cancelled"


def test_looking_does_not_wait_for_deploys(make_tasks: MakeTasks) -> None:
    tasks = make_tasks({"update_deployment": waits, "vms": lambda *_: "looked"}, workers=1)
    long = [tasks.create("update_deployment", {}, "x") for _ in range(3)]
    assert tasks.wait(tasks.create("vms", {}, "x"), 10).result == "looked"
    assert tasks.get(long[2]).state == "queued"
    for task_id in reversed(long):
        tasks.cancel(task_id)


def test_cancel_many(make_tasks: MakeTasks) -> None:
    """API contract, row 13."""
    tasks = make_tasks({"x": waits, "y": waits}, start=False)
    ids = [tasks.create(type, {}, "x", deployment=deployment) for type, deployment in (("x", "d"), ("y", "d"), ("x", "e"))]
    with pytest.raises(errors.UsageError, match=r"^done is not one of the cancellable states: queued, processing$"):
        tasks.cancel_matching(states=["done"])
    tasks.cancel_matching(deployment="d", types=["x"])
    assert [tasks.get(task_id).state for task_id in ids] == ["cancelled", "queued", "queued"]
    tasks.cancel_matching()
    assert {tasks.get(task_id).state for task_id in ids} == {"cancelled"}


def dead_director(store: Store, tasks: Tasks, type: str, *, times: int = 1, cancelling: bool = False) -> int:
    """A task of which a director died, with the lock that it held and a line that it was writing."""
    task_id = tasks.create(type, {}, "create deployment", deployment="d")
    for _ in range(times):
        store.tasks.claim("dead")
        if _ < times - 1:
            store.tasks.requeue(task_id)
    path = tasks.outputs.path(task_id, "event")
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"time":1,"type":"warning","message":"before"}\n{"time":2,"ty')
    store.locks.acquire("lock:deployment:d", "dead-uid", task_id, LEASE_SECONDS)
    if cancelling:
        store.tasks.cancel(task_id)
    return task_id


def test_dead_directors_task_is_taken_up_again(make_tasks: MakeTasks, store: Store) -> None:
    seen = []

    def handler(context: TaskContext, _: Arguments) -> str:
        with context.locks.deployment(context.deployment, wait_seconds=0):
            seen.append((context.id, context.resumed))
        return "/deployments/d"

    tasks = make_tasks({"update_deployment": handler}, start=False)
    task_id = dead_director(store, tasks, "update_deployment")
    tasks.start()
    assert tasks.wait(task_id, 10).state == "done"
    assert seen == [(task_id, True)]
    assert [line["message"] for line in events(tasks, task_id)] == [
        "before", "The director that ran this task ended; the task is taken up again (1 of 3)"]


def test_not_for_ever(make_tasks: MakeTasks, store: Store) -> None:
    tasks = make_tasks({"update_deployment": waits}, start=False)
    task_id = dead_director(store, tasks, "update_deployment", times=MOST_RESUMPTIONS + 1)
    tasks.start()
    task = tasks.get(task_id)
    assert task.state == "error"
    assert "ended before the task did for the 4th time" in events(tasks, task_id)[-1]["error"]["message"]
    assert store.locks.all() == []


def test_what_does_not_converge_is_an_error(make_tasks: MakeTasks, store: Store) -> None:
    tasks = make_tasks({"run_errand": waits}, start=False)
    task_id = dead_director(store, tasks, "run_errand")
    tasks.start()
    assert tasks.get(task_id).state == "error"
    assert events(tasks, task_id)[-1]["error"]["message"] == f"The director that ran task {task_id} ended before the task did"


def test_cancelled_while_the_director_was_dead(make_tasks: MakeTasks, store: Store) -> None:
    tasks = make_tasks({"update_deployment": waits}, start=False)
    task_id = dead_director(store, tasks, "update_deployment", cancelling=True)
    tasks.start()
    assert tasks.get(task_id).state == "cancelled"


def test_director_killed_in_the_middle(make_tasks: MakeTasks, store: Store, tmp_path: Path) -> None:
    """A real process, really killed; the next director does what is left, as the same task."""
    script = (
        "import os, signal, sys\n"
        "from director.state import Store\n"
        "from director.tasks import Tasks\n"
        "store = Store(sys.argv[1] + '/caisson.db')\n"
        "def handler(context, arguments):\n"
        "    with context.locks.deployment('d'), context.log.stage('Updating instance').step('web/1'):\n"
        "        store.journal.begin('create_vm', 'token-1', task_id=context.id, deployment='d')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "tasks = Tasks(store, sys.argv[1], {'update_deployment': handler})\n"
        "tasks.start()\n"
        "tasks.wait(tasks.create('update_deployment', {}, 'create deployment', deployment='d'), 20)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL

    def handler(context: TaskContext, _: Arguments) -> str:
        with context.locks.deployment("d", wait_seconds=0), context.log.stage("Updating instance").step("web/1"):
            for row in store.journal.open(task_id=context.id):
                store.journal.undone(row.id)
        return "/deployments/d"

    tasks = make_tasks({"update_deployment": handler})
    task = tasks.wait(1, 10)
    assert (task.state, task.resumptions) == ("done", 1)
    assert [line.get("state", "warning") for line in events(tasks, 1)] == ["started", "warning", "started", "finished"]
    assert store.journal.open() == []


def test_two_directors_do_not_share_a_state_directory(make_tasks: MakeTasks, store: Store, tmp_path: Path) -> None:
    make_tasks({})
    with pytest.raises(errors.ConflictError, match="Another director runs with the state directory"):
        Tasks(store, tmp_path, {}).start()


def test_stopped_director_leaves_running_tasks_to_the_next(make_tasks: MakeTasks, store: Store) -> None:
    gate = Gate()
    tasks = make_tasks({"update_deployment": gate})
    task_id = tasks.create("update_deployment", {}, "x", deployment="d")
    assert gate.begun.wait(10)
    queued = [tasks.create("update_deployment", {}, "x") for _ in range(8)][-1]
    assert not tasks.stop(0.1)
    assert store.tasks.get(task_id).state == "processing"
    gate.open.set()
    assert tasks.stop(10)
    assert store.tasks.get(task_id).state == "done", "what ends in time is recorded"
    assert store.tasks.get(queued).state == "queued", "and nothing new is begun"


def test_deployment_is_locked(make_tasks: MakeTasks, store: Store) -> None:
    gate = Gate()

    def holds(context: TaskContext, arguments: Arguments) -> str:
        with context.locks.deployment("d"):
            return gate(context, arguments)

    def wants(context: TaskContext, _: Arguments) -> str:
        with context.locks.deployment("d", wait_seconds=0.2):
            return "got it"

    tasks = make_tasks({"holds": holds, "wants": wants}, sleep=lambda _: threading.Event().wait(0.02))
    first = tasks.create("holds", {}, "create deployment", user="admin", deployment="d")
    assert gate.begun.wait(10)
    second = tasks.wait(tasks.create("wants", {}, "x"), 10)
    assert second.state == "error"
    message = events(tasks, second.id)[-1]["error"]["message"]
    assert message.startswith("Failed to acquire lock for lock:deployment:d uid: ")
    assert message.endswith(f"Locking task id is {first}, description: 'create deployment'")
    gate.open.set()
    assert tasks.wait(first, 10).state == "done"
    assert tasks.wait(tasks.create("wants", {}, "x"), 10).state == "done"
    assert [(event.action, event.object_type, event.user) for event in store.events.select(task=str(first))] == [
        ("release", "lock", "admin"), ("acquire", "lock", "admin")]
    assert store.locks.all() == []


def test_lost_lock_cancels_its_task(make_tasks: MakeTasks, store: Store) -> None:
    begun = threading.Event()

    def handler(context: TaskContext, arguments: Arguments) -> str:
        with context.locks.deployment("d"):
            begun.set()
            return waits(context, arguments)

    tasks = make_tasks({"x": handler})
    task_id = tasks.create("x", {}, "x", deployment="d")
    assert begun.wait(10)
    (lock,) = store.locks.all()
    tasks._keeper.renew()
    assert store.tasks.get(task_id).state == "processing"
    store.locks.release(lock.name, lock.uid)
    tasks._keeper.renew()
    assert tasks.wait(task_id, 10).state == "cancelled"
    assert [event.action for event in store.events.select(task=str(task_id))] == ["lost", "acquire"], "what was lost is not released"


def test_waiting_for_a_lock_can_be_cancelled(make_tasks: MakeTasks, store: Store) -> None:
    store.locks.acquire("lock:deployment:d", "other", None, 1000)
    began = threading.Event()

    def handler(context: TaskContext, _: Arguments) -> str:
        began.set()
        with context.locks.deployment("d", wait_seconds=1000):
            return "got it"

    tasks = make_tasks({"x": handler}, sleep=lambda _: threading.Event().wait(0.02))
    task_id = tasks.create("x", {}, "x")
    assert began.wait(10)
    tasks.cancel(task_id)
    assert tasks.wait(task_id, 10).state == "cancelled"


def test_lock_is_given_back_when_the_block_fails(make_tasks: MakeTasks, store: Store) -> None:
    def handler(context: TaskContext, _: Arguments) -> str:
        with context.locks.release("r"), context.locks.stemcell("s", "1"), context.locks.compile("fp", "debian/1"), context.locks.vm("c"):
            assert {lock.name for lock in store.locks.all()} == {
                "lock:release:r", "lock:stemcells:s:1", "lock:compile:fp:debian/1", "lock:vm:c"}
            raise errors.ReleaseError("broken")

    tasks = make_tasks({"x": handler})
    assert tasks.wait(tasks.create("x", {}, "x"), 10).result == "broken"
    assert store.locks.all() == []


def test_silent_worker_is_a_timeout(make_tasks: MakeTasks, store: Store) -> None:
    now = [1000.0]
    store._db.clock = lambda: now[0]
    tasks = make_tasks({"x": waits}, start=False)
    task_id = tasks.create("x", {}, "x")
    store.tasks.claim("another process")
    now[0] += 179
    assert tasks.get(task_id).state == "processing"
    now[0] += 1
    assert tasks.get(task_id).state == "timeout"


def test_end_is_recorded_when_the_database_works_again(make_tasks: MakeTasks, store: Store) -> None:
    finish, failures = store.tasks.finish, iter([1, 2])

    def failing(task_id: int, state: str, result: str) -> bool:
        if next(failures, None):
            raise errors.CaissonError("database is full")
        return finish(task_id, state, result)

    store.tasks.finish = failing  # type: ignore[method-assign]
    tasks = make_tasks({"x": lambda context, _: "ok"}, sleep=lambda _: None)
    assert tasks.wait(tasks.create("x", {}, "x"), 10).state == "done"


def test_old_tasks_go_with_their_outputs(make_tasks: MakeTasks, store: Store) -> None:
    tasks = make_tasks({"x": lambda context, _: "ok"}, workers=1)
    ids = [tasks.create("x", {}, "x") for _ in range(3)]
    tasks.wait(ids[-1], 10)
    assert tasks.prune(keep=1) == 2
    assert [tasks.outputs.size(task_id, "event") for task_id in ids] == [None, None, 0]


@pytest.mark.parametrize(("text", "short"), [
    ("", ""), ("  a  ", "a"), ("x" * 128, "x" * 128), ("word " * 25 + "abc", "word " * 25 + "abc"),
    ("word " * 25 + "abcdef", ("word " * 25).strip() + "..."), ("x" * 200, "x" * 129 + "..."),
])
def test_result_is_cut_at_a_word(text: str, short: str) -> None:
    assert shortened(text) == short
