"""The fault suite against the FAKE services, in a time of its own: that faults end well, not that the real services are spoken to rightly.

Against the real ones it is part of `make conformance`, one fault in so many.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from cpis import registry
from cpis.conformance.faults import Target, Time, counts, run
from cpis.conformance.forms import forms
from cpis.conformance.proxy import Proxy
from tests.cpis.openstack import small

pytestmark = pytest.mark.walk

# Of some 1400 trials; all of them take minutes, and were run when this was written.
ONE_IN = 10


def test_no_fault_ends_wrong_or_leaves_anything(tmp_path: Path) -> None:
    time = Time()
    with contextlib.closing(small.start(tmp_path)) as stand_in, Proxy(tmp_path / "proxy") as proxy:
        config = {**stand_in.config_for(proxy.front(stand_in.endpoint)), "director": "tests"}
        with contextlib.closing(registry.load("openstack", config, clock=time.clock, sleep=time.sleep)) as cpi:
            trials = run(Target(cpi, stand_in.site(), proxy, forms("openstack", time.clock()), stand_in.resources), every=ONE_IN)
    wrong = [trial for trial in trials if trial.wrong or trial.leaked]
    assert not wrong
    assert counts(trials)["tried"] > 50
