"""An errand's `bin/run`. Source: the agent contract, section 4.6."""

from __future__ import annotations

from typing import Any, Dict

from .. import scripts, spec
from ..errors import ActionError
from ..host import Call
from ..shell import Script
from .base import Action

KEPT_BYTES = 1 << 20


def run(call: Call, job: str = "", stream: bool = False) -> Dict[str, Any]:
    """Exit code and the last MiB of both outputs; all of it as progress when `stream`."""
    current = spec.load(call.host.layout)
    name = job or current.template
    if not name:
        raise ActionError("At least one job template is required to run an errand")
    if name not in current.jobs:
        raise ActionError("Could not find errand %s" % name)
    capture = scripts.Capture(call, KEPT_BYTES, stream)
    try:
        code = Script(scripts.command(call.host, name, "run"), {}).run(call.cancelled, on_output=capture)
    except OSError as error:
        raise ActionError("Errand %s cannot be run: %s" % (name, error)) from error
    return {"exit_code": code, "stdout": capture.tails["stdout"].text, "stderr": capture.tails["stderr"].text}


ACTION = Action(run, asynchronous=True, cancellable=True)
