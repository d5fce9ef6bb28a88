"""Persistent disks and snapshots on Azure beyond the suite."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cpis.azure import AzureCpi
from cpis.conformance.clouds.azure import AzureStandIn, Fault
from cpis.conformance.clouds.azure.store import Tree
from cpis.conformance.faults import Time
from cpis.contract import Conflict, CpiError, DiskHint, DiskRequest, Invalid, NotFound, NotSupported, Quota, Unavailable, Vm, VmRequest

pytestmark = pytest.mark.walk

IMAGE = "image:Debian:debian-12:12-gen2:0.20251006.2257"
DISKS = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/caisson/providers/Microsoft.Compute/disks"


@pytest.fixture
def vm(azure: AzureStandIn, cpi: AzureCpi) -> Vm:
    site = azure.site()
    return cpi.create_vm(VmRequest("vm-1", "a", IMAGE, {"instance_type": "Standard_D2s_v5"}, site.networks(0), site.login))


def disk_of(azure: AzureStandIn, name: str = "disk-1") -> Tree:
    return azure.store.get(f"{DISKS}/{name}")


@pytest.mark.parametrize(("properties", "path", "value"), [
    ({}, "sku.name", "StandardSSD_LRS"),
    ({"storage_account_type": "PremiumV2_LRS", "iops": 5000, "mbps": 200}, "properties.diskIOPSReadWrite", 5000),
    ({"storage_account_type": "PremiumV2_LRS", "iops": 5000, "mbps": 200}, "properties.diskMBpsReadWrite", 200),
    ({"disk_encryption_set_name": "keys"}, "properties.encryption.type", "EncryptionAtRestWithCustomerKey"),
    ({"availability_zone": 3}, "zones", ["3"]),
    ({"caching": "ReadOnly"}, "tags.caching", "ReadOnly"),
])
def test_property_reaches_the_disk(azure: AzureStandIn, cpi: AzureCpi, properties: dict[str, Any], path: str, value: Any) -> None:
    cpi.create_disk(DiskRequest("disk-1", 1025, properties))
    found: Any = disk_of(azure)
    assert found["properties"]["diskSizeGB"] == 2
    for key in path.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize(("properties", "size", "kind", "word"), [
    ({"storage_account_typ": "x"}, 1024, Invalid, "storage_account_type"), ({"storage_account_type": "Fast"}, 1024, Invalid, "Fast"),
    ({"caching": "ReadSometimes"}, 1024, Invalid, "caching"), ({}, 0, Invalid, "1 MiB"), ({}, 100_000 * 1024, Invalid, "diskSizeGB"),
    ({"iops": "many"}, 1024, Invalid, "iops"),
])
def test_wrong_disk_leaves_nothing(
    azure: AzureStandIn, cpi: AzureCpi, properties: dict[str, Any], size: int, kind: type[CpiError], word: str,
) -> None:
    with pytest.raises(kind) as caught:
        cpi.create_disk(DiskRequest("disk-1", size, properties))
    assert word in f"{caught.value} {caught.value.suggestion}"
    assert not azure.resources()


def test_few_requests_make_a_disk(azure: AzureStandIn, cpi: AzureCpi, vm: Vm) -> None:
    azure.forget_requests()
    cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    assert [method for method, _ in azure.requests()] == ["GET", "GET", "PUT", "GET"]
    azure.forget_requests()
    cpi.attach_disk(vm.cid, "disk-1")
    assert [method for method, _ in azure.requests()] == ["GET", "GET", "POST", "GET"]


def test_caching_is_that_of_the_disk(azure: AzureStandIn, cpi: AzureCpi, vm: Vm) -> None:
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, {"caching": "ReadOnly"}, vm.cid))
    cpi.attach_disk(vm.cid, disk)
    (entry,) = azure.store.get(f"{DISKS.rsplit('/', 1)[0]}/virtualMachines/vm-1")["properties"]["storageProfile"]["dataDisks"]
    assert (entry["caching"], entry["deleteOption"], entry["lun"]) == ("ReadOnly", "Detach", 1)
    assert list(cpi.get_disks(vm.cid)) == [disk]


def test_ids_have_no_case(azure: AzureStandIn, cpi: AzureCpi, vm: Vm) -> None:
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    hint = cpi.attach_disk(vm.cid, disk)
    machine = azure.store.get(f"{DISKS.rsplit('/', 1)[0]}/virtualMachines/vm-1")
    (entry,) = machine["properties"]["storageProfile"]["dataDisks"]
    entry["managedDisk"]["id"] = entry["managedDisk"]["id"].upper()
    disk_of(azure)["managedBy"] = disk_of(azure)["managedBy"].upper()
    assert list(cpi.get_disks(vm.cid)) == [disk]
    assert cpi.attach_disk(vm.cid, disk) == hint
    with pytest.raises(Conflict, match=vm.cid):
        cpi.delete_disk(disk)


@pytest.mark.parametrize("spoiled", [{}, {"managedDisk": None}, {"managedDisk": {}}, {"managedDisk": {"id": None}}])
def test_a_disk_without_its_id_is_no_missing_disk(azure: AzureStandIn, cpi: AzureCpi, vm: Vm, spoiled: dict[str, Any]) -> None:
    cpi.attach_disk(vm.cid, cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid)))
    disks = azure.store.get(f"{DISKS.rsplit('/', 1)[0]}/virtualMachines/vm-1")["properties"]["storageProfile"]["dataDisks"]
    disks[0] = {"lun": 1, **spoiled}
    with pytest.raises(Unavailable):
        cpi.get_disks(vm.cid)
    disks[0] = {"lun": 1, "vhd": {"uri": "https://of.another/vhds/disk.vhd"}}
    assert list(cpi.get_disks(vm.cid)) == []


def test_attaches_of_two_directors_both_land(azure: AzureStandIn, cpi: AzureCpi, clock: Time, vm: Vm) -> None:
    """Row 35, with two processes: neither has the other's lock, and both take the same number first."""
    other = AzureCpi(azure.config, clock=clock.clock, sleep=clock.sleep)
    disks = [cpi.create_disk(DiskRequest(f"disk-{number}", 1024, vm_cid=vm.cid)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        hints = list(pool.map(lambda pair: pair[0].attach_disk(vm.cid, pair[1]), zip((cpi, other) * 2, disks, strict=True)))
    assert len({hint.lun for hint in hints}) == 4
    assert set(cpi.get_disks(vm.cid)) == set(disks)
    other.close()


def test_taken_number_is_not_the_end(azure: AzureStandIn, cpi: AzureCpi, vm: Vm) -> None:
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    azure.store.faults.append(Fault("POST", "attachDetach", status=409, code="ConflictingUserInput", message="LUN 1 is taken"))
    assert cpi.attach_disk(vm.cid, disk) == DiskHint("/dev/disk/azure/scsi1/lun1", "1")


def test_older_clouds_attach_by_the_whole_list(azure: AzureStandIn, clock: Time, vm: Vm) -> None:
    """Such as an Azure Stack Hub have no attachDetachDataDisks. That is seen once."""
    cpi = AzureCpi(azure.config, clock=clock.clock, sleep=clock.sleep)
    azure.store.faults.append(Fault("POST", "attachDetach", status=404, code="InvalidResourceType", message="no such action", times=99))
    disks = [cpi.create_disk(DiskRequest(f"disk-{number}", 1024)) for number in range(3)]
    cpi.attach_disk(vm.cid, disks[0])
    azure.forget_requests()
    with ThreadPoolExecutor(3) as pool:
        hints = list(pool.map(lambda disk: cpi.attach_disk(vm.cid, disk), disks))
    assert len({hint.lun for hint in hints}) == 3
    cpi.detach_disk(vm.cid, disks[1])
    assert set(cpi.get_disks(vm.cid)) == {disks[0], disks[2]}
    assert not any(path.endswith("attachDetachDataDisks") for _, path in azure.requests())
    cpi.close()


def test_disk_that_goes_in_the_middle_is_not_found(azure: AzureStandIn, cpi: AzureCpi, vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one is attached as ever."""
    first, second = (cpi.create_disk(DiskRequest(f"disk-{number}", 1024, vm_cid=vm.cid)) for number in (1, 2))
    answer = azure.arm.routes.answer

    def then_gone(method: str, path: str, *rest: Any) -> Any:
        if method == "POST":
            azure.store.drop(f"{DISKS}/disk-1")
        return answer(method, path, *rest)
    monkeypatch.setattr(azure.arm.routes, "answer", then_gone)
    with pytest.raises(NotFound, match="disk-1"):
        cpi.attach_disk(vm.cid, first)
    cpi.attach_disk(vm.cid, second)
    assert not any(method == "PATCH" for method, _ in azure.requests())


def test_machine_takes_only_so_many_disks(azure: AzureStandIn, cpi: AzureCpi, vm: Vm) -> None:
    disks = [cpi.create_disk(DiskRequest(f"disk-{number}", 1024, vm_cid=vm.cid)) for number in range(5)]
    for disk in disks[:4]:
        cpi.attach_disk(vm.cid, disk)
    with pytest.raises(Quota) as caught:
        cpi.attach_disk(vm.cid, disks[4])
    assert caught.value.limit == "4"
    assert list(cpi.get_disks(vm.cid)) == disks[:4]


def test_attach_that_fails_late_is_taken_back(azure: AzureStandIn, cpi: AzureCpi, vm: Vm) -> None:
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    azure.store.faults.append(Fault("POST", "attachDetach", "late", code="InvalidParameter", message="no such disk for this size"))
    with pytest.raises(Invalid, match="no such disk"):
        cpi.attach_disk(vm.cid, disk)
    assert not cpi.get_disks(vm.cid)


@pytest.mark.parametrize("method", ["attach_disk", "detach_disk"])
def test_lost_answer_of_a_change_is_no_failure(azure: AzureStandIn, cpi: AzureCpi, vm: Vm, method: str) -> None:
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    if method == "detach_disk":
        cpi.attach_disk(vm.cid, disk)
    azure.store.faults.append(Fault("POST", "attachDetach", "lost"))
    getattr(cpi, method)(vm.cid, disk)
    assert list(cpi.get_disks(vm.cid)) == ([disk] if method == "attach_disk" else [])


def test_disk_outlives_a_machine_that_somebody_deleted(azure: AzureStandIn, cpi: AzureCpi, vm: Vm) -> None:
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid=vm.cid))
    cpi.attach_disk(vm.cid, disk)
    cpi.delete_vm(vm.cid)
    assert cpi.has_disk(disk)
    cpi.detach_disk(vm.cid, disk)
    assert disk_of(azure)["properties"]["diskState"] == "Unattached"


def test_machine_that_went_says_nothing_about_the_disk(azure: AzureStandIn, cpi: AzureCpi) -> None:
    cpi.create_disk(DiskRequest("disk-1", 1024, vm_cid="agent_id:gone;resource_group_name:caisson"))
    assert disk_of(azure)["location"] == "westeurope"


@pytest.fixture
def disk(cpi: AzureCpi) -> str:
    return cpi.create_disk(DiskRequest("disk-1", 2048, {"storage_account_type": "Standard_LRS"}))


@pytest.mark.parametrize(("size", "properties", "expected"), [
    (4096, {}, (4, "Standard_LRS")), (2048, {"storage_account_type": "Premium_LRS"}, (2, "Premium_LRS")),
    (4096, {"storage_account_type": "Premium_LRS"}, (4, "Premium_LRS")), (2048, {}, (2, "Standard_LRS")),
])
def test_update_in_place(
    azure: AzureStandIn, cpi: AzureCpi, disk: str, size: int, properties: dict[str, Any], expected: tuple[int, str],
) -> None:
    tags = dict(disk_of(azure)["tags"])
    assert cpi.update_disk(disk, size, properties) == disk
    found = disk_of(azure)
    assert (found["properties"]["diskSizeGB"], found["sku"]["name"]) == expected
    assert found["tags"] == tags


@pytest.mark.parametrize(("size", "properties"), [
    (1024, {}), (2048, {"caching": "ReadOnly"}), (2048, {"storage_account_type": "PremiumV2_LRS"}),
])
def test_update_that_azure_cannot_is_not_supported(
    azure: AzureStandIn, cpi: AzureCpi, disk: str, size: int, properties: dict[str, Any],
) -> None:
    """The director copies then. Nothing was changed."""
    before = {key: value for key, value in disk_of(azure).items() if key != "properties"}
    with pytest.raises(NotSupported):
        cpi.update_disk(disk, size, properties)
    assert {key: value for key, value in disk_of(azure).items() if key != "properties"} == before
    assert disk_of(azure)["properties"]["diskSizeGB"] == 2


def test_attached_disk_is_not_resized(azure: AzureStandIn, cpi: AzureCpi, vm: Vm, disk: str) -> None:
    cpi.attach_disk(vm.cid, disk)
    with pytest.raises(Conflict, match=vm.cid):
        cpi.resize_disk(disk, 8192)
    cpi.resize_disk(disk, 2000)
    assert disk_of(azure)["properties"]["diskSizeGB"] == 2


def test_deletion_takes_the_snapshots_of_all_pages(azure: AzureStandIn, cpi: AzureCpi, disk: str) -> None:
    """Row 25; and those of a disk that is gone already."""
    other = cpi.create_disk(DiskRequest("disk-2", 1024))
    for number in range(3):
        cpi.snapshot_disk(disk, {}, f"snapshot-{number}")
    kept = cpi.snapshot_disk(other, {}, "snapshot-other")
    azure.store.switches.page_size = 1
    azure.store.drop(f"{DISKS}/disk-1")
    cpi.delete_disk(disk)
    assert [found.cid for found in cpi.owned() if found.kind == "snapshot"] == [kept]


def test_snapshot_is_incremental_and_awaited(azure: AzureStandIn, cpi: AzureCpi, disk: str) -> None:
    snapshot = cpi.snapshot_disk(disk, {"deployment": "d"}, "snapshot-1")
    found = azure.store.get(f"{DISKS.rsplit('/', 1)[0]}/snapshots/snapshot-1")
    assert found["properties"]["incremental"] is True
    assert found["properties"]["completionPercent"] == 100.0
    assert found["tags"]["deployment"] == "d"
    assert cpi.find("snapshot-1")[0].cid == snapshot


def test_failed_snapshot_leaves_nothing(azure: AzureStandIn, cpi: AzureCpi, disk: str) -> None:
    azure.store.faults.append(Fault("PUT", "snapshots/", "late", code="InternalServerError", message="broken"))
    with pytest.raises(Unavailable):
        cpi.snapshot_disk(disk, {}, "snapshot-1")
    assert [kind for kind, _ in azure.resources()] == ["disks"]
    cpi.snapshot_disk(disk, {}, "snapshot-1")


@pytest.mark.parametrize("call", [
    lambda cpi, cid: cpi.snapshot_disk(cid, {}, "snapshot-1"), lambda cpi, cid: cpi.resize_disk(cid, 9999),
    lambda cpi, cid: cpi.update_disk(cid, 9999, {}), lambda cpi, cid: cpi.set_disk_metadata(cid, {}),
])
def test_missing_disk_is_not_found(cpi: AzureCpi, call: Any) -> None:
    with pytest.raises(NotFound, match="caching:None;disk_name:gone"):
        call(cpi, "caching:None;disk_name:gone;resource_group_name:caisson")


def test_disk_in_no_zone_is_refused_for_a_machine_in_one(azure: AzureStandIn, cpi: AzureCpi) -> None:
    """Row 31: nothing is made, both places are named; a disk that is in all zones goes everywhere."""
    site = azure.site()
    plain = cpi.create_disk(DiskRequest("disk-1", 1024))
    everywhere = cpi.create_disk(DiskRequest("disk-2", 1024, {"storage_account_type": "Premium_ZRS", "availability_zone": "1"}))
    request = VmRequest("vm-1", "a", IMAGE, {"instance_type": "Standard_D2s_v5", "availability_zone": "2"}, site.networks(0), site.login,
                        disk_cids=(plain,))
    with pytest.raises(Invalid, match=r"no zone.*zone 2"):
        cpi.create_vm(request)
    assert {kind for kind, _ in azure.resources()} == {"disks"}
    vm = cpi.create_vm(dataclasses.replace(request, disk_cids=(everywhere,)))
    cpi.attach_disk(vm.cid, everywhere)
