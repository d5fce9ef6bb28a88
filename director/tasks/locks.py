"""Locks of tasks: leases in the database that are renewed while they are held, and end with their holder.

Source: planning contract, section 23; API contract, section 10.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator

from director import errors
from director.state import Store
from director.state.tasks import TaskRow

LEASE_SECONDS = 240.0
RENEW_SECONDS = 60.0
POLL_SECONDS = 0.5


class Keeper:
    """Renews what the tasks of this process hold. A lock that was lost is told to its task."""

    def __init__(self, store: Store, on_lost: Callable[[int, str], None]) -> None:
        """`on_lost(task id, lock name)` is called once for each lost lock."""
        self._store = store
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], int] = {}

    def hold(self, name: str, uid: str, task_id: int) -> None:
        """Renew this one from now on."""
        with self._lock:
            self._held[name, uid] = task_id

    def drop(self, name: str, uid: str) -> None:
        """Renew it no more."""
        with self._lock:
            self._held.pop((name, uid), None)

    def renew(self) -> None:
        """Prolong all leases. Called every `RENEW_SECONDS`."""
        with self._lock:
            held = list(self._held.items())
        for (name, uid), task_id in held:
            if self._store.locks.renew(name, uid, LEASE_SECONDS):
                continue
            with self._lock:
                lost = self._held.pop((name, uid), None) is not None
            if lost:
                self._on_lost(task_id, name)


class Locks:
    """The locks one task can take. None may be taken twice by the same task: the second would wait for the first."""

    def __init__(
        self, store: Store, keeper: Keeper, holder: TaskRow, check: Callable[[], None], *, clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        """`check` raises Cancelled when the task `holder` is to end; it is called while waiting."""
        self._store = store
        self._keeper = keeper
        self._holder = holder
        self._check = check
        self._clock = clock
        self._sleep = sleep

    def deployment(self, name: str, wait_seconds: float = 10.0) -> contextlib.AbstractContextManager[None]:
        """For all that changes a deployment. 0 does not wait."""
        return self.lock(f"lock:deployment:{name}", wait_seconds)

    def release(self, name: str, wait_seconds: float = 300.0) -> contextlib.AbstractContextManager[None]:
        """For uploading, binding and deleting versions of a release."""
        return self.lock(f"lock:release:{name}", wait_seconds)

    def stemcell(self, name: str, version: str, wait_seconds: float = 900.0) -> contextlib.AbstractContextManager[None]:
        """For uploading and (10 s) deleting a stemcell."""
        return self.lock(f"lock:stemcells:{name}:{version}", wait_seconds)

    def compile(self, package: str, stemcell: str, wait_seconds: float = 900.0) -> contextlib.AbstractContextManager[None]:
        """For compiling a package (its fingerprint or id) on a stemcell (`OS/VERSION`)."""
        return self.lock(f"lock:compile:{package}:{stemcell}", wait_seconds)

    def vm(self, cid: str, wait_seconds: float = 10.0) -> contextlib.AbstractContextManager[None]:
        """For what is done to one VM outside of its deployment's lock."""
        return self.lock(f"lock:vm:{cid}", wait_seconds)

    @contextlib.contextmanager
    def lock(self, name: str, wait_seconds: float) -> Iterator[None]:
        """Hold the lock while the block runs. Raises ConflictError when another holds it for longer than `wait_seconds`, Cancelled."""
        uid = str(uuid.uuid4())
        self._acquire(name, uid, wait_seconds)
        self._keeper.hold(name, uid, self._holder.id)
        self._tell("acquire", name)
        try:
            yield
        finally:
            self._keeper.drop(name, uid)
            if self._store.locks.release(name, uid):
                self._tell("release", name)

    def _acquire(self, name: str, uid: str, wait_seconds: float) -> None:
        end = self._clock() + wait_seconds
        while True:
            self._check()
            owner = self._store.locks.acquire(name, uid, self._holder.id, LEASE_SECONDS)
            if owner is None:
                return
            if self._clock() >= end:
                task = self._store.tasks.find(owner.task_id) if owner.task_id is not None else None
                raise errors.ConflictError(
                    f"Failed to acquire lock for {name} uid: {uid}. Locking task id is {owner.task_id}, "
                    f"description: '{task.description if task else ''}'",
                    suggestion=f"Wait for it with `caisson task {owner.task_id}`, or end it with `caisson cancel-task {owner.task_id}`.")
            self._sleep(POLL_SECONDS)

    def _tell(self, action: str, name: str) -> None:
        self._store.events.add(
            action, "lock", name, user=self._holder.user, task=self._holder.id, deployment=self._holder.deployment)
