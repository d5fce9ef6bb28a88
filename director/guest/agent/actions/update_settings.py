"""Settings that change during a machine's life: trusted certificates, disk associations, tags."""

from __future__ import annotations

from typing import Any, Dict

from .. import files, system
from ..host import Call
from .base import Action


def run(call: Call, settings: Dict[str, Any]) -> str:
    layout = call.host.layout
    kept = files.read_json(layout.update_settings) or {}
    changed = dict(kept, **settings)
    if changed.get("trusted_certs", "") != kept.get("trusted_certs", ""):
        system.trust(call.host, str(changed["trusted_certs"] or ""))
    files.write_json(layout.update_settings, changed)
    return "ok"


ACTION = Action(run, asynchronous=True, loggable=False)
