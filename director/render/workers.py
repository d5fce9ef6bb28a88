"""Several Ruby processes for large batches. One stays; the others are there for the length of a call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from director.render.engine import Outcome
from director.render.erb import Erb, Work

ENOUGH = 512
"""Contexts that are worth the start of another process."""


class Workers:
    """Fills in templates as `Erb` does, on as many processors as there are, but not more than `most`."""

    def __init__(self, make: Callable[[], Erb], most: int = 4) -> None:
        self._make = make
        self._resident = make()
        self._most = max(1, min(most, len(os.sched_getaffinity(0))))

    def fill_in(self, work: Sequence[Work]) -> list[list[Outcome]]:
        """For each work the outcomes of its templates, in order. Raises RenderError when there is no Ruby."""
        count = min(self._most, len(work) // ENOUGH)
        if count < 2:
            return self._resident.fill_in(work)
        size = -(-len(work) // count)
        shares = [work[start:start + size] for start in range(0, len(work), size)]
        helpers = [self._make() for _ in shares[1:]]
        try:
            with ThreadPoolExecutor(len(shares)) as threads:
                done = list(threads.map(lambda pair: pair[0].fill_in(pair[1]), zip([self._resident, *helpers], shares, strict=True)))
        finally:
            for helper in helpers:
                helper.close()
        return [outcomes for share in done for outcomes in share]

    def close(self) -> None:
        """End the process. The next call starts another."""
        self._resident.close()
