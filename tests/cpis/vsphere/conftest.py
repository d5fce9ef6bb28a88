"""A vCenter simulator for the tests of this folder, one for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cpis.conformance.clouds import vsphere
from cpis.conformance.standin import Skipped
from cpis.vsphere import VsphereCpi


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vsphere.VsphereStandIn]:
    try:
        stand_in = vsphere.start(Path(tmp_path_factory.mktemp("vcenter")))
    except Skipped as reason:
        pytest.skip(str(reason))
    with stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def cpi(vcenter: vsphere.VsphereStandIn) -> Iterator[VsphereCpi]:
    made = VsphereCpi(vcenter.config)
    yield made
    made.close()
