"""The fault suite against the FAKE services, in a time of its own: that faults end well, not that the real services are spoken to rightly.

Against the real ones it is part of `make conformance`, one fault in so many.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from cpis.conformance.bench import Site
from cpis.conformance.faults import Target, Time, counts, run
from cpis.conformance.forms import forms
from cpis.conformance.proxy import Proxy
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.conftest import LOGIN, network
from tests.cpis.openstack.fake_services import SECOND, FakeServices

pytestmark = pytest.mark.walk

# Of some 1400 trials; all of them take minutes, and were run when this was written.
ONE_IN = 10


def elsewhere(config: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The configuration with the proxy's address in the place of the services'."""
    return {
        key: value.replace(old, new) if isinstance(value, str) else elsewhere(value, old, new) if isinstance(value, dict) else value
        for key, value in config.items()}


def test_no_fault_ends_wrong_or_leaves_anything(services: FakeServices, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(100_000))
    site = Site(
        lambda number: (network(20 + number),), LOGIN, vm_properties={"instance_type": "small"}, image_path=str(image),
        several=lambda number: (network(20 + number), network(60 + number, name="second", default=(), cloud_properties={"net_id": SECOND})))
    time = Time()
    with Proxy(tmp_path / "proxy") as proxy:
        config = elsewhere(services.config(director="tests"), services.url, proxy.front(services.url))
        with contextlib.closing(OpenStackCpi(config, clock=time.clock, sleep=time.sleep)) as cpi:
            target = Target(
                cpi, site, proxy, forms("openstack", time.clock()), lambda: [tuple(item.split(" ", 1)) for item in services.left()])  # type: ignore[misc]
            trials = run(target, every=ONE_IN)
    wrong = [trial for trial in trials if trial.wrong or trial.leaked]
    assert not wrong
    assert counts(trials)["tried"] > 50
