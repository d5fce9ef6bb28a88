"""What `caisson cloud check` is told of a vCenter."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cpis.conformance.clouds.vsphere import VsphereStandIn
from cpis.contract import Check, CloudChecker, Uses
from cpis.vsphere import VsphereCpi
from cpis.vsphere.checks import PRIVILEGES, Checks
from tests.cpis.vsphere.tools import intercepted

pytestmark = pytest.mark.walk
USES = Uses(
    azs={"z1": {"datacenters": [{"name": "DC0", "clusters": ["DC0_C0"]}]}, "z9": {"datacenters": [{"name": "DC0", "clusters": ["C9"]}]}},
    networks={"default/10.0.0.0/24": {"name": "VM Network"}, "other/10.1.0.0/24": {"name": "nope"}},
    vm_types={"small": {"cpu": 1, "ram": 512, "disk": 64}, "wrong": {"cpu": 1}},
    disk_types={"small": {}, "gone": {"datastores": ["nope"]}}, stemcell_cids=("stemcell-1", "DC0_C0_RP0_VM0 light"))


def by_name(checks: Any) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_all_that_is_named_is_looked_at(cpi: VsphereCpi) -> None:
    assert isinstance(cpi, CloudChecker)
    found = by_name(cpi.checks(USES))
    bad = {name for name, check in found.items() if not check.ok}
    assert bad == {"AZ z9", "network other/10.1.0.0/24", "vm_type wrong", "disk_type gone", "stemcell stemcell-1"}
    assert all(found[name].detail for name in bad)
    assert "GiB free" in found["datastores for machines"].detail
    assert "DC0_C0" in found["AZ z9"].suggestion


def test_nothing_is_made(vcenter: VsphereStandIn, cpi: VsphereCpi) -> None:
    vcenter.forget_requests()
    list(cpi.checks(USES))
    reading = ("Retrieve", "Find", "CurrentTime", "HasPrivilege", "Login", "/sdk/")
    assert not [action for _, action in vcenter.requests() if not action.startswith(reading)]


def test_each_privilege_that_lacks_is_named(cpi: VsphereCpi) -> None:
    def without_clones(mo: Any, args: Any, call: Any) -> Any:
        return [privilege != "VirtualMachine.Provisioning.Clone" for privilege in args[2]]

    with intercepted(cpi, "HasPrivilegeOnEntity", without_clones):
        found = by_name(cpi.checks(Uses()))
    assert not found["VirtualMachine.Provisioning.Clone"].ok
    assert "docs/clouds/vsphere.md" in found["VirtualMachine.Provisioning.Clone"].suggestion
    assert found["Datastore.FileManagement"].ok
    assert {name for names in PRIVILEGES.values() for name in names} <= set(found)


def test_a_wrong_password_ends_the_checks(vcenter: VsphereStandIn) -> None:
    cpi = VsphereCpi({**vcenter.config, "password": "wrong"})
    checks = list(cpi.checks(USES))
    assert [(check.kind, check.ok) for check in checks] == [("reach", True), ("authenticate", False)]
    assert "Login failure" in checks[-1].detail
    cpi.close()


def test_a_clock_that_is_wrong(cpi: VsphereCpi) -> None:
    cpi.session.log_in()
    check = by_name(Checks(cpi.session, cpi._inventory, cpi._config, lambda: time.time() + 900).run(Uses()))["clock"]
    assert not check.ok
    assert "+900 s" in check.detail or "+899 s" in check.detail
