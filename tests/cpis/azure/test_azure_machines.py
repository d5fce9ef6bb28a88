"""Machines on Azure beyond the suite: what is asked for and what is sent."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure_requests import GROUP, IMAGE, machine, nic, request

from cpis.azure import AzureCpi, bodies, checks
from cpis.conformance.clouds.azure import PUBLIC_ADDRESS, AzureStandIn, Fault
from cpis.conformance.clouds.azure.store import Tree
from cpis.conformance.faults import Time
from cpis.contract import (
    Conflict,
    Denied,
    DiskHint,
    DiskRequest,
    Invalid,
    Network,
    Uses,
    Vm,
    VmResources,
)

pytestmark = pytest.mark.walk


# What is sent

def test_few_requests_make_a_machine(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """A look, an interface, the machine; and looks at the operation. What is the same for all machines is asked once."""
    cpi.create_vm(request(azure))
    azure.forget_requests()
    cpi.create_vm(request(azure, "vm-2", networks=azure.site().networks(1)))
    seen = [(method, path.rsplit("/providers/", 1)[-1].split("/")[1]) for method, path in azure.requests()]
    assert seen[:3] == [("GET", "virtualMachines"), ("PUT", "networkInterfaces"), ("PUT", "virtualMachines")]
    assert all(method == "GET" and "/operations/" in path for method, path in azure.requests()[3:])


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
    assert nic(azure, number=0)["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] == "10.86.16.10"
    interfaces = machine(azure)["properties"]["networkProfile"]["networkInterfaces"]
    assert [item["properties"]["primary"] for item in interfaces] == [True, False]
    assert vm.ssh_address == "10.86.16.10"


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


# What else there is to do

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
    assert made.networks[0].ip == "10.86.16.10"
    with pytest.raises(Conflict, match=re.escape("10.86.16.10")):
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
        azs={"z1": {"availability_zone": "1"}, "z3": {"availability_zone": 3}},
        vm_types={"huge": {"instance_type": "Standard_Absent", "load_balancer": "absent"}, "here": {"instance_type": "Standard_E16s_v5"}},
        disk_types={"secret": {"disk_encryption_set_name": "absent"}}, stemcell_cids=("image:Debian:debian-12:12-gen2:0.1.2",))
    failed = {(check.kind, check.name) for check in cpi.checks(uses) if check.ok is False}
    assert failed == {
        ("quota", "cores in westeurope"), ("network", "subnet of default"), ("quota", "size Standard_Absent of huge"),
        ("quota", "size Standard_E16s_v5 of here"),
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
