"""The spec made true on disk. Source: the agent contract, section 4.1."""

from __future__ import annotations

from typing import Any, Dict

from .. import files, install, logrotate, system
from ..host import Call, Host
from ..spec import Spec
from .base import Action


def run(call: Call, spec: Dict[str, Any]) -> str:
    """Without `configuration_hash` the spec is only stored. Monit forgets the jobs; `start` makes it know them."""
    spec = dict(spec, networks=system.with_dynamic_addresses(call.host, spec.get("networks") or {}))
    wanted = Spec(spec)
    if wanted.configuration_hash:
        for package in wanted.packages:
            install.install_package(call, package)
        jobs = install.install_jobs(call, wanted)
        forget_monit_jobs(call.host)
        install.enable(call, wanted, jobs)
        files.write_json(call.host.layout.spec, spec)
        install.clean(call, wanted, jobs)
        logrotate.configure(call.host, wanted)
    else:
        files.write_json(call.host.layout.spec, spec)
    _tell_instance(call.host, spec)
    return "applied"


def forget_monit_jobs(host: Host) -> None:
    """Remove the snippets; monit is reloaded when there were any."""
    found = list(host.layout.monit_jobs.glob("*.monitrc"))
    for path in found:
        path.unlink()
    if found:
        host.monit.reload(system.monit_name(host))


def _tell_instance(host: Host, spec: Dict[str, Any]) -> None:
    for key in ("id", "az", "name", "deployment"):
        files.write(host.layout.instance / key, str(spec.get(key) or ""))


ACTION = Action(run, asynchronous=True, cancellable=True)
