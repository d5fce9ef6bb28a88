"""The instance's health: asked of monit, checked against the processes themselves, kept where jobs and the resolver read it."""

from __future__ import annotations

import os
from typing import List, Tuple

from . import files
from .host import Host
from .monit import Service, Unavailable, aggregate


def look(host: Host) -> Tuple[str, List[Service]]:
    """The job state and the services.

    Monit looks only every few seconds. A process that it takes for running but that is gone counts as failing at once, and
    monit is woken up to start it again.
    """
    try:
        services = host.monit.status().services
    except Unavailable:
        return "unknown", []
    gone = [service for service in services if service.state == "running" and service.pid > 0 and not _exists(service.pid)]
    if gone:
        host.monit.wake()
        services = [service._replace(status=1) if service in gone else service for service in services]
    return aggregate([service.state for service in services], host.layout.stopped.exists()), services


def write(host: Host) -> str:
    """Look, and keep what was seen."""
    state, _ = look(host)
    keep(host, state)
    return state


def keep(host: Host, state: str) -> None:
    """`/var/vcap/instance/health.json`, written when it changed."""
    files.write(host.layout.health, '{"state":"%s"}' % state, 0o644)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
