"""A fake Compute Engine for each test, and a CPI in a time of its own, where waiting costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gcp_bench import Bench

from cpis.conformance.clouds.gcp import GcpStandIn, start
from cpis.conformance.faults import Time
from cpis.gcp import GcpCpi


@pytest.fixture
def there(tmp_path: Path) -> Iterator[GcpStandIn]:
    with start(tmp_path) as stand_in:
        yield stand_in


@pytest.fixture
def bench(there: GcpStandIn) -> Iterator[Bench]:
    made: list[GcpCpi] = []
    slept: list[float] = []
    time = Time()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(seconds)

    def again(**changes: object) -> GcpCpi:
        made.append(GcpCpi({**there.config, **changes}, clock=time.clock, sleep=sleep, environ={}))
        return made[-1]

    yield Bench(there, again(), slept, again)
    for cpi in made:
        cpi.close()
