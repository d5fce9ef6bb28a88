"""All that the director wants to know of a machine, in one answer."""

from __future__ import annotations

import socket
from typing import Any, Dict

from .. import files, health, monit, vitals
from .. import spec as specs
from ..host import Call
from . import sync_names
from .base import Action


def run(call: Call, full: bool = False) -> Dict[str, Any]:
    host = call.host
    spec = files.read_json(host.layout.spec) or {}
    settings = files.read_json(host.layout.settings) or {}
    state, services = health.look(host)
    health.keep(host, state)
    done = files.read_json(host.layout.bootstrap) or {}
    return {
        "agent_id": settings.get("agent_id", ""), "vm": settings.get("vm") or {}, "spec": spec,
        "configuration_hash": specs.Spec(spec).configuration_hash, "job_state": state, "processes": [_process(item) for item in services],
        "vitals": vitals.read(host) if full else None, "disks": host.disks.mounted(), "boot_id": host.boot_id(),
        "agent_digest": host.agent_digest, "hostname": socket.gethostname(), "bootstrapped": done.get("settings", ""),
        "dns_version": sync_names.version_of(host),
    }


def _process(service: monit.Service) -> Dict[str, Any]:
    uptime = {"secs": service.uptime} if service.uptime else {}
    memory: Dict[str, Any] = {"percent": service.memory_percent}
    if service.memory_kib:
        memory["kb"] = service.memory_kib
    return {"name": service.name, "state": service.state, "uptime": uptime, "mem": memory, "cpu": {"total": service.cpu_percent}}


ACTION = Action(run)
