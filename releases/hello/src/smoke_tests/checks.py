"""What a check is, and how its outcome is said."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict

Config = Dict[str, Any]


class Failed(Exception):
    """What was expected did not happen."""


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise Failed(message)


def eventually(check: Callable[[], str], seconds: float, every: float = 0.5) -> str:
    """Tries `check` until it passes, at most so long; the last failure is the answer. Returns what the check says."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (Failed, OSError) as error:
            if time.monotonic() >= deadline:
                raise Failed("%s (tried for %d s)" % (error, seconds)) from error
        time.sleep(every)
