"""vSphere keeps the contract, on the vendor's simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cpis.conformance import CASES, Case, check
from cpis.conformance.clouds.vsphere import SKIPS, VsphereStandIn
from cpis.vsphere import VsphereCpi

pytestmark = pytest.mark.walk

NOT_HERE = {  # beyond what the stand-in says itself: what vSphere does not have
    "dynamic_network_gives_an_address", "vip_follows_its_machine", "network_lives_and_dies", "snapshot_of_an_attached_disk",
    "disk_of_another_zone_is_refused", "disk_is_made_where_its_machine_is",
}


@pytest.fixture(scope="module")
def leaks(vcenter: VsphereStandIn) -> Iterator[None]:
    yield
    assert vcenter.resources() == [], "something outlived the suite"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vsphere_keeps_the_contract(case: Case, cpi: VsphereCpi, vcenter: VsphereStandIn, leaks: None) -> None:
    (outcome,) = check(cpi, vcenter.site(), [case])
    assert not outcome.detail, outcome.detail
    assert bool(outcome.skipped) == (case.name in NOT_HERE or case.name in SKIPS), outcome.skipped
