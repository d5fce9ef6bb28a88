"""What the handler of a task is given."""

from __future__ import annotations

import dataclasses
import threading

from director import errors
from director.tasks.locks import Locks
from director.tasks.log import TaskLog

CANCELLED = 10001


@dataclasses.dataclass(frozen=True)
class TaskContext:
    """`resumed` tells that a director died in an earlier run of this task: what its journal left open is to be settled first.
    `cancel` is set when the task is to end; `check` turns that into an error."""

    id: int
    type: str
    description: str
    user: str
    deployment: str
    resumed: bool
    log: TaskLog
    locks: Locks = dataclasses.field(repr=False)
    cancel: threading.Event = dataclasses.field(repr=False)

    def cancelled(self) -> bool:
        """Whether the task is to end."""
        return self.cancel.is_set()

    def check(self) -> None:
        """Raises Cancelled when the task is to end. Called between effects and while waiting."""
        check(self.id, self.cancel)


def check(task_id: int, cancel: threading.Event) -> None:
    """Raises Cancelled (10001) when `cancel` is set."""
    if cancel.is_set():
        raise errors.Cancelled(f"Task {task_id} cancelled", code=CANCELLED)
