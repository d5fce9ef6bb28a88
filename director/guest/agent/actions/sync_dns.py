"""DNS records received. Source: the agent contract, section 5.7."""

from __future__ import annotations

import json

from .. import files, spec
from ..errors import ActionError
from ..host import Call, Host
from .base import Action


def run(call: Call, records: str, version: int) -> str:
    host = call.host
    if int((files.read_json(host.layout.records) or {}).get("version") or 0) >= version:
        return "synced"
    try:
        tree = json.loads(records)
    except ValueError as error:
        raise ActionError("The DNS records cannot be read: %s" % error) from error
    if tree.get("version") != version:
        raise ActionError("version from unpacked dns blob does not match version supplied by director")
    write_hosts(host, tree.get("records") or [])
    host.layout.records.parent.mkdir(parents=True, exist_ok=True)
    files.write(host.layout.records, records, 0o640, host.vcap_gid)
    return "synced"


def write_hosts(host: Host, records: list) -> None:  # type: ignore[type-arg]
    """`/etc/hosts` with the own name and a line for each record pair."""
    settings = files.read_json(host.layout.settings) or {}
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", "ff02::1 ip6-allnodes", "ff02::2 ip6-allrouters"]
    ip = spec.default_ip(settings.get("networks") or {}) or "127.0.1.1"
    name = settings.get("agent_id")
    if name:
        lines.append("%s %s" % (ip, name))
    lines += ["%s %s" % (address, host_name) for address, host_name in records]
    files.write(host.layout.etc("hosts"), "\n".join(lines) + "\n", 0o644)


ACTION = Action(run, loggable=False)
