"""Machines on Azure beyond the suite: what is asked for, what is sent, and that nothing is left when it fails."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpis.azure import AzureCpi, bodies, checks
from cpis.conformance.certificate import self_signed
from cpis.conformance.clouds.azure import PUBLIC_ADDRESS, AzureStandIn, Fault
from cpis.conformance.clouds.azure.server import serve
from cpis.conformance.clouds.azure.store import Tree
from cpis.conformance.faults import Time
from cpis.contract import (
    Conflict,
    CpiError,
    Denied,
    DiskHint,
    DiskRequest,
    Invalid,
    Network,
    NoCapacity,
    NotFound,
    Quota,
    Unavailable,
    Uses,
    Vm,
    VmRequest,
    VmResources,
)

pytestmark = pytest.mark.walk

IMAGE = "image:Debian:debian-12:12-gen2:0.20251006.2257"
GROUP = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/caisson/providers"


def request(azure: AzureStandIn, token: str = "vm-1", **more: Any) -> VmRequest:
    site = azure.site()
    properties = {"instance_type": "Standard_D2s_v5", **more.pop("properties", {})}
    base = VmRequest(token, "agent-1", IMAGE, properties, site.networks(0), site.login, metadata={"deployment": "d", "name": "web/0"})
    return dataclasses.replace(base, **more)


def machine(azure: AzureStandIn, token: str = "vm-1") -> Tree:
    return azure.store.get(f"{GROUP}/Microsoft.Compute/virtualMachines/{token}")


def nic(azure: AzureStandIn, token: str = "vm-1", number: int = 0) -> Tree:
    return azure.store.get(f"{GROUP}/Microsoft.Network/networkInterfaces/{token}-nic-{number}")


# What is sent

def test_few_requests_make_a_machine(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """A look, an interface, the machine; and looks at the operation. What is the same for all machines is asked once."""
    cpi.create_vm(request(azure))
    azure.forget_requests()
    cpi.create_vm(request(azure, "vm-2", networks=azure.site().networks(1)))
    seen = [(method, path.rsplit("/providers/", 1)[-1].split("/")[1]) for method, path in azure.requests()]
    assert seen[:3] == [("GET", "virtualMachines"), ("PUT", "networkInterfaces"), ("PUT", "virtualMachines")]
    assert set(seen[3:]) == {("GET", "operations")}


def test_user_data_and_key_reach_the_machine(azure: AzureStandIn, cpi: AzureCpi) -> None:
    cpi.create_vm(request(azure))
    made = machine(azure)
    config = json.loads(base64.b64decode(made["_secrets"]["customData"]).decode().partition("\n")[2])
    login = azure.site().login
    assert config["users"][0]["name"] == "caisson"
    assert config["ssh_keys"]["ed25519_private"].strip() == login.host_private_key
    profile = made["properties"]["osProfile"]
    assert profile["linuxConfiguration"] == {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [
        {"path": "/home/caisson/.ssh/authorized_keys", "keyData": login.public_key}]}}
    assert "adminPassword" not in profile


def test_agents_of_bosh_read_their_settings(azure: AzureStandIn, cpi: AzureCpi) -> None:
    login = dataclasses.replace(azure.site().login, agent_settings='{"agent_id": "a"}')
    vm = cpi.create_vm(request(azure, login=login))
    assert base64.b64decode(machine(azure)["_secrets"]["customData"]) == b'{"agent_id": "a"}'
    assert vm.ephemeral_disk == DiskHint("/dev/disk/azure/scsi1/lun0", "0")


def test_everything_carries_token_and_mark(azure: AzureStandIn, cpi: AzureCpi) -> None:
    cpi.create_vm(request(azure, properties={
        "ephemeral_disk": {"size": 10240}, "assign_dynamic_public_ip": True, "tags": {"cost": "4711"}}))
    kinds = set()
    for kind, identity in azure.resources():
        tags = azure.store.get(identity)["tags"]
        assert tags["caisson-token"] == "vm-1"
        assert tags["director"] == "caisson"
        assert tags["cost"] == "4711"
        kinds.add(kind)
    assert kinds == {"virtualMachines", "networkInterfaces", "disks", "publicIPAddresses"}
    (found,) = cpi.find("vm-1")
    assert (found.kind, found.cid) == ("vm", "agent_id:vm-1;resource_group_name:caisson")
    (owned,) = cpi.owned()
    assert owned.cid == found.cid
    assert owned.created_at is not None
    cpi.set_vm_metadata(found.cid, {"deployment": "two"})
    assert machine(azure)["tags"]["cost"] == "4711"


@pytest.mark.parametrize(("properties", "path", "value"), [
    ({"availability_zone": 2}, "zones", ["2"]),
    ({"spot": True}, "properties.priority", "Spot"),
    ({"spot": True, "spot_max_price": 0.02}, "properties.billingProfile.maxPrice", 0.02),
    ({"root_disk": {"size": 40000}}, "properties.storageProfile.osDisk.diskSizeGB", 40),
    ({"root_disk": {"type": "Premium_LRS"}}, "properties.storageProfile.osDisk.managedDisk.storageAccountType", "Premium_LRS"),
    ({"storage_account_type": "Standard_LRS"}, "properties.storageProfile.osDisk.managedDisk.storageAccountType", "Standard_LRS"),
    ({"root_disk": {"placement": "cache-disk"}}, "properties.storageProfile.osDisk.diffDiskSettings",
     {"option": "Local", "placement": "CacheDisk"}),
    ({"root_disk": {"disk_encryption_set_name": "keys"}}, "properties.storageProfile.osDisk.managedDisk.diskEncryptionSet.id",
     f"{GROUP}/Microsoft.Compute/diskEncryptionSets/keys"),
    ({"caching": "None"}, "properties.storageProfile.osDisk.caching", "None"),
    ({"managed_identity": {"type": "SystemAssigned"}}, "identity", {"type": "SystemAssigned"}),
    ({"managed_identity": {"type": "UserAssigned", "user_assigned_identity_name": "machine-identity"}}, "identity",
     {"type": "UserAssigned",
      "userAssignedIdentities": {f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/machine-identity": {}}}),
    ({"capacity_reservation_group": "kept-machines"}, "properties.capacityReservation.capacityReservationGroup.id",
     f"{GROUP}/Microsoft.Compute/capacityReservationGroups/kept-machines"),
    ({"capacity_reservation_group_id": "/subscriptions/x"}, "properties.capacityReservation.capacityReservationGroup.id",
     "/subscriptions/x"),
])
def test_property_reaches_the_machine(azure: AzureStandIn, cpi: AzureCpi, properties: dict[str, Any], path: str, value: Any) -> None:
    cpi.create_vm(request(azure, properties=properties))
    found: Any = machine(azure)
    for key in path.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize(("properties", "of_network", "path", "value"), [
    ({}, {}, "networkSecurityGroup.id", "networkSecurityGroups/caisson-machines"),
    ({"security_group": {"name": "shared-machines", "resource_group_name": "shared"}}, {}, "networkSecurityGroup.id",
     "networkSecurityGroups/shared-machines"),
    ({"ip_forwarding": True}, {"ip_forwarding": False}, "enableIPForwarding", True),
    ({}, {"ip_forwarding": True}, "enableIPForwarding", True),
    ({}, {"accelerated_networking": True}, "enableAcceleratedNetworking", True),
    ({"application_security_groups": ["web"]}, {"application_security_groups": ["all"]},
     "ipConfigurations.0.properties.applicationSecurityGroups", ["applicationSecurityGroups/web"]),
    ({}, {"application_security_groups": ["web", "all"]}, "ipConfigurations.0.properties.applicationSecurityGroups",
     ["applicationSecurityGroups/web", "applicationSecurityGroups/all"]),
    ({"load_balancer": "front"}, {}, "ipConfigurations.0.properties.loadBalancerBackendAddressPools",
     ["loadBalancers/front/backendAddressPools/pool"]),
    ({"load_balancer": {"name": "front", "backend_pool_name": "other"}}, {},
     "ipConfigurations.0.properties.loadBalancerBackendAddressPools", ["loadBalancers/front/backendAddressPools/other"]),
    ({"load_balancer": ["front", {"name": "front", "backend_pool_name": "other"}]}, {},
     "ipConfigurations.0.properties.loadBalancerBackendAddressPools",
     ["loadBalancers/front/backendAddressPools/pool", "loadBalancers/front/backendAddressPools/other"]),
    ({"application_gateway": "gate"}, {}, "ipConfigurations.0.properties.applicationGatewayBackendAddressPools",
     ["applicationGateways/gate/backendAddressPools/gate-pool"]),
])
def test_property_reaches_the_interface(
    azure: AzureStandIn, cpi: AzureCpi, properties: dict[str, Any], of_network: dict[str, Any], path: str, value: Any,
) -> None:
    """Row 19: the machine's type wins over the network, and that over the default."""
    (network,) = azure.site().networks(0)
    network = dataclasses.replace(network, cloud_properties={**network.cloud_properties, **of_network})
    cpi.create_vm(request(azure, properties=properties, networks=(network,)))
    found: Any = nic(azure)["properties"]
    for key in path.split("."):
        found = found[int(key)] if key.isdigit() else found[key]
    if isinstance(value, list):
        assert [item["id"].split("Microsoft.Network/")[1] for item in found] == value
    elif isinstance(value, str):
        assert found.endswith(value)
    else:
        assert found is value


def test_gateways_network_is_primary(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 17."""
    networks = azure.site().several
    assert networks is not None
    vm = cpi.create_vm(request(azure, networks=networks(0)))
    assert [network.name for network in vm.networks] == ["other", "default"]
    assert nic(azure, number=0)["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] == "10.244.16.10"
    interfaces = machine(azure)["properties"]["networkProfile"]["networkInterfaces"]
    assert [item["properties"]["primary"] for item in interfaces] == [True, False]
    assert vm.ssh_address == "10.244.16.10"


def test_public_address_is_made_and_goes_with_the_machine(azure: AzureStandIn, clock: Time) -> None:
    cpi = AzureCpi({**azure.config, "ssh_over_public": True}, clock=clock.clock, sleep=clock.sleep)
    vm = cpi.create_vm(request(azure, properties={"assign_dynamic_public_ip": True}))
    assert vm.ssh_address.startswith("52.166.0.")
    assert cpi.create_vm(request(azure, properties={"assign_dynamic_public_ip": True})) == vm
    cpi.delete_vm(vm.cid)
    assert not azure.resources()
    cpi.close()


def test_floating_address_is_found_on_the_second_page(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 25."""
    azure.store.switches.page_size = 1
    cpi.create_vm(request(azure, properties={"assign_dynamic_public_ip": True}))
    networks = (*azure.site().networks(1), Network("vip", "vip", ip=PUBLIC_ADDRESS))
    azure.store.resources = dict(reversed(azure.store.resources.items()))
    cpi.create_vm(request(azure, "vm-2", networks=networks))
    assert nic(azure, "vm-2")["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"]["id"].lower().endswith("/kept")
    assert {found.token for found in cpi.owned()} == {"vm-1", "vm-2"}


def test_availability_set_is_made_and_goes_when_empty(azure: AzureStandIn, cpi: AzureCpi) -> None:
    wanted = {"availability_set": "web", "platform_fault_domain_count": 3}
    vms = [cpi.create_vm(request(azure, f"vm-{number}", properties=wanted, networks=azure.site().networks(number))) for number in (1, 2)]
    path = f"{GROUP}/Microsoft.Compute/availabilitySets/web"
    assert azure.store.get(path)["properties"]["platformFaultDomainCount"] == 3
    assert {machine(azure, f"vm-{number}")["properties"]["availabilitySet"]["id"] for number in (1, 2)} == {path}
    cpi.delete_vm(vms[0].cid)
    assert azure.store.find(path)
    cpi.delete_vm(vms[1].cid)
    assert not azure.resources()


def test_ephemeral_disk_with_a_speed_is_made_before(azure: AzureStandIn, cpi: AzureCpi) -> None:
    own = {"size": 10240, "type": "PremiumV2_LRS", "iops": 4000, "mbps": 200, "caching": "None"}
    vm = cpi.create_vm(request(azure, properties={"ephemeral_disk": own}))
    disk = azure.store.get(f"{GROUP}/Microsoft.Compute/disks/vm-1-ephemeral")
    assert disk["properties"]["diskIOPSReadWrite"] == 4000
    assert machine(azure)["properties"]["storageProfile"]["dataDisks"][0]["lun"] == 0
    assert not cpi.get_disks(vm.cid)
    cpi.delete_vm(vm.cid)
    assert not azure.resources()


# What is refused, and what fails

BAD: list[tuple[dict[str, Any], type[CpiError], str]] = [
    ({"instance_type": None}, Invalid, "instance_type"),
    ({"availability_zone": "1", "availability_set": "web"}, Invalid, "availability_set"),
    ({"availability_zone": "7"}, Invalid, "availability_zone"),
    ({"instance_typ": "x"}, Invalid, "instance_type"),
    ({"root_disk": {"siz": 1}}, Invalid, "root_disk.siz"),
    ({"root_disk": {"size": 0}}, Invalid, "root_disk.size"),
    ({"managed_identity": {"type": "UserAssigned"}}, Invalid, "user_assigned_identity_name"),
    ({"instance_type": "Standard_Nothing"}, Invalid, "Standard_Nothing"),
    ({"instance_type": "Standard_E16s_v5", "availability_zone": "3"}, NoCapacity, "zone '3'"),
    ({"load_balancer": "absent"}, NotFound, "absent"),
    ({"application_security_groups": ["absent"]}, Invalid, "absent"),
    ({"security_group": "absent"}, Invalid, "absent"),
    ({"root_disk": {"disk_encryption_set_name": "absent"}}, NotFound, "absent"),
    ({"managed_identity": {"type": "UserAssigned", "user_assigned_identity_name": "absent"}}, NotFound, "absent"),
    ({"resource_group_name": "absent"}, NotFound, "absent"),
]


@pytest.mark.parametrize(("properties", "kind", "word"), BAD, ids=lambda value: str(value)[:40] if isinstance(value, dict) else None)
def test_wrong_property_leaves_nothing(
    azure: AzureStandIn, cpi: AzureCpi, properties: dict[str, Any], kind: type[CpiError], word: str,
) -> None:
    wanted = {key: value for key, value in {"instance_type": "Standard_D2s_v5", **properties}.items() if value is not None}
    with pytest.raises(kind) as caught:
        cpi.create_vm(request(azure, cloud_properties=wanted))
    assert word in f"{caught.value} {caught.value.suggestion}"
    assert not azure.resources()


@pytest.mark.parametrize(("change", "kind", "word"), [
    ({"virtual_network_name": "absent"}, NotFound, "absent"), ({"subnet_name": "absent"}, NotFound, "machines"),
    ({"subnet_name": None}, Invalid, "subnet_name"), ({"subnet_nam": "x"}, Invalid, "subnet_name"),
])
def test_wrong_network_leaves_nothing(azure: AzureStandIn, cpi: AzureCpi, change: dict[str, Any], kind: type[CpiError], word: str) -> None:
    (network,) = azure.site().networks(0)
    properties = {key: value for key, value in {**network.cloud_properties, **change}.items() if value is not None}
    with pytest.raises(kind) as caught:
        cpi.create_vm(request(azure, networks=(dataclasses.replace(network, cloud_properties=properties),)))
    assert word in f"{caught.value} {caught.value.suggestion}"
    assert not azure.resources()


@pytest.mark.parametrize("user", ["root", "admin", "Guest"])
def test_forbidden_administrator_is_refused_before_anything_is_asked(azure: AzureStandIn, cpi: AzureCpi, user: str) -> None:
    with pytest.raises(Invalid, match=user):
        cpi.create_vm(request(azure, login=dataclasses.replace(azure.site().login, user=user)))
    assert not azure.requests()


@pytest.mark.parametrize("ip", ["10.244.16.1", "10.244.16.3", "10.244.16.255", "10.9.0.4"])
def test_reserved_or_foreign_address_is_invalid(azure: AzureStandIn, cpi: AzureCpi, ip: str) -> None:
    (network,) = azure.site().networks(0)
    with pytest.raises(Invalid, match=ip):
        cpi.create_vm(request(azure, networks=(dataclasses.replace(network, ip=ip),)))
    assert not azure.resources()


@pytest.mark.parametrize(("code", "message", "kind"), [
    ("AllocationFailed", "We do not have sufficient capacity.", NoCapacity), ("OSProvisioningTimedOut", "OS Provisioning", Unavailable),
    ("OperationNotAllowed", "exceeding approved Cores quota. Current Limit: 4, Current Usage: 4", Quota),
    ("ImageNotFound", "The image has no replica here.", NotFound),
])
def test_late_failure_is_cleaned_up(azure: AzureStandIn, cpi: AzureCpi, code: str, message: str, kind: type[CpiError]) -> None:
    """Section 7.4 and row 33: 201, and then it fails; interfaces stay reserved for a while."""
    azure.store.switches.nic_reserved_seconds = 180.0
    azure.store.faults.append(Fault("PUT", "virtualMachines/vm-1$", "late", code=code, message=message))
    with pytest.raises(kind, match=message.split(".")[0]) as caught:
        cpi.create_vm(request(azure, properties={"ephemeral_disk": {"size": 1024}, "assign_dynamic_public_ip": True}))
    assert caught.value.code == code
    assert not azure.resources()


def test_next_size_is_taken_when_there_are_none_left(azure: AzureStandIn, cpi: AzureCpi) -> None:
    azure.store.faults.append(Fault("PUT", "virtualMachines/vm-1$", "late", code="AllocationFailed", message="no"))
    properties = {"instance_types": ["Standard_B2s", "Standard_D4s_v5"]}
    cpi.create_vm(request(azure, cloud_properties=properties))
    assert machine(azure)["properties"]["hardwareProfile"]["vmSize"] == "Standard_D4s_v5"
    assert len([item for item in azure.resources() if item[0] == "virtualMachines"]) == 1


def test_quota_tells_the_numbers(azure: AzureStandIn, cpi: AzureCpi) -> None:
    azure.store.switches.cores_quota = 1
    with pytest.raises(Quota) as caught:
        cpi.create_vm(request(azure))
    assert (caught.value.limit, caught.value.used) == ("1", "0")
    assert caught.value.request_id
    assert not azure.resources()


def test_failed_clean_up_is_told_too(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 3: both errors, and the token by which the sweep finds what is left."""
    azure.store.faults += [
        Fault("PUT", "virtualMachines/vm-1$", "late", code="AllocationFailed", message="no machines"),
        Fault("DELETE", "virtualMachines/vm-1$", status=403, code="AuthorizationFailed", message="not allowed to delete")]
    with pytest.raises(NoCapacity) as caught:
        cpi.create_vm(request(azure))
    assert all(word in str(caught.value) for word in ("no machines", "not allowed to delete", "vm-1"))
    assert [found.cid for found in cpi.find("vm-1")] == ["agent_id:vm-1;resource_group_name:caisson"]
    cpi.create_vm(request(azure))
    assert machine(azure)["properties"]["provisioningState"] == "Succeeded"


def test_failed_machine_can_be_kept_for_a_look(azure: AzureStandIn, clock: Time) -> None:
    cpi = AzureCpi({**azure.config, "keep_failed_vms": True}, clock=clock.clock, sleep=clock.sleep)
    azure.store.faults.append(Fault("PUT", "virtualMachines/vm-1$", "late", code="OSProvisioningTimedOut", message="slow"))
    with pytest.raises(Unavailable):
        cpi.create_vm(request(azure))
    assert azure.resources()
    cpi.delete_vm("agent_id:vm-1;resource_group_name:caisson")
    assert not azure.resources()
    cpi.close()


@pytest.mark.parametrize("path", ["networkInterfaces/vm-1-nic-0$", "virtualMachines/vm-1$"])
@pytest.mark.parametrize("how", ["lost", "before", "html", "cut"])
def test_lost_answer_makes_one_machine(azure: AzureStandIn, cpi: AzureCpi, path: str, how: str) -> None:
    """Row 4."""
    azure.store.faults.append(Fault("PUT", path, how, status=502))
    vm = cpi.create_vm(request(azure))
    assert cpi.create_vm(request(azure)) == vm
    kinds = [kind for kind, _ in azure.resources()]
    assert sorted(kinds) == ["disks", "networkInterfaces", "virtualMachines"]


def test_half_made_machine_is_found_and_finished(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """A director that died between interface and machine: found by name though the list by tag is old, and made whole."""
    azure.store.switches.listing_lags = 3600.0
    cpi.owned()
    azure.store.faults += [
        Fault("PUT", "virtualMachines/vm-1$", "before", times=99),
        Fault("DELETE", "networkInterfaces", status=403, code="AuthorizationFailed")]
    with pytest.raises(CpiError):
        cpi.create_vm(request(azure))
    azure.store.faults.clear()
    assert [found.kind for found in cpi.find("vm-1")] == ["vm"]
    cpi.create_vm(request(azure))
    cpi.delete_vm(cpi.find("vm-1")[0].cid)
    assert not cpi.find("vm-1")
    assert not azure.resources()


def test_has_vm_never_says_no_for_a_faulty_cloud(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 6; a page of a proxy with the status 404 counts as faulty."""
    vm = cpi.create_vm(request(azure))
    path = "virtualMachines/vm-1$"
    for fault in (Fault("GET", path, status=503, times=99), Fault("GET", path, "html", 404, times=99)):
        azure.store.faults = [fault]
        with pytest.raises(Unavailable):
            cpi.has_vm(vm.cid)
    azure.store.faults.clear()
    assert cpi.has_vm(vm.cid)


def test_throttled_for_ten_minutes_is_late_not_failed(
    azure: AzureStandIn, cpi: AzureCpi, clock: Time, caplog: pytest.LogCaptureFixture,
) -> None:
    """Rows 22 and 23."""
    caplog.set_level("INFO", "cpis")
    retry = [{"Retry-After": "120"}, {"Retry-After": "0"}, {}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}]
    azure.store.faults += [
        Fault("PUT", "virtualMachines/vm-1$", status=429, code="TooManyRequests", message="slow down", headers=headers, times=times)
        for headers, times in zip(retry, (5, 1, 1, 1), strict=True)]
    before = clock.clock()
    cpi.create_vm(request(azure))
    assert clock.clock() - before > 600
    assert "TooManyRequests" in caplog.text


def test_token_that_ends_is_renewed(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 24."""
    vm = cpi.create_vm(request(azure))
    azure.arm.expire_tokens()
    assert cpi.has_vm(vm.cid)
    assert len(azure.arm.token_requests) == 2


@pytest.mark.parametrize(("change", "word"), [
    ({"client_secret": "wrong"}, "AADSTS7000215"), ({"client_id": "wrong"}, "AADSTS700016"), ({"tenant_id": "wrong"}, "AADSTS90002"),
    ({"subscription_id": "wrong"}, "SubscriptionNotFound"),
])
def test_wrong_account_is_denied(azure: AzureStandIn, clock: Time, change: dict[str, str], word: str) -> None:
    cpi = AzureCpi({**azure.config, **change}, clock=clock.clock, sleep=clock.sleep)
    with pytest.raises(Denied) as caught:
        cpi.create_vm(request(azure))
    assert word in f"{caught.value.code} {caught.value}"
    assert "s3cr3t" not in str(caught.value)
    assert not azure.resources()
    cpi.close()


def test_unreachable_cloud_is_unavailable(azure: AzureStandIn, clock: Time) -> None:
    cpi = AzureCpi(azure.config_for("http://127.0.0.1:9"), clock=clock.clock, sleep=clock.sleep)
    with pytest.raises(Unavailable):
        cpi.has_vm("vm-1")
    cpi.close()


@pytest.mark.parametrize("body", [
    {}, {"properties": None}, {"properties": {"ipConfigurations": []}}, {"properties": {"ipConfigurations": [{"properties": {}}]}},
])
def test_answer_of_another_form_is_an_error_of_the_contract(
    azure: AzureStandIn, cpi: AzureCpi, monkeypatch: pytest.MonkeyPatch, body: Tree,
) -> None:
    """Fields missing or of another type: nothing is left, and no stack trace comes out."""
    put = azure.arm.routes._resource

    def lies(method: str, path: str, *rest: Any) -> Any:
        status, tree, operation = put(method, path, *rest)
        return (status, body if method in ("PUT", "GET") and "networkInterfaces" in path else tree, operation)
    monkeypatch.setattr(azure.arm.routes, "_resource", lies)
    with pytest.raises(Unavailable):
        cpi.create_vm(request(azure))
    assert not azure.resources()


def test_reboot_starts_what_is_off(azure: AzureStandIn, cpi: AzureCpi) -> None:
    vm = cpi.create_vm(request(azure))
    machine(azure)["_power"] = "deallocated"
    cpi.reboot_vm(vm.cid)
    assert machine(azure)["_power"] == "running"
    assert ("POST", f"{GROUP}/Microsoft.Compute/virtualMachines/vm-1/start") in azure.requests()


def test_busy_machine_is_waited_for(azure: AzureStandIn, cpi: AzureCpi) -> None:
    vm = cpi.create_vm(request(azure))
    azure.store.faults.append(Fault("PATCH", "virtualMachines/vm-1$", status=409, code="AnotherOperationInProgress", times=3))
    cpi.set_vm_metadata(vm.cid, {"deployment": "new"})
    assert machine(azure)["tags"]["deployment"] == "new"


def test_address_of_a_machine_that_is_going_is_waited_for(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 21: while the old interface goes, not while it stays."""
    cpi.create_vm(request(azure))
    azure.store.switches.operation_seconds = 20.0
    with azure.store.lock:
        azure.arm.routes.answer("DELETE", f"{GROUP}/Microsoft.Compute/virtualMachines/vm-1", {"api-version": "x"}, {})
    made = cpi.create_vm(request(azure, "vm-2"))
    assert made.networks[0].ip == "10.244.16.10"
    with pytest.raises(Conflict, match=re.escape("10.244.16.10")):
        cpi.create_vm(request(azure, "vm-3"))


def test_deletion_needs_no_luck(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """What Azure did not delete with the machine is deleted by name."""
    vm = cpi.create_vm(request(azure, properties={"ephemeral_disk": {"size": 1024}}))
    made = machine(azure)
    made["properties"]["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] = "Detach"
    for disk in (made["properties"]["storageProfile"]["osDisk"], *made["properties"]["storageProfile"]["dataDisks"]):
        disk["deleteOption"] = "Detach"
    cpi.delete_vm(vm.cid)
    assert not azure.resources()


def test_deletion_that_is_not_certain_raises(azure: AzureStandIn, cpi: AzureCpi) -> None:
    vm = cpi.create_vm(request(azure))
    azure.store.faults.append(Fault("DELETE", "virtualMachines/vm-1$", status=409, code="ScopeLocked", message="locked"))
    with pytest.raises(Denied, match="locked"):
        cpi.delete_vm(vm.cid)
    assert cpi.has_vm(vm.cid)


def test_sizes_for_ordinary_images_only(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 32: in the region's list there are ARM processors and graphics, which an ordinary image does not boot on or nobody asked for."""
    azure.store.switches.page_size = 2
    found = cpi.calculate_vm_cloud_properties(VmResources(2, 8000, 10_000))
    assert found["instance_types"] == ["Standard_D2s_v5", "Standard_D4s_v5"]
    assert found["ephemeral_disk"] == {"size": 10_240}
    with pytest.raises(Invalid, match="1024 cores") as caught:
        cpi.calculate_vm_cloud_properties(VmResources(1024, 1, 1))
    assert "Standard_E16s_v5" in caught.value.suggestion


@pytest.fixture
def elsewhere(azure: AzureStandIn, cpi: AzureCpi) -> Iterator[Vm]:
    """A machine in another resource group."""
    vm = cpi.create_vm(request(azure, properties={"resource_group_name": "shared"}))
    yield vm
    cpi.delete_vm(vm.cid)


def test_machine_in_another_group_is_used_like_any(azure: AzureStandIn, cpi: AzureCpi, elsewhere: Vm) -> None:
    assert elsewhere.cid == "agent_id:vm-1;resource_group_name:shared"
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=elsewhere.cid))
    cpi.attach_disk(elsewhere.cid, disk)
    assert list(cpi.get_disks(elsewhere.cid)) == [disk]
    assert [found.cid for found in cpi.find("vm-1")] == [elsewhere.cid]
    with pytest.raises(Conflict, match="agent_id:vm-1;resource_group_name:shared"):
        cpi.delete_disk(disk)
    cpi.detach_disk(elsewhere.cid, disk)
    cpi.delete_disk(disk)


# cloud check

def test_check_of_a_well_cloud_makes_nothing(azure: AzureStandIn, cpi: AzureCpi) -> None:
    uses = Uses(
        networks={"default/10": {"virtual_network_name": "caisson-net", "subnet_name": "machines", "application_security_groups": ["web"]}},
        vm_types={"small": {"instance_type": "Standard_B2s", "load_balancer": "front"}}, stemcell_cids=(IMAGE,))
    checks = list(cpi.checks(uses))
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    assert [check.kind for check in checks[:2]] == ["reach", "authenticate"]
    assert {"permission", "quota", "image", "network", "clock"} <= {check.kind for check in checks}
    assert {method for method, path in azure.requests() if "token" not in path} == {"GET"}


def test_check_names_what_is_missing(azure: AzureStandIn, cpi: AzureCpi) -> None:
    azure.store.switches.cores_quota = 0
    uses = Uses(
        networks={"default": {"virtual_network_name": "caisson-net", "subnet_name": "absent"}},
        vm_types={"huge": {"instance_type": "Standard_Absent", "load_balancer": "absent"}},
        disk_types={"secret": {"disk_encryption_set_name": "absent"}}, stemcell_cids=("image:Debian:debian-12:12-gen2:0.1.2",))
    failed = {(check.kind, check.name) for check in cpi.checks(uses) if check.ok is False}
    assert failed == {
        ("quota", "cores in westeurope"), ("network", "subnet of default"), ("quota", "size Standard_Absent of huge"),
        ("network", "load_balancer of huge"), ("storage", "disk encryption set absent of disk type secret"),
        ("image", "stemcell image:Debian:debian-12:12-gen2:0.1.2")}


@pytest.mark.parametrize(("change", "kinds"), [
    ({"client_secret": "wrong"}, [("reach", True), ("authenticate", False)]), ({"subscription_id": None}, [("configuration", False)]),
])
def test_check_ends_where_nothing_more_can_be_known(
    azure: AzureStandIn, clock: Time, change: dict[str, Any], kinds: list[tuple[str, bool]],
) -> None:
    cpi = AzureCpi({**azure.config, **change}, clock=clock.clock, sleep=clock.sleep, environ={})
    assert [(check.kind, check.ok) for check in cpi.checks(Uses())] == kinds
    cpi.close()


def test_wrong_region_is_invalid(azure: AzureStandIn, clock: Time) -> None:
    cpi = AzureCpi({**azure.config, "location": "Middle Earth"}, clock=clock.clock, sleep=clock.sleep)
    with pytest.raises(Invalid, match="middleearth"):
        cpi.create_disk(DiskRequest("disk-1", 1024))
    assert not azure.resources()
    cpi.close()


@pytest.mark.parametrize(("method", "path"), [("POST", "attachDetachDataDisks"), ("PATCH", "virtualMachines/vm-1$"), ("POST", "restart")])
def test_machine_that_goes_in_the_middle_is_not_found(azure: AzureStandIn, cpi: AzureCpi, method: str, path: str) -> None:
    vm = cpi.create_vm(request(azure))
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    azure.store.faults.append(Fault(method, path, status=404, code="ResourceNotFound", message="it is gone"))
    calls = {"POST": lambda: cpi.attach_disk(vm.cid, disk) if path.startswith("attach") else cpi.reboot_vm(vm.cid),
             "PATCH": lambda: cpi.set_vm_metadata(vm.cid, {})}
    with pytest.raises(NotFound, match="it is gone"):
        calls[method]()


def test_list_without_an_end_is_left(azure: AzureStandIn, cpi: AzureCpi, monkeypatch: pytest.MonkeyPatch) -> None:
    cpi.create_vm(request(azure))
    link = f"{azure.endpoint}/subscriptions/00000000-1111-2222-3333-444444444444/resources?$filter=x"
    answer = azure.arm.routes.answer
    monkeypatch.setattr(azure.arm.routes, "answer", lambda method, path, *rest: (
        200, {"value": [], "nextLink": link}, None) if path.endswith("/resources") else answer(method, path, *rest))
    with pytest.raises(Unavailable, match="never end"):
        cpi.owned()


def test_certificate_must_be_trusted(azure: AzureStandIn, clock: Time, tmp_path: Path) -> None:
    """Permanent, at once, with what to do; trusted, the same server answers."""
    pem = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = serve(azure.arm)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    config = azure.config_for(f"https://127.0.0.1:{server.server_address[1]}")
    before = clock.clock()
    untrusting = AzureCpi(config, clock=clock.clock, sleep=clock.sleep)
    with pytest.raises(Denied) as caught:
        untrusting.has_vm("vm-1")
    assert "ca_cert" in caught.value.suggestion
    assert clock.clock() - before < 5
    certificate = "-----BEGIN CERTIFICATE" + pem.read_text().partition("-----BEGIN CERTIFICATE")[2]
    trusting = AzureCpi({**config, "connection_options": {"ca_cert": certificate}}, clock=clock.clock, sleep=clock.sleep)
    assert not trusting.has_vm("vm-1")
    for cpi in (untrusting, trusting):
        cpi.close()
    server.shutdown()
    server.server_close()


# Secrets, rates, documents

def test_no_secret_comes_into_a_log(azure: AzureStandIn, cpi: AzureCpi, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Row 27: whatever happens, at the level that a director logs at."""
    caplog.set_level("INFO")
    caplog.set_level("DEBUG", "cpis")
    image = tmp_path / "root.vhd"
    image.write_bytes(bytes(2**20) + b"conectix" + bytes(52) + (2).to_bytes(4, "big") + bytes(448))
    azure.store.faults += [Fault("*", path, "lost") for path in ("virtualMachines/vm-1$", "beginGetAccess", "networkInterfaces")]
    azure.store.faults.append(Fault("PUT", "virtualMachines/vm-1$", status=503, times=2))
    cpi.create_stemcell(str(image), {}, "stemcell-1")
    vm = cpi.create_vm(request(azure))
    cpi.delete_vm(vm.cid)
    secrets = ("s3cr3t~of-the-client", "s3cr3t-signature", "token-0", "made-up", machine_data(azure))
    assert caplog.text
    assert not [secret for secret in secrets if secret in caplog.text]


def machine_data(azure: AzureStandIn) -> str:
    return bodies.user_data(azure.site().login, "vm-1")


def test_two_cpis_of_one_account_share_a_limit(azure: AzureStandIn, cpi: AzureCpi, clock: Time) -> None:
    """No more than is allowed, whoever asks: 250 reads at once and 25 a second."""
    other = AzureCpi(azure.config, clock=clock.clock, sleep=clock.sleep)
    before = clock.clock()
    for _ in range(200):
        cpi.has_vm("vm-1")
        other.has_vm("vm-1")
    assert clock.clock() - before >= 0.95 * (400 - 250) / 25
    other.close()


def test_role_in_the_docs_allows_what_is_checked() -> None:
    text = (Path(__file__).parents[3] / "docs/clouds/azure.md").read_text()
    role, reader = (json.loads(part.partition("```")[0]) for part in text.split("```json\n")[1:3])
    for action in (*checks.GROUP_ACTIONS, *checks.NETWORK_ACTIONS):
        assert checks.allows(role, action), action
    assert checks.allows(reader, "Microsoft.Resources/subscriptions/resources/read")
    assert not any(action in ("*", "*/read", "Microsoft.Compute/*") for action in [*role["Actions"], *reader["Actions"]])


@pytest.mark.parametrize(("granted", "action", "allowed"), [
    ({"actions": ["*"]}, "Microsoft.Compute/disks/write", True), ({"actions": ["*/read"]}, "Microsoft.Compute/disks/read", True),
    ({"actions": ["Microsoft.Compute/*"]}, "microsoft.compute/disks/beginGetAccess/action", True),
    ({"actions": ["*"], "notActions": ["Microsoft.Compute/disks/delete"]}, "Microsoft.Compute/disks/delete", False),
    ({"actions": []}, "Microsoft.Compute/disks/read", False), ({}, "x", False),
])
def test_permissions_are_read_with_their_exceptions(granted: Tree, action: str, allowed: bool) -> None:
    assert checks.allows(granted, action) is allowed
