"""Somebody waits for an answer: a cloud is asked with little patience, and within a time for all questions together.

Work that must end well waits out what passes by itself, for a quarter of an hour if need be (`cpis/cloud/calls.py`). A check tells what is
wrong now. Which of both it is belongs to the thread that asks, so that CPIs need not pass it on.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Callable, Iterator

TRIES = 2
"""How often a cloud that answers with a fault of its own is asked. One that cannot be reached is asked once."""


class Hurry:
    """`seconds` are for everything together. `doing` names the request under way, in the cloud's words; '' between two."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.doing = ""
        self._clock = clock
        self._ends_at = clock() + seconds

    def left(self) -> float:
        """Seconds until the time is over; 0 once it is."""
        return max(0.0, self._ends_at - self._clock())

    def give_up(self) -> None:
        """Nobody waits any more: no further request is begun."""
        self._ends_at = self._clock()


_current: contextvars.ContextVar[Hurry | None] = contextvars.ContextVar("hurry", default=None)


def current() -> Hurry | None:
    """The hurry that this thread is in; None when there is time."""
    return _current.get()


@contextlib.contextmanager
def within(hurry: Hurry) -> Iterator[None]:
    """What this thread asks in the block is asked in this hurry."""
    token = _current.set(hurry)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """What is asked in the block is `what`, for whoever waits in a hurry and wants to know for what."""
    hurry = _current.get()
    if hurry is None:
        yield
        return
    outer, hurry.doing = hurry.doing, what  # a request can need another, such as a login
    try:
        yield
    finally:
        hurry.doing = outer
