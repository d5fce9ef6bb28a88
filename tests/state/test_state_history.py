"""Tasks, locks, journal, events, errand runs, users, settings."""

from __future__ import annotations

import pytest
from state_world import Clock

from director import errors
from director.state import Store
from director.state.instances import InstanceRow
from director.state.users import check_password, hash_password


def test_tasks_are_claimed_once_in_order(store: Store) -> None:
    ids = [store.tasks.add("update_deployment", "create deployment", arguments={"n": n}) for n in range(3)]
    claimed = [store.tasks.claim(worker) for worker in ("a", "b", "a", "b")]
    assert [task and (task.id, task.worker, task.state) for task in claimed] == [
        (ids[0], "a", "processing"), (ids[1], "b", "processing"), (ids[2], "a", "processing"), None]


def test_started_once_though_resumed(store: Store, clock: Clock) -> None:
    number = store.tasks.add("t", "d")
    store.tasks.claim("a")
    started = clock.now
    clock.now += 60
    store.tasks.requeue(number)
    task = store.tasks.claim("b")
    assert task is not None
    assert (task.started_at, task.resumptions, task.worker) == (started, 1, "b")


@pytest.mark.parametrize("state", ["done", "error", "cancelled", "timeout", "cancelling"])
def test_ended_task_cannot_be_cancelled(store: Store, state: str) -> None:
    number = store.tasks.add("t", "d")
    if state == "cancelling":
        store.tasks.cancel(number)
    else:
        store.tasks.finish(number, state, "")
    with pytest.raises(errors.UsageError, match=rf"Cannot cancel task {number}: invalid state \({state}\)"):  # API contract, row 12
        store.tasks.cancel(number)


def test_end_is_recorded_once(store: Store) -> None:
    number = store.tasks.add("t", "d")
    assert store.tasks.finish(number, "timeout", "")
    assert not store.tasks.finish(number, "done", "ok")
    assert store.tasks.get(number).state == "timeout"


def test_select_filters_newest_first(store: Store) -> None:
    ids = [store.tasks.add(type, "x", deployment=deployment) for type, deployment in (("a", "d"), ("b", "d"), ("a", "e"))]
    assert [task.id for task in store.tasks.select()] == ids[::-1]
    assert [task.id for task in store.tasks.select(types=["a"], deployment="d")] == [ids[0]]
    assert [task.id for task in store.tasks.select(states=["queued", "done"], limit=1)] == [ids[2]]


def test_silent_tasks(store: Store, clock: Clock) -> None:
    number = store.tasks.add("t", "d")
    store.tasks.claim("a")
    clock.now += 100
    store.tasks.checkpoint([number])
    clock.now += 100
    assert store.tasks.silent(180) == []
    clock.now += 80
    assert [task.id for task in store.tasks.silent(180)] == [number]


def test_old_tasks_are_forgotten_per_type_and_ids_not_reused(store: Store) -> None:
    ids = [store.tasks.add("a", "x") for _ in range(4)]
    for number in ids:
        store.tasks.finish(number, "done", "")
    running = store.tasks.add("a", "x")
    assert store.tasks.delete_older("a", keep=2) == [ids[1], ids[0]]
    store.tasks.finish(running, "done", "")
    store.tasks.delete_older("a", keep=0)
    assert store.tasks.add("a", "x") > running


def test_lock_is_a_lease(store: Store, clock: Clock) -> None:
    assert store.locks.acquire("lock:deployment:d", "one", 1, 240) is None
    holder = store.locks.acquire("lock:deployment:d", "two", 2, 240)
    assert holder is not None
    assert (holder.uid, holder.task_id) == ("one", 1)
    clock.now += 200
    assert store.locks.renew("lock:deployment:d", "one", 240)
    clock.now += 241
    assert store.locks.acquire("lock:deployment:d", "two", 2, 240) is None, "an expired lock is free"
    assert not store.locks.renew("lock:deployment:d", "one", 240), "and its holder learns that"
    assert not store.locks.release("lock:deployment:d", "one")
    assert store.locks.release("lock:deployment:d", "two")


def test_locks_listed_without_long_expired_ones(store: Store, clock: Clock) -> None:
    store.locks.acquire("lock:deployment:d", "one", 1, 240)
    clock.now += 299
    assert len(store.locks.all()) == 1
    clock.now += 2
    assert store.locks.all() == []


def test_journal_says_what_may_exist(store: Store) -> None:
    row = store.journal.begin("create_vm", "token-1", task_id=7, deployment="d", arguments={"a": 1})
    again = store.journal.begin("create_vm", "token-1", task_id=8, deployment="d", arguments={"a": 2})
    assert (again.id, again.arguments) == (row.id, {"a": 1}), "an open effect is taken up with what was written down first"
    assert [item.id for item in store.journal.open(deployment="d")] == [row.id]
    store.journal.done(row.id, {"cid": "vm-1"})
    assert store.journal.open() == []
    assert store.journal.get(row.id).result == {"cid": "vm-1"}
    with pytest.raises(errors.ConflictError):
        store.journal.begin("create_vm", "token-1")


@pytest.mark.parametrize("end", ["done", "failed", "undone"])
def test_open_rows_are_never_forgotten(store: Store, clock: Clock, end: str) -> None:
    ended, opened = store.journal.begin("a", "t1"), store.journal.begin("a", "t2")
    getattr(store.journal, end)(ended.id, *([] if end == "done" else ["why"]))
    clock.now += 100
    assert store.journal.forget(older_than_seconds=50) == 1
    assert [row.id for row in store.journal.all()] == [opened.id]


def test_events_chain_filter_and_trim(store: Store, clock: Clock) -> None:
    start = store.events.add("create", "deployment", "d", user="admin", task=3, deployment="d")
    clock.now += 5
    end = store.events.add("create", "deployment", "d", user="admin", task=3, deployment="d", parent_id=start, error="no")
    assert store.events.get(end).parent_id == start
    assert [event.id for event in store.events.select(task="3")] == [end, start]
    assert [event.id for event in store.events.select(before_id=end)] == [start]
    assert store.events.select(after_time=clock.now - 0.5) == [], "the whole second is excluded"
    assert store.events.select(user="nobody") == []
    assert store.events.trim(keep=1) == 1
    with pytest.raises(errors.NotFoundError, match="Event not found"):  # API contract, row 40
        store.events.get(start)


def test_a_page_of_events(store: Store) -> None:
    with store.transaction():
        for number in range(205):
            store.events.add("update", "vm", str(number))
    assert [event.object_name for event in store.events.select()][:1] == ["204"]
    assert len(store.events.select()) == 200


def test_errand_runs(store: Store) -> None:
    store.deployments.ensure("d")
    store.instances.add(InstanceRow("i", "d", "web", 0))
    for configuration in ("a", "b"):
        store.errands.succeeded("d", "smoke", "i", configuration)
    assert store.errands.last("d", "smoke") == {"i": "b"}


def test_passwords_are_hashed_and_salted(store: Store) -> None:
    store.users.set("admin", "secret")
    store.users.set("admin", "secret2", scopes=("bosh.read",))
    found = store.users.authenticate("admin", "secret2")
    assert found is not None
    assert found.scopes == ("bosh.read",)
    assert "secret2" not in found.password_hash
    assert found.password_hash not in repr(found)
    assert store.users.authenticate("admin", "secret") is None
    assert store.users.authenticate("nobody", "secret") is None
    assert hash_password("a") != hash_password("a")
    assert check_password("a", hash_password("a"))


def test_what_is_drawn_once(store: Store) -> None:
    values = iter(["first", "second"])
    assert [store.settings.get_or_make("uuid", lambda: next(values)) for _ in range(2)] == ["first", "first"]
