"""DNS records received. Source: the agent contract, section 5.7."""

from __future__ import annotations

import json

from .. import files, system
from ..errors import ActionError
from ..host import Call
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
    system.write_hosts(host, tree.get("records") or [])
    host.layout.records.parent.mkdir(parents=True, exist_ok=True)
    files.write(host.layout.records, records, 0o640, host.vcap_gid)
    return "synced"


ACTION = Action(run, loggable=False)
