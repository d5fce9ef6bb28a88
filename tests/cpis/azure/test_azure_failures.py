"""Machines on Azure that are refused or fail: the right error, with the cloud's own words, and nothing is left."""

from __future__ import annotations

import dataclasses
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from azure_requests import machine, request

from cpis.azure import AzureCpi
from cpis.conformance.certificate import self_signed
from cpis.conformance.clouds.azure import AzureStandIn, Fault
from cpis.conformance.clouds.azure.server import serve
from cpis.conformance.clouds.azure.store import Tree
from cpis.conformance.faults import Time
from cpis.contract import (
    CpiError,
    Denied,
    DiskRequest,
    Invalid,
    NoCapacity,
    NotFound,
    Quota,
    Unavailable,
)

pytestmark = pytest.mark.walk

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


@pytest.mark.parametrize("ip", ["10.86.16.1", "10.86.16.3", "10.86.16.255", "10.9.0.4"])
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


@pytest.mark.parametrize("path", ["virtualMachines/vm-1$", "networkInterfaces/vm-1-nic-0$"])
def test_throttled_for_ten_minutes_is_late_not_failed(
    azure: AzureStandIn, cpi: AzureCpi, clock: Time, caplog: pytest.LogCaptureFixture, path: str,
) -> None:
    """Rows 22 and 23."""
    caplog.set_level("INFO", "cpis")
    retry = [{"Retry-After": "120"}, {"Retry-After": "0"}, {}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}]
    azure.store.faults += [
        Fault("PUT", path, status=429, code="TooManyRequests", message="slow down", headers=headers, times=times)
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
    dynamic = azure.site().dynamic
    assert dynamic is not None
    with pytest.raises(Unavailable):
        cpi.create_vm(request(azure, networks=dynamic(0)))
    assert not azure.resources()


def test_wrong_region_is_invalid(azure: AzureStandIn, clock: Time) -> None:
    cpi = AzureCpi({**azure.config, "location": "Middle Earth"}, clock=clock.clock, sleep=clock.sleep)
    with pytest.raises(Invalid, match="middleearth"):
        cpi.create_disk(DiskRequest("disk-1", 1024))
    assert not azure.resources()
    cpi.close()


@pytest.mark.parametrize("call", ["attach_disk", "set_vm_metadata", "reboot_vm"])
def test_machine_that_goes_in_the_middle_is_not_found(
    azure: AzureStandIn, cpi: AzureCpi, monkeypatch: pytest.MonkeyPatch, call: str,
) -> None:
    """Somebody deletes it after it was looked at."""
    vm = cpi.create_vm(request(azure))
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    answer = azure.arm.routes.answer

    def then_gone(method: str, path: str, *rest: Any) -> Any:
        if method in ("POST", "PATCH"):
            azure.store.drop(machine_path)
        return answer(method, path, *rest)
    machine_path = machine(azure)["id"]
    monkeypatch.setattr(azure.arm.routes, "answer", then_gone)
    calls = {"attach_disk": lambda: cpi.attach_disk(vm.cid, disk), "reboot_vm": lambda: cpi.reboot_vm(vm.cid),
             "set_vm_metadata": lambda: cpi.set_vm_metadata(vm.cid, {})}
    with pytest.raises(NotFound, match="vm-1"):
        calls[call]()
    assert not cpi.has_vm(vm.cid)


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


def test_what_stays_held_is_told_after_a_while(azure: AzureStandIn, cpi: AzureCpi, clock: Time) -> None:
    """An interface that Azure never lets go is an error after some minutes, and not waited for without end."""
    vm = cpi.create_vm(request(azure))
    machine(azure)["properties"]["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] = "Detach"
    azure.store.faults.append(Fault("DELETE", "networkInterfaces", status=400, code="NicInUse", message="it is used", times=9999))
    before = clock.clock()
    with pytest.raises(CpiError, match="it is used"):
        cpi.delete_vm(vm.cid)
    assert 200 < clock.clock() - before < 400
    azure.store.faults.clear()
    cpi.delete_vm(vm.cid)
    assert not azure.resources()
