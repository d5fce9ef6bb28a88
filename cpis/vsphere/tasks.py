"""Running tasks of vCenter to their end. Source: CPI contract, sections 4.3 and 10.2 ("wait")."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from pyVmomi import vim

from cpis.cloud.waiting import wait_for
from cpis.contract import CpiError
from cpis.vsphere.errors import busy, of_fault
from cpis.vsphere.inventory import Start, collect, read
from cpis.vsphere.session import Session

TASK_SECONDS = 1800.0
_BUSY_SECONDS = 900.0
_FIRST_LOOK_SECONDS = 0.2
_RAREST_LOOK_SECONDS = 5.0

log = logging.getLogger("cpis")


def run(session: Session, what: str, start: Callable[[], Any]) -> Any:
    """Start a task (`start` answers it), wait for its end, and answer its result.

    A task that ends because something else works on the same object is started again for a quarter of an hour. Raises CpiError.
    """
    began = session.clock()
    pause = 1.0
    while True:
        try:
            return wait(session, what, start())
        except CpiError as error:
            delay = pause * (0.5 + random.random())
            if not busy(error) or session.clock() + delay - began > _BUSY_SECONDS:
                raise
            log.info("%s: %s, again in %.1f s", what, error, delay)
            session.sleep(delay)
            pause = min(30.0, pause * 2)


def wait(session: Session, what: str, task: Any) -> Any:
    """The result of a task that was started. Raises CpiError with the task's own fault, Unavailable when it takes too long."""

    def look() -> tuple[Any] | None:
        # Each by itself: `info` as a whole does not decode for tasks of the disk manager.
        facts = read(session, task, "info.state", "info.result", "info.error")
        state = facts.get("info.state")
        if state == "error":
            raise of_fault(what, facts.get("info.error"))
        return (facts.get("info.result"),) if state == "success" else None

    result, = wait_for(
        f"vCenter to end the task: {what}", look, deadline=TASK_SECONDS, every=_FIRST_LOOK_SECONDS, longest=_RAREST_LOOK_SECONDS,
        clock=session.clock, sleep=session.sleep)
    return result


def wait_all(session: Session, what: str, tasks: Sequence[Any]) -> list[Any]:
    """The results of several tasks in their order, a CpiError in the place of each that failed. Raises Unavailable after too long."""

    def look() -> list[Any] | None:
        facts = collect(session, [Start(task) for task in tasks], {vim.Task: ["info.state", "info.result", "info.error"]})
        ended = [facts.get(task, {}) for task in tasks]
        if any(one.get("info.state") not in ("success", "error") for one in ended):
            return None
        return [of_fault(what, one.get("info.error")) if one["info.state"] == "error" else one.get("info.result") for one in ended]

    return wait_for(
        f"vCenter to end the tasks: {what}", look, deadline=TASK_SECONDS, every=_FIRST_LOOK_SECONDS, longest=_RAREST_LOOK_SECONDS,
        clock=session.clock, sleep=session.sleep)
