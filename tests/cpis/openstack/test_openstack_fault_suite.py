"""The fault suite against the FAKE services, in a time of its own: that faults end well, not that the real services are spoken to rightly.

Against the real ones it is part of `make conformance`, one fault in so many.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from cpis import registry
from cpis.conformance.__main__ import try_faults
from cpis.conformance.faults import Target, Time, Trial, counts, run
from cpis.conformance.forms import forms
from cpis.conformance.proxy import Proxy
from tests.cpis.openstack import small

pytestmark = pytest.mark.walk

# Of some 1400 trials; all of them take minutes, and were run when this was written.
ONE_IN = 10


def test_what_is_asked_for_wins_over_the_usual_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real services take some ten seconds for a trial: one in fifty, unless somebody has the time."""
    asked: list[int] = []

    def note(target: Target, report: object, *, every: int) -> list[Trial]:
        asked.append(every)
        return []

    monkeypatch.setattr("cpis.conformance.__main__.run", note)
    with contextlib.closing(small.start(tmp_path)) as stand_in:
        for every in (None, 3):
            try_faults(stand_in, tmp_path, every)
    assert asked == [50, 3]


def test_no_fault_ends_wrong_or_leaves_anything(tmp_path: Path) -> None:
    time = Time()
    with contextlib.closing(small.start(tmp_path)) as stand_in, Proxy(tmp_path / "proxy") as proxy:
        config = {**stand_in.config_for(proxy.front(stand_in.endpoint)), "director": "tests"}
        with contextlib.closing(registry.load("openstack", config, clock=time.clock, sleep=time.sleep)) as cpi:
            trials = run(Target(cpi, stand_in.site(), proxy, forms("openstack", time.clock()), stand_in.resources), every=ONE_IN)
    wrong = [trial for trial in trials if trial.wrong or trial.leaked]
    assert not wrong
    assert counts(trials)["tried"] > 50
