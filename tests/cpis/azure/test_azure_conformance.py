"""Azure keeps the contract: the suite against a fake of its Resource Manager."""

from __future__ import annotations

import pytest

from cpis.azure import AzureCpi
from cpis.conformance import CASES, Case, check
from cpis.conformance.clouds.azure import AzureStandIn

pytestmark = pytest.mark.walk


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_azure_keeps_the_contract(azure: AzureStandIn, cpi: AzureCpi, case: Case) -> None:
    (outcome,) = check(cpi, azure.site(), [case])
    assert not outcome.detail, outcome.detail
    assert not azure.resources()
    if outcome.skipped:
        pytest.skip(outcome.skipped)
