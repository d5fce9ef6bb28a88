"""The fake cloud passes the suite that every CPI passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpis.conformance import CASES, Case, Site, check
from cpis.contract import Cpi, Login, Network
from cpis.fake import FakeCpi


def site(again: Callable[[], Cpi] | None = None) -> Site:
    """All that the fake cloud has."""

    def network(name: str, number: int, **more: Any) -> Network:
        return Network(name, ip=f"10.{len(name)}.0.{10 + number}", gateway=f"10.{len(name)}.0.1", **more)

    return Site(
        networks=lambda number: (network("default", number, default=("dns", "gateway")),),
        several=lambda number: (network("b", number), network("default", number, default=("dns", "gateway"))),
        dynamic=lambda number: (Network("dynamic", "dynamic", default=("dns", "gateway")),),
        vip=lambda number: (network("default", number, default=("dns", "gateway")), Network("vip", "vip", ip="192.0.2.1")),
        login=Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA", "secret"),
        vm_properties={"cpu": 1, "ram": 512},
        again=again,
        unreachable=lambda: FakeCpi({"faults": [{"method": "*", "times": 1000}]}),
        skips={"address_outside_its_subnet": "the fake cloud has no subnets"},
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fake_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    config = {"state_file": str(tmp_path / "cloud.json")}
    (outcome,) = check(FakeCpi(config), site(lambda: FakeCpi(config)), [case])
    assert not outcome.detail, outcome.detail
    if outcome.skipped:
        pytest.skip(outcome.skipped)


def test_every_case_says_what_is_promised() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.promise.endswith(".") for case in CASES)


class Broken(FakeCpi):
    """A cloud that breaks one promise."""

    def __init__(self, method: str, instead: Callable[..., Any]) -> None:
        super().__init__()
        setattr(self, method, lambda *arguments: instead(self, *arguments))


@pytest.mark.parametrize(
    ("method", "instead", "case"),
    [
        ("has_vm", lambda cloud, cid: True, "vm_lives_and_dies"),
        ("delete_disk", lambda cloud, cid: cloud._resources.pop(cid, None), "attached_disk_is_safe"),
        ("resize_disk", lambda cloud, cid, size: None, "disk_grows_and_does_not_shrink"),
        ("find", lambda cloud, token: [], "vm_token_is_idempotent"),
        ("owned", lambda cloud: [], "everything_is_owned"),
    ],
)
def test_a_broken_cloud_is_found_out(method: str, instead: Callable[..., Any], case: str) -> None:
    (outcome,) = check(Broken(method, instead), site(), [next(chosen for chosen in CASES if chosen.name == case)])
    assert outcome.verdict == "broken"
