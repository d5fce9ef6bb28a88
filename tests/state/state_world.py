"""What tests of the state and of tasks share."""

from __future__ import annotations


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
