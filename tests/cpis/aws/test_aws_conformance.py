"""AWS keeps the contract: the suite against moto behind what makes it behave like the service."""

from __future__ import annotations

import pytest

from cpis.aws import AwsCpi
from cpis.conformance import CASES, Case, check
from cpis.conformance.clouds.aws import AwsStandIn

pytestmark = pytest.mark.walk


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_aws_keeps_the_contract(aws: AwsStandIn, cpi: AwsCpi, case: Case) -> None:
    (outcome,) = check(cpi, aws.site(), [case])
    assert not outcome.detail, outcome.detail
    assert not aws.resources()
    if outcome.skipped:
        pytest.skip(outcome.skipped)
