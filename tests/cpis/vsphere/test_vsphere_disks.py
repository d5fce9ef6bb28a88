"""Persistent disks on the simulator: files with records beside them, and what the simulator cannot do, by its request."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

import pytest
from pyVmomi import vim

from cpis.cloud.faults import LOST, MALFORMED
from cpis.conformance.clouds.vsphere import VsphereStandIn
from cpis.contract import Conflict, CpiError, DiskRequest, Invalid, NotFound, NotSupported, Quota, Unavailable, VmRequest
from cpis.vsphere import VsphereCpi, hardware
from cpis.vsphere.errors import of_fault
from tests.cpis.vsphere.tools import another, facts, intercepted, options, passed

pytestmark = pytest.mark.walk


@pytest.fixture
def asked(disks: list[str]) -> DiskRequest:
    token = f"disk-{uuid.uuid4()}"
    disks.append(token)
    return DiskRequest(token, 1024, metadata={"deployment": "dep"})


def record(cpi: VsphereCpi, cid: str) -> dict[str, Any]:
    (file,) = cpi._disks._records.search([f"{cid}.json"])
    return dict(json.loads(cpi.session.get_file("DC0", file.store.name, f"caisson-disks/{cid}.json")))


def test_a_record_is_there_before_the_disk(cpi: VsphereCpi, asked: DiskRequest) -> None:
    """Section 4.1: what an interrupted call left is found by its token, and the next call finishes it."""
    class Killed(BaseException):
        pass

    def die(mo: Any, args: Any, call: Any) -> Any:
        raise Killed

    with intercepted(cpi, "CreateVirtualDisk_Task", die), pytest.raises(Killed):
        cpi.create_disk(asked)
    (found,) = cpi.find(asked.token)
    assert (found.kind, found.cid, dict(found.metadata)) == ("disk", asked.token, {"deployment": "dep"})
    assert not cpi.has_disk(asked.token)
    assert cpi.create_disk(asked) == asked.token
    assert cpi.has_disk(asked.token)


@pytest.mark.parametrize(("properties", "kind"), [({}, "preallocated"), ({"type": "thin"}, "thin"), ({"type": "eagerZeroedThick"},) * 2])
def test_types_of_disks(cpi: VsphereCpi, asked: DiskRequest, properties: dict[str, Any], kind: Any) -> None:
    kind = kind if isinstance(kind, str) else kind["type"]
    with intercepted(cpi, "CreateVirtualDisk_Task", passed) as calls:
        cpi.create_disk(DiskRequest(asked.token, 1025, properties))
    path, _, spec = calls[0]
    assert path.endswith(f"] caisson-disks/{asked.token}.vmdk")
    assert (spec.diskType, spec.capacityKb) == (kind, 1025 * 1024)


def test_a_lost_answer_makes_no_second_disk(cpi: VsphereCpi, asked: DiskRequest) -> None:
    attempts: list[int] = []

    def lose_once(mo: Any, args: Any, call: Any) -> Any:
        attempts.append(1)
        call()
        raise of_fault("CreateVirtualDisk_Task", vim.fault.FileAlreadyExists(file=args[0]))

    with intercepted(cpi, "CreateVirtualDisk_Task", lose_once):
        assert cpi.create_disk(asked) == asked.token
    assert cpi.has_disk(asked.token)


def test_a_refused_disk_leaves_nothing(vcenter: VsphereStandIn, cpi: VsphereCpi, asked: DiskRequest) -> None:
    def refuse(mo: Any, args: Any, call: Any) -> Any:
        raise of_fault("CreateVirtualDisk_Task", vim.fault.NoDiskSpace(msg="The datastore is full.", datastore="LocalDS_0"))

    with intercepted(cpi, "CreateVirtualDisk_Task", refuse), pytest.raises(Quota, match="The datastore is full"):
        cpi.create_disk(asked)
    assert not cpi.find(asked.token)
    assert not [name for kind, name in vcenter.resources() if name.startswith(asked.token)]


@pytest.mark.parametrize(("request_", "kind", "said"), [
    (DiskRequest("disk-x", 0), Invalid, "not 0"), (DiskRequest("disk-x", 10**9), Invalid, "1 to 65011712 MiB"),
    (DiskRequest("disk-x", 1, {"typ": "thin"}), Invalid, "unknown key 'typ'"),
    (DiskRequest("disk-x", 1, {"type": "thinn"}), Invalid, "'type' must be one of thin"),
    (DiskRequest("disk-x", 1, {"datastores": ["nope"]}), Invalid, "no usable datastore matches datastores nope"),
])
def test_disks_that_are_refused(cpi: VsphereCpi, request_: DiskRequest, kind: type[CpiError], said: str) -> None:
    with pytest.raises(kind, match=said):
        cpi.create_disk(request_)
    assert not cpi.find("disk-x")


# The simulator has no ExtendVirtualDisk_Task: what is asked, and what follows, is seen here; that it refuses is seen, too.


def test_growing_is_asked_of_vcenter_in_kib_and_remembered(cpi: VsphereCpi, asked: DiskRequest) -> None:
    """Rows 12 and 13."""
    cpi.create_disk(asked)
    store = cpi._inventory.now().datastores[0]

    def extend(mo: Any, args: Any, call: Any) -> Any:  # any task that ends well
        return store.browser.SearchDatastore_Task(f"[{store.name}]", vim.host.DatastoreBrowser.SearchSpec(matchPattern=["none"]))

    with intercepted(cpi, "ExtendVirtualDisk_Task", extend) as calls:
        cpi.resize_disk(asked.token, 1024)
        assert not calls, "an equal size is nothing to do"
        with pytest.raises(NotSupported, match="cannot be made smaller"):
            cpi.resize_disk(asked.token, 1023)
        cpi.resize_disk(asked.token, 2048)
        (path, datacenter, kib, eager), = calls
        assert path.endswith(f"caisson-disks/{asked.token}.vmdk")
        assert (datacenter._moId, kib, eager) == (cpi._inventory.now().ref._moId, 2048 * 1024, False)
        cpi.resize_disk(asked.token, 2048)
        assert cpi.update_disk(asked.token, 4096, {}) == asked.token
    assert len(calls) == 2
    assert record(cpi, asked.token)["size_mib"] == 4096
    assert cpi.create_disk(asked) == asked.token, "the token of a grown disk leads to it still"


def test_what_vcenter_cannot_do_is_left_to_the_caller(cpi: VsphereCpi, asked: DiskRequest) -> None:
    cpi.create_disk(asked)
    with pytest.raises(NotSupported, match="ExtendVirtualDisk_Task"):
        cpi.resize_disk(asked.token, 2048)
    assert record(cpi, asked.token)["size_mib"] == 1024


@pytest.mark.parametrize("properties", [{"type": "thin"}, {"datastores": ["LocalDS_9"]}])
def test_what_does_not_change_in_place(cpi: VsphereCpi, asked: DiskRequest, properties: dict[str, Any]) -> None:
    cpi.create_disk(asked)
    with pytest.raises(NotSupported):
        cpi.update_disk(asked.token, 1024, properties)


# Attached


def test_a_disk_is_independent_and_found_by_its_id(cpi: VsphereCpi, request_: VmRequest, asked: DiskRequest) -> None:
    vm = cpi.create_vm(request_)
    cpi.create_disk(asked)
    with intercepted(cpi, "ReconfigVM_Task", passed) as calls:
        hint = cpi.attach_disk(vm.cid, asked.token)
    (change,) = calls[0][0].deviceChange
    assert (change.operation, change.fileOperation) == ("add", None)
    assert change.device.backing.diskMode == "independent_persistent"
    assert change.device.unitNumber != 7, "that is the controller's own"
    assert hint.path == f"/dev/disk/by-id/wwn-0x{hint.id.replace('-', '')}"
    assert options(cpi, vm.cid)[f"caisson.disk.{asked.token}"] == hint.id
    assert record(cpi, asked.token)["vm"] == vm.cid


def test_a_deleted_machine_lets_go_of_its_disks_first(cpi: VsphereCpi, request_: VmRequest, asked: DiskRequest) -> None:
    """Row 8."""
    vm = cpi.create_vm(request_)
    cpi.create_disk(asked)
    cpi.attach_disk(vm.cid, asked.token)
    with intercepted(cpi, "ReconfigVM_Task", passed) as calls, intercepted(cpi, "Destroy_Task", passed) as destroyed:
        cpi.delete_vm(vm.cid)
        (change,) = calls[0][0].deviceChange
        assert (change.operation, change.fileOperation) == ("remove", None), "with a file operation the file would go"
    assert len(destroyed) == 1
    assert cpi.has_disk(asked.token)


def test_a_machine_whose_disk_cannot_be_let_go_is_not_deleted(cpi: VsphereCpi, request_: VmRequest, asked: DiskRequest) -> None:
    vm = cpi.create_vm(request_)
    cpi.create_disk(asked)
    cpi.attach_disk(vm.cid, asked.token)

    def refuse(mo: Any, args: Any, call: Any) -> Any:
        raise Unavailable("ReconfigVM_Task: the answer did not come", code=LOST)

    with intercepted(cpi, "ReconfigVM_Task", refuse), intercepted(cpi, "Destroy_Task", passed) as destroyed, pytest.raises(Unavailable):
        cpi.delete_vm(vm.cid)
    assert not destroyed
    assert list(cpi.get_disks(vm.cid)) == [asked.token]


def test_a_disk_that_vcenter_moved_with_its_machine_is_known_and_goes_back(
    cpi: VsphereCpi, request_: VmRequest, asked: DiskRequest,
) -> None:
    """Storage vMotion puts a disk's file beside the machine's and renames it."""
    vm = cpi.create_vm(request_)
    cpi.create_disk(asked)
    cpi.attach_disk(vm.cid, asked.token)
    (disk,) = cpi._machines.get(vm.cid).persistent.values()
    now, manager = cpi._inventory.now(), cpi.session.content.virtualDiskManager
    moved = f"[LocalDS_0] {vm.cid}/{vm.cid}_7.vmdk"
    manager.MoveVirtualDisk_Task(disk.backing.fileName, now.ref, moved, now.ref, False)
    own = "6000c29f-0000-4000-8000-000000000001"
    backing = type(disk.backing)(fileName=moved, diskMode=hardware.PERSISTENT, uuid=own)
    renamed = vim.vm.device.VirtualDisk(
        key=disk.key, controllerKey=disk.controllerKey, unitNumber=disk.unitNumber, capacityInKB=disk.capacityInKB, backing=backing,
        deviceInfo=disk.deviceInfo)
    ref = cpi._machines.ref(vm.cid)
    mark = vim.option.OptionValue(key=f"caisson.disk.{asked.token}", value=own)
    ref.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[hardware.change(renamed, "edit")], extraConfig=[mark]))
    assert list(cpi.get_disks(vm.cid)) == [asked.token]
    assert cpi.has_disk(asked.token)
    with pytest.raises(Conflict, match=vm.cid):
        cpi.delete_disk(asked.token)
    cpi.detach_disk(vm.cid, asked.token)
    (file,) = cpi._disks._records.search([f"{asked.token}.vmdk", f"{asked.token}.json"])
    assert (file.store.name, file.whole, file.recorded) == ("LocalDS_0", True, True)
    cpi.attach_disk(vm.cid, asked.token)


def test_a_disk_of_a_machine_goes_where_its_cluster_reaches(cpi: VsphereCpi, request_: VmRequest, asked: DiskRequest) -> None:
    """Row 31: what the cluster does not reach is refused before anything is made."""
    cpi.create_disk(asked)
    inventory = cpi._inventory.now()
    store = cpi._disks._get(asked.token).store
    blind = dataclasses.replace(inventory, clusters=tuple(
        dataclasses.replace(cluster, datastores=tuple(ref for ref in cluster.datastores if ref != store.ref))
        for cluster in inventory.clusters))
    cpi._inventory._snapshot = blind
    try:
        with pytest.raises(Invalid, match=f"disks are on {store.name}, which no cluster reaches of DC0_C0, DC0_C1"):
            cpi.create_vm(dataclasses.replace(request_, disk_cids=(asked.token,)))
    finally:
        cpi._inventory._snapshot = inventory
    assert not cpi.find(request_.token)


def test_a_page_in_the_place_of_a_record_is_no_disk_without_one(cpi: VsphereCpi, asked: DiskRequest) -> None:
    """Else an attached disk would count as free."""
    cpi.create_disk(asked)
    original = cpi.session.http

    def portal(method: str, url: str, **more: Any) -> Any:
        raise Unavailable(f"{method}: this is no answer of vCenter's API", code=MALFORMED)

    cpi.session.http = portal  # type: ignore[method-assign]
    try:
        with pytest.raises(Unavailable):
            cpi.delete_disk(asked.token)
    finally:
        cpi.session.http = original  # type: ignore[method-assign]
    assert cpi.has_disk(asked.token)


@pytest.mark.parametrize(
    "wrong", [{"size_mib": None}, {"size_mib": True}, {"metadata": []}, {"metadata": {"a": 1}}, {"complete": "yes"}, None])
def test_a_record_that_cannot_be_read_is_not_written_over(
    cpi: VsphereCpi, request_: VmRequest, asked: DiskRequest, wrong: dict[str, Any] | None,
) -> None:
    """What is known of a disk would be lost with a guess in its place. Lists go on, with the name at most."""
    vm = cpi.create_vm(request_)
    cpi.create_disk(asked)
    whole = record(cpi, asked.token)
    original = cpi.session.get_file

    def spoiled(*arguments: Any) -> bytes:
        return b"<half" if wrong is None else json.dumps({**json.loads(original(*arguments)), **wrong}).encode()

    cpi.session.get_file = spoiled  # type: ignore[method-assign]
    try:
        with pytest.raises(Unavailable, match="cannot be read") as caught:
            cpi.attach_disk(vm.cid, asked.token)
        assert caught.value.suggestion
        assert asked.token not in {found.cid for found in cpi.owned()}, "whose it is cannot be told"
        assert [found.cid for found in cpi.find(asked.token)] == [asked.token]
    finally:
        cpi.session.get_file = original  # type: ignore[method-assign]
    assert record(cpi, asked.token) == whole
    cpi.attach_disk(vm.cid, asked.token)
    cpi.detach_disk(vm.cid, asked.token)


def test_machines_take_many_disks(cpi: VsphereCpi) -> None:
    controller = vim.vm.device.ParaVirtualSCSIController(key=1000, busNumber=0)
    slots = hardware.Slots([controller])
    taken = [slots.take() for _ in range(59)]
    assert len(set(taken)) == 59
    assert all(unit != 7 for _, unit in taken)
    assert len(slots.added) == 3
    slots.take()
    with pytest.raises(Quota, match="60 disks"):
        slots.take()


# Snapshots


def test_a_snapshot_is_a_copy_beside_the_disk(cpi: VsphereCpi, asked: DiskRequest) -> None:
    cpi.create_disk(asked)
    token = f"snapshot-{uuid.uuid4()}"
    with intercepted(cpi, "CopyVirtualDisk_Task", passed) as calls:
        assert cpi.snapshot_disk(asked.token, {"index": "0"}, token) == token
        assert cpi.snapshot_disk(asked.token, {"index": "0"}, token) == token
    assert len(calls) == 1
    assert calls[0][2].endswith(f"caisson-disks/{token}.{asked.token}.vmdk")
    cpi.delete_snapshot(token)
    assert not cpi.find(token)


def test_an_interrupted_snapshot_is_begun_anew(cpi: VsphereCpi, asked: DiskRequest) -> None:
    cpi.create_disk(asked)
    token = f"snapshot-{uuid.uuid4()}"

    class Killed(BaseException):
        pass

    def die(mo: Any, args: Any, call: Any) -> Any:
        call()
        raise Killed

    with intercepted(cpi, "CopyVirtualDisk_Task", die), pytest.raises(Killed):
        cpi.snapshot_disk(asked.token, {}, token)
    assert [found.kind for found in cpi.find(token)] == ["snapshot"]
    with intercepted(cpi, "CopyVirtualDisk_Task", passed) as calls:
        cpi.snapshot_disk(asked.token, {}, token)
    assert len(calls) == 1, "a copy of which nobody knows whether it is whole is no snapshot"


def test_a_disk_in_use_is_snapshotted_when_its_machine_is_stopped(
    vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest, asked: DiskRequest, made: list[str],
) -> None:
    vm = cpi.create_vm(another(request_, made, vcenter.site()))
    cpi.create_disk(asked)
    cpi.attach_disk(vm.cid, asked.token)
    token = f"snapshot-{uuid.uuid4()}"
    with pytest.raises(NotSupported, match="which runs"):
        cpi.snapshot_disk(asked.token, {}, token)
    assert not cpi.find(token)
    cpi._machines.power_off(vm.cid, cpi._machines.ref(vm.cid))
    assert cpi.snapshot_disk(asked.token, {}, token) == token
    assert facts(cpi, vm.cid, "runtime.powerState")["runtime.powerState"] == "poweredOff"
    with pytest.raises(NotFound):
        cpi.snapshot_disk("disk-none", {}, token)
