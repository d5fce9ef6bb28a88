"""What operations report to: stages with steps, warnings, a result. `director.tasks` writes it down, tests keep it in a list."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Step(Protocol):
    """One task inside a stage. It is `started` on entering, `finished` or `failed` on leaving."""

    def status(self, text: str, progress: int) -> None:
        """Say what is done right now; `progress` is 0 to 100."""


class Stage(Protocol):
    """A titled list of steps."""

    def step(self, name: str) -> AbstractContextManager[Step]:
        """Begin a step; may be called from many threads."""


class Log(Protocol):
    """One task's event log."""

    def stage(self, name: str, total: int = 1, tags: tuple[str, ...] = ()) -> Stage:
        """Begin a stage of `total` steps; `tags` name what it belongs to (an instance group)."""

    def warning(self, message: str) -> None:
        """Something the operator should know; the task goes on."""

    def result(self, text: str) -> None:
        """Add to the task's result output."""

    def debug(self, message: str) -> None:
        """For those who look for a cause; secrets are redacted below."""
