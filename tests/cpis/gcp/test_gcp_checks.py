"""`caisson cloud check`: what it looks at, and that it stops where nothing can follow."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from gcp_bench import Bench

from cpis.conformance.clouds.gcp import Fault
from cpis.contract import Check, CloudChecker, Uses
from cpis.gcp import GcpCpi
from cpis.gcp.checks import BALANCING, PERMISSIONS, UPLOADS

USES = Uses(
    azs={"z1": {"zone": "us-central1-a"}, "z2": {"zone": "us-central1-b"}},
    networks={"default/10.0.0.0/25": {"network_name": "caisson", "subnetwork_name": "caisson"}, "auto": {}},
    vm_types={"small": {"machine_type": "e2-small"}, "public": {"ephemeral_external_ip": True}},
    disk_types={"fast": {"type": "pd-ssd"}, "usual": {}},
    stemcell_cids=("projects/debian-cloud/global/images/debian-12-bookworm-v20261115",))


def _of(bench: Bench, uses: Uses = USES, cpi: GcpCpi | None = None) -> dict[str, Check]:
    return {check.name: check for check in (cpi or bench.cpi).checks(uses)}


def test_all_is_well(bench: Bench) -> None:
    assert isinstance(bench.cpi, CloudChecker)
    checks = _of(bench)
    assert [check for check in checks.values() if check.ok is not True] == []
    assert list(checks)[1].startswith("director@fake-project")
    assert {check.kind for check in checks.values()} == {
        "reach", "authenticate", "clock", "permission", "configuration", "quota", "network", "storage", "image"}
    assert checks["CPUS in us-central1"].detail == "0 of 1000 are used"
    assert not bench.there.resources(), "a check made something"
    assert {method for method, path in bench.there.requests() if "testIamPermissions" not in path} <= {"GET"}


def test_nothing_named_looks_at_the_configuration_only(bench: Bench) -> None:
    kinds = {check.kind for check in bench.again(zone=None).checks(Uses())}
    assert kinds == {"reach", "authenticate", "clock", "permission"}


def test_missing_permissions_are_named_one_by_one(bench: Bench) -> None:
    bench.there.cloud.denied |= {"compute.instances.create", "storage.buckets.create"}
    checks = _of(bench)
    assert [name for name, check in checks.items() if check.ok is False] == ["compute.instances.create"]
    upload = checks["upload of heavy stemcells"]
    assert upload.ok is None, "light stemcells do without"
    assert "storage.buckets.create" in upload.detail


def test_permissions_for_balancers_are_asked_for_where_they_are_needed(bench: Bench) -> None:
    assert "compute.targetPools.addInstance" not in _of(bench)
    uses = Uses(vm_types={"router": {"machine_type": "e2-small", "target_pool": "routers"}})
    assert set(BALANCING) <= set(_of(bench, uses))


def test_permissions_that_cannot_be_asked_for(bench: Bench) -> None:
    bench.there.cloud.faults.append(Fault(path="testIamPermissions", status=403, reason="accessNotConfigured", times=99))
    check = _of(bench)["permissions"]
    assert check.ok is None
    assert "cloudresourcemanager.googleapis.com" in check.suggestion


@pytest.mark.parametrize(("fault", "kind"), [
    (Fault(status=403, reason="forbidden", message="no", times=999), "authenticate"),
    (Fault(status=503, reason="backendError", message="no", times=999), "reach"),
    (Fault(status=404, reason="notFound", message="no such project", times=999), "configuration"),
    (Fault(status=200, page="<html><title>Hotel</title></html>", times=999), "reach"),
])
def test_nothing_follows_a_failed_beginning(bench: Bench, fault: Fault, kind: str) -> None:
    bench.there.cloud.faults.append(fault)
    checks = list(bench.cpi.checks(USES))
    assert [check.kind for check in checks if not check.ok] == [kind]
    assert len(checks) <= 2
    assert sum(bench.slept) < 60, "an operator waits for it"


def test_a_clock_that_is_wrong_is_told(bench: Bench) -> None:
    cpi = GcpCpi(bench.there.config, environ={}, clock=lambda: time.time() - 500.0)
    checks = _of(bench, cpi=cpi)
    cpi.close()
    assert checks["clock"].ok is False
    assert 495 <= int(re.findall(r"\d+", checks["clock"].detail)[0]) <= 505
    assert checks["zone us-central1-a"].ok, "what follows does not depend on it"


def test_wrong_credentials_are_told(bench: Bench) -> None:
    key = {**bench.there.config["json_key"], "client_email": "gone@x.iam.gserviceaccount.com"}
    (check,) = bench.again(json_key=key).checks(USES)
    assert (check.kind, check.ok) == ("authenticate", False)
    assert "account not found" in check.detail


def test_nobody_there(bench: Bench) -> None:
    (check,) = bench.again(endpoint="http://127.0.0.1:9").checks(USES)
    assert (check.kind, check.ok, check.name) == ("reach", False, "127.0.0.1:9")


@pytest.mark.parametrize(("uses", "failed"), [
    (Uses(azs={"z": {"zone": "mars-a"}}), {"zone mars-a", "quotas in mars"}),
    (Uses(networks={"n": {"network_name": "nothing"}}), {"network n: nothing"}),
    (Uses(networks={"n": {"network_name": "caisson", "subnetwork_name": "nothing"}}), {"network n: nothing in us-central1"}),
    (Uses(networks={"n/10.77.0.0/24": {"network_name": "caisson", "subnetwork_name": "caisson"}}),
     {"network n/10.77.0.0/24: caisson in us-central1"}),
    (Uses(vm_types={"v": {"machine_type": "e9-huge"}}), {"machine type v: e9-huge in us-central1-a"}),
    (Uses(vm_types={"v": {"cpu": 3, "ram": 1}}), {"machine type v"}),
    (Uses(disk_types={"d": {"type": "pd-golden"}}), {"disk type d: pd-golden in us-central1-a"}),
    (Uses(stemcell_cids=("projects/debian-cloud/global/images/gone",)), {"stemcell projects/debian-cloud/global/images/gone"}),
    (Uses(stemcell_cids=("stemcell-gone", "a/b")), {"stemcell stemcell-gone", "stemcell a/b"}),
])
def test_what_is_not_there_is_named(bench: Bench, uses: Uses, failed: set[str]) -> None:
    checks = _of(bench, uses)
    assert {name for name, check in checks.items() if check.ok is False} == failed
    assert all(checks[name].detail or checks[name].suggestion for name in failed)


def test_a_quota_that_is_used_up(bench: Bench) -> None:
    bench.there.world.things["regions/us-central1"]["quotas"][0].update(limit=8.0, usage=8.0)
    check = _of(bench)["CPUS in us-central1"]
    assert (check.ok, check.detail) == (False, "8 of 8 are used")
    assert "Quotas" in check.suggestion


def test_the_role_in_the_manual_is_what_is_checked() -> None:
    text = (Path(__file__).parents[3] / "docs" / "clouds" / "gcp.md").read_text()
    role = text.split("includedPermissions:")[1].split("```")[0]
    assert sorted(re.findall(r"- ([a-zA-Z.]+)", role)) == sorted({*PERMISSIONS, *BALANCING, *UPLOADS})
