"""A stock image made ready for jobs. Source: the agent contract, section 3.2.

Each step looks before it acts, so that on an image that has everything all of it takes a moment, and repeating it changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, Dict, List

from .. import files, system
from ..host import Call
from .base import Action


def run(call: Call, settings: Dict[str, Any]) -> Dict[str, Any]:
    """What was done, and how many seconds it took."""
    host = call.host
    started = time.monotonic()
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    marker = {"settings": digest, "agent": host.agent_digest, "boot": host.boot_id()}
    changed: List[str] = []
    if files.read_json(host.layout.bootstrap) != marker:
        for name, step in system.STEPS:
            if step(host, settings):
                changed.append(name)
        files.write_json(host.layout.bootstrap, marker)
    host.monit.await_status()
    return {"changed": changed, "seconds": round(time.monotonic() - started, 4)}


ACTION = Action(run, asynchronous=True, loggable=False)
