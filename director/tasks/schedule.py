"""What the director does by itself from time to time: a task for each thing, made only when there is something to do.

Source: planning contract, section 21; API contract, section 10.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable

from director.errors import CaissonError
from director.execute import networks, upkeep
from director.state import Store
from director.state.tasks import UNFINISHED
from director.tasks.operations import KINDS

USER = "scheduler"


@dataclasses.dataclass(frozen=True)
class Chore:
    """Something to do every `seconds` if it is `due`; `kind` is one of `operations.KINDS`."""

    kind: str
    description: str
    seconds: float
    due: Callable[[Store], bool]


CATCH_UP_SECONDS, CATCH_UP_AGAIN_SECONDS = 60.0, 600.0


def _is_behind(store: Store) -> bool:
    """Whether machines lack the newest DNS records and it is worth another try: there are newer ones since the last, or it is long ago."""
    latest = store.dns.latest()
    if latest is None or not store.dns.behind(latest.version):
        return False
    last = store.tasks.select(types=(KINDS["sync_dns"].type,), limit=1)
    return not last or last[0].created_at < latest.created_at or last[0].created_at < store.clock() - CATCH_UP_AGAIN_SECONDS


CHORES: tuple[Chore, ...] = (
    Chore("delete_orphaned_vms", "clean up orphaned vms", 300.0, lambda store: bool(store.vms.orphans())),
    Chore(
        "delete_old_disks", "clean up orphaned disks", 1800.0,
        lambda store: bool(store.disks.orphans(older_than_seconds=upkeep.DISKS_KEPT_SECONDS))),
    Chore(
        "delete_old_networks", "clean up orphaned networks", 1800.0,
        lambda store: bool(store.networks.orphans(older_than_seconds=networks.KEPT_SECONDS))),
    Chore("sync_dns", "give DNS records to machines that are behind", CATCH_UP_SECONDS, lambda store: _is_behind(store)),
)


class Schedule:
    """One per director. `create(kind, description)` queues a task."""

    def __init__(self, store: Store, create: Callable[[str, str], object], chores: Iterable[Chore] = CHORES) -> None:
        self._store, self._create = store, create
        self._chores = tuple(chores)
        self._next = {chore.kind: chore.seconds for chore in self._chores}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def advance(self, seconds: float) -> None:
        """That much time has passed."""
        for chore in self._chores:
            self._next[chore.kind] -= seconds
            if self._next[chore.kind] <= 0:
                self._next[chore.kind] = chore.seconds
                self._begin(chore)

    def _begin(self, chore: Chore) -> None:
        try:
            under_way = self._store.tasks.select(states=UNFINISHED, types=(KINDS[chore.kind].type,))
            if not under_way and chore.due(self._store):
                self._create(chore.kind, chore.description)
        except CaissonError:
            logging.getLogger(__name__).exception("'%s' cannot be begun; it is tried again", chore.description)

    def _run(self) -> None:
        while True:
            pause = max(1.0, min(self._next.values()))
            if self._stopping.wait(pause):
                return
            self.advance(pause)
