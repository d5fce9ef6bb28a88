"""The suite that every CPI passes, and faults at every request, against the fake of Compute Engine."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
from gcp_images import archive

from cpis import registry
from cpis.conformance import CASES, Case, check
from cpis.conformance.clouds.gcp import GcpStandIn, start
from cpis.conformance.faults import Target, Time, run
from cpis.conformance.forms import forms
from cpis.conformance.operations import OPERATIONS, Operation
from cpis.conformance.proxy import Proxy


def _check(case: Case, stand_in: GcpStandIn) -> None:
    time = Time()
    with contextlib.closing(registry.load("gcp", stand_in.config, clock=time.clock, sleep=time.sleep)) as cpi:
        (outcome,) = check(cpi, stand_in.site(), [case])
    assert not outcome.detail, outcome.detail
    assert not stand_in.resources()
    if outcome.skipped:
        pytest.skip(outcome.skipped)


@pytest.mark.walk
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gcp_keeps_the_contract(case: Case, there: GcpStandIn) -> None:
    _check(case, there)


@pytest.mark.parametrize(
    "name", [
        "vm_lives_and_dies", "vm_token_is_idempotent", "vm_token_at_once_makes_one", "disk_survives_its_machine", "metadata_is_replaced",
        "address_conflict_leaves_nothing", "sizes_are_rounded_up", "everything_is_owned"])
def test_gcp_keeps_the_main_promises(name: str, there: GcpStandIn) -> None:
    _check(next(case for case in CASES if case.name == name), there)


@pytest.mark.walk
def test_operations_that_take_their_time(tmp_path: Path) -> None:
    """Each operation takes a fifth of a second; `wait` holds its answer so long, and nobody polls."""
    names = {"vm_lives_and_dies", "vm_token_at_once_makes_one", "disk_attaches_and_detaches", "one_address_to_two_machines_at_once"}
    with start(tmp_path, latency=0.2) as stand_in:
        with contextlib.closing(registry.load("gcp", stand_in.config)) as cpi:
            outcomes = check(cpi, stand_in.site(), [case for case in CASES if case.name in names])
        assert [outcome.detail for outcome in outcomes if outcome.detail] == []
        operations = [path for method, path in stand_in.requests() if "/operations/" in path]
        assert len(operations) == len(set(operations)), "an operation was asked for twice"


@pytest.mark.walk
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_gcp_bears_faults(operation: Operation, there: GcpStandIn, tmp_path: Path) -> None:
    """One in three faults of all at each request of each method: the right end, and nothing left. `make conformance` tries all.

    Stemcells are heavy ones here: of light ones nothing is made or deleted.
    """
    time = Time()
    site = there.site()
    if "stemcell" in operation.name:
        site = dataclasses.replace(site, image_path=str(archive(tmp_path)), stemcell_properties={})
    with Proxy(tmp_path / "proxy") as proxy:
        cpi = registry.load("gcp", there.config_for(proxy.front(there.endpoint)), clock=time.clock, sleep=time.sleep)
        with contextlib.closing(cpi):
            trials = run(Target(cpi, site, proxy, forms("gcp", time.clock()), there.resources), [operation], every=3)
    assert trials
    assert [f"{trial.request}, {trial.fault}: {trial.wrong} {trial.leaked}" for trial in trials if trial.wrong or trial.leaked] == []
