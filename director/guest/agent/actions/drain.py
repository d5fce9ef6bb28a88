"""Drain scripts, waits included. Source: the planning contract, section 12; the agent contract, section 4.3."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from .. import files, health, scripts
from .. import spec as specs
from ..errors import ActionError, InvalidArguments, ScriptFailed
from ..host import Call
from ..monit import NOT_MONITORED
from ..shell import Script
from ..spec import Spec
from .base import Action

UNMONITOR_SECONDS = 300.0


def run(call: Call, type: str, spec: Optional[Dict[str, Any]] = None) -> int:
    """0, after all waits."""
    if type == "status":
        raise InvalidArguments("Unexpected call with drain type 'status'")
    if type not in ("update", "shutdown"):
        raise InvalidArguments("Unknown drain type %s" % type)
    if type == "update" and spec is None:
        raise InvalidArguments("Drain update requires new spec")
    current = specs.load(call.host.layout)
    wanted = Spec(spec) if spec is not None else None
    unmonitor(call)
    jobs = scripts.jobs_with(call.host, current.jobs, "drain")
    scripts.run_all(call, "drain", jobs, lambda job: _drain(call, job, first_arguments(type, current, wanted), current, wanted))
    return 0


def first_arguments(type: str, current: Spec, wanted: Optional[Spec]) -> List[str]:
    """What the first call of a drain script is given."""
    if type == "shutdown" or wanted is None:
        return ["job_shutdown", "hash_unchanged"]
    before = {package.name: package.digest for package in current.packages}
    changed = sorted(package.name for package in wanted.packages if before.get(package.name) != package.digest)
    if not current.configuration_hash:
        hashes = "hash_new"
    else:
        hashes = "hash_unchanged" if current.configuration_hash == wanted.configuration_hash else "hash_changed"
    return ["job_changed" if current.jobs else "job_new", hashes, *changed]


def environment(current: Spec, wanted: Optional[Spec]) -> Dict[str, str]:
    env = {"BOSH_JOB_STATE": json.dumps(current.state_text)}
    if wanted is not None:
        env["BOSH_JOB_NEXT_STATE"] = json.dumps(wanted.state_text)
    return env


def unmonitor(call: Call) -> None:
    """Let monit look away, so that what drain ends is not started again."""
    monit = call.host.monit
    services = monit.await_status().services
    monit.act("unmonitor", [service.name for service in services])
    waited = 0.0
    while any(service.monitor != NOT_MONITORED or service.pending for service in services):
        call.pause(0.02)
        waited += 0.02
        if waited > UNMONITOR_SECONDS:
            raise ActionError("Timed out waiting for monit to unmonitor the services")
        services = monit.await_status().services
    health.write(call.host)


def _drain(call: Call, job: str, arguments: List[str], current: Spec, wanted: Optional[Spec]) -> None:
    env = environment(current, wanted)
    while True:
        seconds = _ask(call, job, arguments, env)
        call.pause(abs(seconds))
        if seconds >= 0:
            return
        arguments = ["job_check_status", "hash_unchanged"]
        env = environment(current, None)


def _ask(call: Call, job: str, arguments: List[str], env: Dict[str, str]) -> int:
    """The integer that the script prints; its exit code means nothing."""
    import tempfile  # most jobs have no drain script

    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        try:
            Script(scripts.command(call.host, job, "drain") + arguments, env).run(call.cancelled, stdout, stderr)
        except OSError as error:
            raise ScriptFailed("drain of job %s cannot be run: %s" % (job, error)) from error
        stdout.seek(0)
        stderr.seek(0)
        text = stdout.read(files.CHUNK).decode("utf-8", "replace")
        try:
            return int(text.strip())
        except ValueError:
            output = text[-2000:] + stderr.read(files.CHUNK).decode("utf-8", "replace")[-2000:]
            raise ScriptFailed("Script did not return a signed integer", output) from None


ACTION = Action(run, asynchronous=True, cancellable=True)
