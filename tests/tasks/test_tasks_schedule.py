"""What the director does by itself: often enough, and only when there is something to do."""

from __future__ import annotations

from collections.abc import Callable

from director.state import Store
from director.state.disks import DiskRow
from director.state.instances import InstanceRow
from director.state.vms import VmRow
from director.tasks.operations import KINDS
from director.tasks.schedule import CHORES, Schedule

DAY = 86400.0


def _schedule(store: Store) -> tuple[Schedule, list[str]]:
    begun: list[str] = []

    def create(kind: str, description: str) -> None:
        begun.append(description)
        store.tasks.add(KINDS[kind].type, description)

    return Schedule(store, create), begun


def _orphan(store: Store) -> None:
    store.deployments.ensure("app")
    store.instances.add(InstanceRow("i-1", "app", "web", 0))
    store.vms.add(VmRow("vm-1", "token", "app", "agent", "i-1", active=True))
    store.vms.orphan("vm-1", "web/i-1")


def test_nothing_to_do_makes_no_tasks(store: Store) -> None:
    schedule, begun = _schedule(store)
    for _ in range(20):
        schedule.advance(300)
    assert begun == []


def test_orphaned_machines_go_within_five_minutes(store: Store) -> None:
    schedule, begun = _schedule(store)
    _orphan(store)
    schedule.advance(299)
    assert begun == []
    schedule.advance(1)
    assert begun == ["clean up orphaned vms"]
    schedule.advance(300)
    assert begun == ["clean up orphaned vms"], "one is still under way"
    (task,) = store.tasks.select()
    store.tasks.finish(task.id, "done", "")
    schedule.advance(300)
    assert begun == ["clean up orphaned vms"] * 2, "it is still there"


def test_orphaned_disks_go_after_five_days(store: Store) -> None:
    schedule, begun = _schedule(store)
    now = store.disks._db.clock()
    store.disks.add(DiskRow("d-1", "t-1", 1024, orphaned_at=now - 4.9 * DAY))
    schedule.advance(1800)
    assert begun == []
    store.disks.add(DiskRow("d-2", "t-2", 1024, orphaned_at=now - 5.1 * DAY))
    schedule.advance(1800)
    assert begun == ["clean up orphaned disks"]


def test_every_chore_is_a_task_that_can_be_taken_up_again(make_tasks: Callable[..., object]) -> None:
    from director.tasks.queue import RESUMABLE

    for chore in CHORES:
        assert KINDS[chore.kind].type in RESUMABLE
