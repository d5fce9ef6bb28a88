"""What the fake cloud can be told to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpis.contract import Conflict, DiskRequest, Invalid, Login, Network, Quota, Throttled, Unavailable, VmRequest
from cpis.fake import FakeCpi
from cpis.registry import load


def request(token: str, ip: str = "10.0.0.5", stemcell: str = "stemcell-000001") -> VmRequest:
    login = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA", "secret")
    return VmRequest(token, "agent", stemcell, {}, (Network("default", ip=ip, gateway="10.0.0.1"),), login)


def test_latency_goes_through_the_given_sleep() -> None:
    slept: list[float] = []
    cpi = FakeCpi({"latency": {"create_vm": 2.5, "default": 0.5}}, sleep=slept.append)
    cpi.create_stemcell("", {}, "s")
    cpi.create_vm(request("a"))
    assert slept == [0.5, 2.5]


def test_limits_raise_quota_with_figures() -> None:
    cpi = FakeCpi({"limits": {"disks": 1}})
    cpi.create_disk(DiskRequest("a", 10))
    with pytest.raises(Quota) as caught:
        cpi.create_disk(DiskRequest("b", 10))
    assert (caught.value.limit, caught.value.used, caught.value.temporary) == ("1", "1", False)
    assert cpi.create_disk(DiskRequest("a", 10)), "what exists needs no quota"


def test_a_fault_before_the_effect_leaves_nothing() -> None:
    cpi = FakeCpi({"faults": [{"method": "create_disk", "error": "Throttled", "retry_after_seconds": 3.0}]})
    with pytest.raises(Throttled) as caught:
        cpi.create_disk(DiskRequest("a", 10))
    assert caught.value.temporary
    assert caught.value.retry_after_seconds == 3.0
    assert not cpi.find("a")
    cpi.create_disk(DiskRequest("a", 10))


def test_a_fault_after_the_effect_loses_only_the_answer() -> None:
    """Row 4 of the reference's table: the next call with the token finds it, and exactly one exists."""
    cpi = FakeCpi({"faults": [{"method": "create_vm", "when": "after"}]})
    cpi.create_stemcell("", {}, "s")
    with pytest.raises(Unavailable):
        cpi.create_vm(request("a"))
    (lost,) = cpi.find("a")
    assert cpi.create_vm(request("a")).cid == lost.cid
    assert [found.kind for found in cpi.owned()].count("vm") == 1


def test_faults_are_counted_by_method_or_over_all() -> None:
    cpi = FakeCpi({"faults": [{"method": "has_disk", "nth": 2, "times": 2, "error": "Denied"}]})
    held = []
    for _ in range(4):
        try:
            cpi.has_disk("x")
            held.append(True)
        except Exception:
            held.append(False)
    assert held == [True, False, False, True]
    assert cpi.calls == {"has_disk": 4}


@pytest.mark.parametrize("fault", [{"method": "x", "error": "NoSuchError"}, {"method": "x", "when": "sometimes"}])
def test_a_wrong_fault_is_refused(fault: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        FakeCpi({"faults": [fault]})


@pytest.mark.parametrize("key", ["state_file", "state_dir"])
def test_the_cloud_outlives_the_director(tmp_path: Path, key: str) -> None:
    config = {key: str(tmp_path / "cloud")}
    first = FakeCpi(config, clock=lambda: 7.0)
    first.create_stemcell("", {}, "s")
    vm = first.create_vm(request("a"))
    second = FakeCpi(config)
    assert second.has_vm(vm.cid)
    assert second.create_vm(request("a")) == vm
    with pytest.raises(Conflict):
        second.create_vm(request("b"))


def test_what_the_cloud_does_by_itself() -> None:
    cpi = FakeCpi()
    cpi.create_stemcell("", {}, "s")
    vm, disk = cpi.create_vm(request("a")), cpi.create_disk(DiskRequest("d", 10))
    cpi.attach_disk(vm.cid, disk)
    cpi.vanish(vm.cid)
    assert not cpi.has_vm(vm.cid)
    cpi.delete_disk(disk)


def test_the_registry_knows_its_clouds() -> None:
    assert load("fake", {}).name == "fake"
    with pytest.raises(Invalid) as caught:
        load("lcoal", {})
    assert "local" in caught.value.suggestion


def test_secrets_are_in_no_repr() -> None:
    assert "secret" not in repr(request("a"))
