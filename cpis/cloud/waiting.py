"""Waiting for a cloud to finish something: always with a deadline, always saying for what. Source: CPI contract, section 4.3."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from cpis.contract import Unavailable

Result = TypeVar("Result")

_SLOWER = 1.5


def wait_for(
    what: str, look: Callable[[], Result | None], *, deadline: float = 300.0, every: float = 2.0, longest: float = 15.0,
    clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """The first answer of `look` that is not None. `what` is what is waited for ("machine vm-1 to be running").

    `look` raises when what it sees can never become what is wanted. Looks come `every` seconds at first and rarer later, `longest` apart at
    most. Raises Unavailable after `deadline` seconds.
    """
    started = clock()
    while True:
        found = look()
        if found is not None:
            return found
        passed = clock() - started
        if passed >= deadline:
            raise Unavailable(
                f"waited {passed:.0f} s for {what}", code="timeout",
                suggestion="The cloud may be slow: look at it in the cloud's own console, then try again.")
        sleep(min(every, deadline - passed))
        every = min(longest, every * _SLOWER)
