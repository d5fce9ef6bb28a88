"""The stand-in of Azure, a new one for each test, and a CPI for it; their time passes by sleeping."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cpis.azure import AzureCpi
from cpis.conformance.clouds.azure import AzureStandIn
from cpis.conformance.faults import Time


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def azure(clock: Time) -> Iterator[AzureStandIn]:
    with AzureStandIn(clock=clock.clock) as stand_in:
        yield stand_in


@pytest.fixture
def cpi(azure: AzureStandIn, clock: Time) -> Iterator[AzureCpi]:
    cpi = AzureCpi(azure.config, clock=clock.clock, sleep=clock.sleep, environ={})
    yield cpi
    cpi.close()
