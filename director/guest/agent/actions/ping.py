"""Whether the agent answers."""

from __future__ import annotations

from ..host import Call
from .base import Action


def run(call: Call) -> str:
    return "pong"


ACTION = Action(run)
