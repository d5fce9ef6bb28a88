"""The fake cloud passes the suite that every CPI passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cpis.conformance import CASES, Case, Site, check
from cpis.contract import Login, Network
from cpis.fake import FakeCpi

SITE = Site(
    networks=lambda number: (Network("default", ip=f"10.0.0.{10 + number}", gateway="10.0.0.1", default=("dns", "gateway")),),
    login=Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA", "secret"),
    vm_properties={"cpu": 1, "ram": 512},
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fake_keeps_the_contract(case: Case) -> None:
    (outcome,) = check(FakeCpi(), SITE, [case])
    assert outcome.held, outcome.detail


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
    outcomes = {outcome.case.name: outcome for outcome in check(Broken(method, instead), SITE)}
    assert not outcomes[case].held
