"""`caisson cloud check` says what is missing, and makes nothing. Against the FAKE services."""

from __future__ import annotations

from typing import Any

import pytest

from cpis.contract import CloudChecker, Uses
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.conftest import Time, made
from tests.cpis.openstack.fake_services import NETWORK, FakeServices, Fault

pytestmark = pytest.mark.walk


def verdicts(cpi: OpenStackCpi, uses: Uses = Uses()) -> dict[str, tuple[bool | None, str]]:  # noqa: B008
    return {check.name: (check.ok, f"{check.detail} {check.suggestion}") for check in cpi.checks(uses)}


def test_all_is_well(services: FakeServices, cpi: OpenStackCpi) -> None:
    image = services.make("images", name="debian", tags=[], status="active")
    uses = Uses(
        azs={"z1": {"availability_zone": "nova"}}, networks={"default/10.0.0.0/24": {"net_id": NETWORK, "security_groups": ["web"]}},
        vm_types={"small": {"instance_type": "small", "security_groups": ["db"], "loadbalancer_pools": [{"name": "web", "port": 80}]}},
        disk_types={"small": {"type": "fast"}}, stemcell_cids=(f"{image['id']} light",))
    assert isinstance(cpi, CloudChecker)
    found = verdicts(cpi, uses)
    # The fake's clock stands at 2030.
    assert {name for name, (ok, _) in found.items() if not ok} == {"clock"}
    assert {
        "keystone login", "Nova", "Glance", "Neutron", "Cinder", "Nova's version", "role in the project", "quota of instances",
        "quota of ports", "availability zone nova", "network default/10.0.0.0/24", "vm type small", "disk type small",
        f"stemcell {image['id']} light"} <= set(found)
    assert {method for method, path in services.log if not path.startswith("/identity")} == {"GET"}


def test_each_thing_missing_is_named(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.limits = {"maxTotalInstances": 2, "totalInstancesUsed": 2}
    uses = Uses(
        azs={"z1": {"availability_zone": "nowhere"}},
        networks={"a": {"net_id": "net-9"}, "b": {"net_id": NETWORK, "security_groups": ["x"]}},
        vm_types={
            "a": {"instance_type": "smal"}, "b": {"instance_type": "bad-eph"}, "c": {"loadbalancer_pools": [{"name": "x", "port": 1}]}},
        disk_types={"a": {"type": "slow"}}, stemcell_cids=("nothing light",))
    bad = {name: text for name, (ok, text) in verdicts(cpi, uses).items() if not ok}
    for name, words in {
        "availability zone nowhere": "known: nova", "network a": "not be found", "network b": "no security group 'x'",
        "vm type a": "no flavor 'smal'", "vm type b": "needs 8 GiB", "vm type c": "no load balancer pool 'x'",
        "disk type a": "no volume type 'slow'", "stemcell nothing light": "could not be found", "quota of instances": "2 of 2 used, 0 left",
    }.items():
        assert words in bad[name]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [(Fault("identity", answer=(401, {"error": {"code": 401, "message": "requires authentication"}}, {}), times=9), "authenticate",
      "requires authentication"),
     (Fault("identity", answer=(503, b"<html><h1>503 away</h1></html>", {}), times=9), "reach", "503 away")],
)
def test_nothing_more_after_a_failed_login(services: FakeServices, cpi: OpenStackCpi, fault: Fault, kind: str, words: str) -> None:
    services.faults = [fault]
    *before, check = cpi.checks(Uses())
    assert [(item.kind, item.ok) for item in before] == ([("reach", True)] if kind == "authenticate" else [])
    assert (check.kind, check.ok) == (kind, False)
    assert words in check.detail


@pytest.mark.parametrize(("version", "words"), [("2.9999", "not supported"), ("2.40", "too old")])
def test_versions_of_nova(services: FakeServices, times: Time, version: str, words: str) -> None:
    body: Any = {"computeFault": {"code": 406, "message": f"Version {version} is not supported by the API."}}
    if version == "2.9999":
        services.faults = [Fault("GET /compute/flavors", answer=(406, body, {}), skip=1)]
    cpi = made(services, times, compute_microversion=version)
    ok, text = verdicts(cpi)["Nova's version"]
    assert ok is False
    assert words in text
    cpi.close()
