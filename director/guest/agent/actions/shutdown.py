"""The machine powered off, after the answer has left."""

from __future__ import annotations

import subprocess

from ..host import Call
from .base import Action


def run(call: Call) -> str:
    if call.host.is_real:
        subprocess.Popen(
            ["sh", "-c", "sleep 0.3; exec systemctl --no-block poweroff"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )
    return "shutting down"


ACTION = Action(run)
