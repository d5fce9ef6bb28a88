"""Log records of a task's threads go to the task's debug output; those of CPIs to its cpi output as well.

Which task a record belongs to is a context variable. `director.execute.parallel` hands the context on to its threads.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Iterator

from director.tasks.log import TaskLog

_current: contextvars.ContextVar[TaskLog | None] = contextvars.ContextVar("caisson_task_log", default=None)
OURS = ("director", "cpis")


class TaskHandler(logging.Handler):
    """Writes a record where the thread's task wants it; records outside of tasks are for others."""

    def emit(self, record: logging.LogRecord) -> None:
        log = _current.get()
        if log is None:
            return
        try:
            text = f"{record.name}: {self.format(record)}"
            log.debug(text, level=record.levelname)
            if record.name.partition(".")[0] == "cpis":
                log.debug(text, output="cpi", level=record.levelname)
        except Exception:
            self.handleError(record)


@contextlib.contextmanager
def bound(log: TaskLog) -> Iterator[None]:
    """Records of this context belong to the task while the block runs."""
    token = _current.set(log)
    try:
        yield
    finally:
        _current.reset(token)


def install() -> TaskHandler:
    """Listen to all loggers: ours from DEBUG on, others as far as they are set to tell."""
    handler = TaskHandler()
    logging.getLogger().addHandler(handler)
    for name in OURS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.DEBUG)
    return handler


def uninstall(handler: TaskHandler) -> None:
    """Listen no more."""
    logging.getLogger().removeHandler(handler)
