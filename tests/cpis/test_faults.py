"""The fault suite finds what is wrong with a CPI, and nothing wrong with one that is right."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy

from cpis.cloud import faults as transport
from cpis.conformance import Site
from cpis.conformance.faults import Target, Time, Trial, counts, run
from cpis.conformance.forms import forms
from cpis.conformance.operations import OPERATIONS
from cpis.conformance.proxy import Proxy
from cpis.contract import CpiError, Login, Network, VmRequest

SITE = Site(
    networks=lambda number: (Network("default", ip=f"10.0.0.{10 + number}", gateway="10.0.0.1", default=("dns", "gateway")),),
    login=Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA", "secret"), vm_properties={"cpu": 1},
)


class NewTokens(toy.ToyCpi):
    """Gives each further try of a machine a token and address of its own, as where a cloud knows no tokens and nobody looks first."""

    def create_vm(self, request: VmRequest) -> Any:
        requests = [request]

        def attempt() -> Any:
            wanted = requests[-1]
            requests.append(dataclasses.replace(request, token=str(uuid.uuid4()), networks=(Network("default", "dynamic"),)))
            return self.post("create_vm", wanted)

        return self.calls_made("create_vm", attempt)


class LeavesCards(toy.ToyCpi):
    """Does not see the cards of machines that never came to be."""

    def find(self, token: str) -> Any:
        return self.ask("find", token)


class SaysNo(toy.ToyCpi):
    """Takes an error for an answer."""

    def has_vm(self, cid: str) -> bool:
        try:
            return bool(self.ask("has_vm", cid))
        except CpiError:
            return False


class Unexplained(toy.ToyCpi):
    """Lets errors of its library through."""

    def explain(self, what: str, error: Exception) -> CpiError:
        explained = super().explain(what, error)
        if explained.code == transport.LOST:
            raise error
        return explained


@pytest.fixture
def cloud() -> Iterator[toy.ToyCloud]:
    cloud = toy.ToyCloud()
    yield cloud
    cloud.close()


def tried(cloud: toy.ToyCloud, kind: type[toy.ToyCpi], folder: Path, every: int) -> list[Trial]:
    with Proxy(folder) as proxy:
        time = Time()
        target = Target(kind(proxy.front(cloud.url), time), SITE, proxy, toy.FORMS, cloud.resources)
        trials = run(target, every=every)
        assert not cloud.resources()
    return trials


@pytest.mark.walk
def test_a_careful_cpi_leaks_nothing(cloud: toy.ToyCloud, tmp_path: Path) -> None:
    trials = tried(cloud, toy.ToyCpi, tmp_path, every=3)
    assert {trial.operation for trial in trials} == {operation.name for operation in OPERATIONS} - {"create_vm on several networks"}
    assert not [trial for trial in trials if trial.wrong or trial.leaked]
    assert set(counts(trials)["ended"]) == {"Denied", "Throttled", "Unavailable", "right"}


@pytest.mark.walk
@pytest.mark.parametrize(
    ("kind", "operation", "what"),
    [
        (NewTokens, "create_vm", "leaked"), (LeavesCards, "create_vm", "leaked"),
        (SaysNo, "has_vm", "a machine that is there was said not to be"), (Unexplained, "create_disk", "no error of the contract"),
    ],
)
def test_a_careless_cpi_is_found_out(cloud: toy.ToyCloud, tmp_path: Path, kind: type[toy.ToyCpi], operation: str, what: str) -> None:
    with Proxy(tmp_path) as proxy:
        trials = run(Target(kind(proxy.front(cloud.url), Time()), SITE, proxy, toy.FORMS, cloud.resources),
                     [chosen for chosen in OPERATIONS if chosen.name == operation])
    texts = [f"{trial.wrong} {'leaked' if trial.leaked else ''}" for trial in trials]
    assert any(what in text for text in texts), texts


@pytest.mark.parametrize("cloud_type", ["aws", "azure", "gcp", "openstack", "vsphere"])
def test_each_cloud_has_its_forms(cloud_type: str) -> None:
    found = forms(cloud_type, 1_800_000_000.0)
    assert found.faulty
    assert found.denied
    if cloud_type != "vsphere":
        waits = [dict(answer.headers).get("Retry-After", "") for answer in found.throttled.values()]
        assert {"", "0", "2"} <= set(waits)
        assert any("GMT" in wait for wait in waits)


def test_of_a_long_sleep_little_is_slept() -> None:
    """Half minutes after refusals wait for nothing that a cloud does, even one that works in real time."""
    clock, began = Time(1.0, most=0.01), time.monotonic()
    started = clock.clock()
    clock.sleep(30.0)
    assert 30.0 <= clock.clock() - started < 40.0
    assert time.monotonic() - began < 10.0
