"""All processes stopped, and waited for. Source: the agent contract, section 4.4."""

from __future__ import annotations

import time
from typing import Callable, List

from .. import files, health
from ..errors import ActionError
from ..host import Call
from ..monit import NOT_MONITORED, Service
from .base import Action

STOP_SECONDS = 300.0


def run(call: Call, seconds: float = STOP_SECONDS, clock: Callable[[], float] = time.monotonic) -> str:
    """Raises ActionError with the reference's sentences."""
    monit = call.host.monit
    deadline = clock() + seconds
    services = _until(call, lambda found: not any(service.pending for service in found), deadline, seconds, clock)
    monit.act("stop", [service.name for service in services])
    files.write(call.host.layout.stopped, "")
    health.write(call.host)

    def ended(found: List[Service]) -> bool:
        errored = [service.name for service in found if not service.pending and service.monitor != NOT_MONITORED and service.status != 0]
        if errored:
            raise ActionError("Stopping services '[%s]' errored" % " ".join(errored))
        return not any(service.pending or service.monitor != NOT_MONITORED for service in found)

    _until(call, ended, deadline, seconds, clock)
    health.write(call.host)
    return "stopped"


def _until(
    call: Call, fits: Callable[[List[Service]], bool], deadline: float, seconds: float, clock: Callable[[], float],
) -> List[Service]:
    pause = 0.01
    while True:
        services = call.host.monit.await_status().services
        if fits(services):
            return services
        if clock() > deadline:
            names = ", ".join(service.name for service in services if service.pending or service.monitor != NOT_MONITORED)
            raise ActionError("Timed out waiting for services '%s' to stop after %s" % (names, _words(seconds)))
        call.pause(pause)
        pause = min(pause * 1.5, 0.25)


def _words(seconds: float) -> str:
    return "%d minutes" % (seconds // 60) if seconds >= 60 else "%d seconds" % seconds


ACTION = Action(run, asynchronous=True, cancellable=True)
