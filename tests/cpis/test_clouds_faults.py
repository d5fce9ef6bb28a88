"""Each cloud's CPI while its cloud is faulty, on its stand-in: a sample of all trials. `make conformance` makes all of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from cpis import registry
from cpis.conformance import proxy as faulty
from cpis.conformance.__main__ import standing_in, try_faults
from cpis.conformance.faults import Befall, Target, Time, Trial, run
from cpis.conformance.forms import forms
from cpis.conformance.operations import OPERATIONS
from cpis.conformance.proxy import Fault, Proxy
from cpis.conformance.standin import Skipped
from cpis.contract import Denied, Unavailable

pytestmark = pytest.mark.walk
# One in so many trials: what takes each stand-in some ten seconds.
SAMPLES = {"aws": 30, "azure": 60, "gcp": 15, "vsphere": 50}


def told(trials: list[Trial]) -> list[str]:
    return [f"{trial.operation} {trial.number} ({trial.request}), {trial.fault}: {trial.ended}; {trial.wrong} {trial.leaked}"
            for trial in trials if trial.wrong or trial.leaked]


@pytest.mark.parametrize("name", SAMPLES)
def test_faults_end_right_and_leak_nothing(name: str, tmp_path: Path) -> None:
    try:
        with standing_in(name, tmp_path) as stand_in:
            trials = try_faults(stand_in, tmp_path, SAMPLES[name])
    except Skipped as reason:
        pytest.skip(str(reason))
    assert len(trials) >= 20
    assert not told(trials)


def test_what_is_not_vcenter_is_not_believed(tmp_path: Path) -> None:
    """A page with status 200 says nothing of machines, and a session that ends at once is no reason to log in for ever."""
    expired = forms("vsphere", 0.0).expired["NotAuthenticated"]
    ended = Fault("expired", effect=False, answer=expired)
    befalls = [Befall(faulty.PORTAL, 0, (Unavailable,), "/sdk"), Befall(ended, 0, (Denied,), "/sdk")]
    time = Time()
    try:
        with standing_in("vsphere", tmp_path) as stand_in, Proxy(tmp_path / "proxy") as proxy:
            cpi = registry.load("vsphere", stand_in.config_for(proxy.front(stand_in.endpoint)), clock=time.clock, sleep=time.sleep)
            with contextlib.closing(cpi):
                target = Target(cpi, stand_in.site(), proxy, forms("vsphere", 0.0), stand_in.resources)
                trials = run(target, [found for found in OPERATIONS if found.name in ("has_vm", "has_disk", "get_disks")], befalls)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert not told(trials)
    assert {(trial.fault, trial.ended) for trial in trials} == {("200 in HTML, for ever", "Unavailable"), ("expired, for ever", "Denied")}
