"""The instance's health: asked of monit, checked against the processes themselves, kept where jobs and the resolver read it."""

from __future__ import annotations

import contextlib
from typing import List, Tuple

from . import files
from .host import Host
from .monit import NOT_EXISTING, Service, Unavailable, aggregate, lives


def look(host: Host) -> Tuple[str, List[Service]]:
    """The job state and the services.

    Monit looks only every few seconds. A process that it takes for running but that is gone counts as failing at once, and
    monit is woken up to start it again. One that it takes for gone but that runs by now wakes it up too; nothing else does,
    since every waking is a cycle, and jobs count cycles ("for 3 cycles").
    """
    try:
        services = host.monit.status().services
    except Unavailable:
        return "unknown", []
    gone = [service for service in services if service.state == "running" and service.pid > 0 and not lives(service.pid)]
    lost = [service for service in services if service.state == "failing" and service.status & NOT_EXISTING]
    back = [service for service in lost if host.monit.live_pid(service)]
    if gone or back:
        host.monit.wake()
    if gone:
        services = [service._replace(status=1) if service in gone else service for service in services]
    return aggregate([service.state for service in services], host.layout.stopped.exists()), services


def write(host: Host) -> str:
    """Look, and keep what was seen."""
    state, _ = look(host)
    keep(host, state)
    return state


def keep(host: Host, state: str) -> None:
    """`/var/vcap/instance/health.json`, written when it changed. That it cannot be (a full disk) is no reason to tell nothing."""
    with contextlib.suppress(OSError):
        files.write(host.layout.health, '{"state":"%s"}' % state, 0o644)
