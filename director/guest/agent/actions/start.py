"""Processes started: monit learns the jobs' snippets, and starts every service."""

from __future__ import annotations

from .. import files, health, install, monit, spec, system
from ..host import Call
from .base import Action


def run(call: Call) -> str:
    host = call.host
    layout = host.layout
    wanted = monit.snippets([(name, install.job_folder(call, name)) for name in spec.load(layout).jobs])
    layout.monit_jobs.mkdir(parents=True, exist_ok=True)
    for path in layout.monit_jobs.glob("*.monitrc"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        files.write(layout.monit_jobs / name, text, 0o600)
    host.monit.reload(system.monit_name(host))
    host.monit.act("start", [service.name for service in host.monit.await_status().services])
    files.remove(layout.stopped)
    health.write(host)
    return "started"


ACTION = Action(run, asynchronous=True)
