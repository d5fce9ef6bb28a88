"""The stand-in of Azure, a new one for each test, and a CPI for it whose waits cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cpis.azure import AzureCpi
from cpis.conformance.clouds.azure import AzureStandIn, start
from cpis.conformance.faults import Time


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[AzureStandIn]:
    with start(tmp_path) as stand_in:
        yield stand_in


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def cpi(azure: AzureStandIn, clock: Time) -> Iterator[AzureCpi]:
    cpi = AzureCpi(azure.config, clock=clock.clock, sleep=clock.sleep, environ={})
    yield cpi
    cpi.close()
