"""A lifecycle script of all jobs that have it."""

from __future__ import annotations

from typing import Dict

from .. import scripts, spec
from ..errors import InvalidArguments
from ..host import Call
from .base import Action


def run(call: Call, name: str, env: Dict[str, str]) -> Dict[str, str]:
    if "/" in name or name.startswith("."):
        raise InvalidArguments("'%s' is no name of a script" % name)
    jobs = scripts.jobs_with(call.host, spec.load(call.host.layout).jobs, name)
    scripts.run_all(call, name, jobs, lambda job: scripts.run_logged(call, job, name, env))
    return {}


ACTION = Action(run, asynchronous=True, cancellable=True)
