"""All processes stopped, and waited for. Source: the agent contract, section 4.4."""

from __future__ import annotations

import time
from typing import Callable, Dict, List

from .. import files, health
from ..errors import ActionError
from ..host import Call
from ..monit import NOT_MONITORED, Service, lives
from .base import Action

STOP_SECONDS = 300.0


def run(call: Call, seconds: float = STOP_SECONDS, clock: Callable[[], float] = time.monotonic) -> str:
    """Raises ActionError with the reference's sentences."""
    monit = call.host.monit
    wait = Wait(call, clock() + seconds, seconds, clock)
    services = wait.until(lambda found: not any(service.pending for service in found))
    pids = {service.name: monit.live_pid(service) for service in services}
    _monitor_drained(call, wait, services, pids)
    monit.act("stop", [service.name for service in services])
    files.write(call.host.layout.stopped, "")
    health.write(call.host)
    wait.until(_ended)
    left = [name for name, pid in pids.items() if lives(pid)]
    if left:
        raise _errored(left)
    health.write(call.host)
    return "stopped"


def _monitor_drained(call: Call, wait: "Wait", services: List[Service], pids: Dict[str, int]) -> None:
    """Monit runs no stop program of a service that it does not monitor, as after drain; so it must look at those that live."""
    monit = call.host.monit
    names = {item.name for item in services if item.monitor == NOT_MONITORED and (pids[item.name] or not monit.pid_file(item.name))}
    monit.act("monitor", sorted(names))
    wait.until(lambda found: all(item.monitor != NOT_MONITORED and not item.pending for item in found if item.name in names))


def _ended(found: List[Service]) -> bool:
    errored = [service.name for service in found if not service.pending and service.monitor != NOT_MONITORED and service.status != 0]
    if errored:
        raise _errored(errored)
    return not any(service.pending or service.monitor != NOT_MONITORED for service in found)


def _errored(names: List[str]) -> ActionError:
    return ActionError("Stopping services '[%s]' errored" % " ".join(names))


class Wait:
    """Polls monit, within one limit for the whole action."""

    def __init__(self, call: Call, deadline: float, seconds: float, clock: Callable[[], float]) -> None:
        self._call = call
        self._deadline = deadline
        self._seconds = seconds
        self._clock = clock

    def until(self, fits: Callable[[List[Service]], bool]) -> List[Service]:
        pause = 0.01
        while True:
            services = self._call.host.monit.await_status().services
            if fits(services):
                return services
            if self._clock() > self._deadline:
                names = ", ".join(service.name for service in services if service.pending or service.monitor != NOT_MONITORED)
                raise ActionError("Timed out waiting for services '%s' to stop after %s" % (names, _words(self._seconds)))
            self._call.pause(pause)
            pause = min(pause * 1.5, 0.25)


def _words(seconds: float) -> str:
    return "%d minutes" % (seconds // 60) if seconds >= 60 else "%d seconds" % seconds


ACTION = Action(run, asynchronous=True, cancellable=True)
