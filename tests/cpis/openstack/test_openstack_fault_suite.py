"""The fault suite against the FAKE services, in a time of its own: that faults end well, not that the real services are spoken to rightly.

Against the real ones it is part of `make conformance`, one fault in so many.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from cpis import registry
from cpis.conformance.__main__ import try_faults
from cpis.conformance.faults import Target, Time, Trial, counts, run
from cpis.conformance.forms import forms
from cpis.conformance.proxy import Proxy
from cpis.conformance.spoiled import sweep
from tests.cpis.openstack import small
from tests.cpis.test_clouds_faults import told

pytestmark = pytest.mark.walk

# Of some 1400 trials; all of them take minutes, and were run when this was written.
ONE_IN = 10
SPOILED_ONE_IN = 25


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


def tried(folder: Path, suite: Callable[..., list[Trial]], every: int) -> list[Trial]:
    """One in `every` trials of a suite, through a proxy, in a time of its own."""
    time = Time()
    with contextlib.closing(small.start(folder)) as stand_in, Proxy(folder / "proxy") as proxy:
        config = {**stand_in.config_for(proxy.front(stand_in.endpoint)), "director": "tests"}
        with contextlib.closing(registry.load("openstack", config, clock=time.clock, sleep=time.sleep)) as cpi:
            return suite(Target(cpi, stand_in.site(), proxy, forms("openstack", time.clock()), stand_in.resources), every=every)


def test_no_fault_ends_wrong_or_leaves_anything(tmp_path: Path) -> None:
    trials = tried(tmp_path, run, ONE_IN)
    assert not told(trials)
    assert counts(trials)["tried"] > 50


def test_no_spoiled_answer_ends_wrong_or_leaves_anything(tmp_path: Path) -> None:
    """Each with one field missing, empty or of another type; the other clouds' are in tests/cpis/test_spoiled_answers.py."""
    trials = tried(tmp_path, sweep, SPOILED_ONE_IN)
    assert not told(trials)
    assert len(trials) >= 15
