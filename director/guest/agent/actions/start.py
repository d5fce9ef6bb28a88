"""Processes started: monit learns the jobs' snippets, and starts every service."""

from __future__ import annotations

from .. import files, health, install, launch, monit, spec, system
from ..host import Call
from .base import Action


def run(call: Call) -> str:
    host = call.host
    layout = host.layout
    wanted = monit.snippets([(name, install.job_folder(call, name)) for name in spec.load(layout).jobs])
    layout.monit_jobs.mkdir(parents=True, exist_ok=True)
    layout.bin.mkdir(parents=True, exist_ok=True)
    files.write(layout.start_program, launch.LAUNCHER, 0o755)
    for path in layout.monit_jobs.glob("*.monitrc"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        files.write(layout.monit_jobs / name, launch.launched(text, layout.inner(layout.start_program)), 0o600)
    host.monit.reload(system.monit_name(host))
    host.monit.act("start", [service.name for service in host.monit.await_status().services])
    files.remove(layout.stopped)
    health.write(host)
    return "started"


ACTION = Action(run, asynchronous=True)
