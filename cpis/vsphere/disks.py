"""Persistent disks: files of their own on datastores, each with a record beside it, since a VMDK carries no metadata.

The record (`<cid>.json`) is written before the disk is made and taken away after it: what is half made or half deleted is found by it. It
names the machine that the disk was attached to last, so that one look at that machine tells whether it still is.
A snapshot is a copy, `<snapshot>.<disk>.vmdk`. Source: CPI contract, sections 10.1, 10.2 and 4.1.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from pyVmomi import vim

from cpis.cloud.keyed import OnePerToken
from cpis.cloud.tags import Rules, clean
from cpis.contract import Conflict, CpiError, DiskHint, DiskRequest, Found, Invalid, NotFound, NotSupported, Properties
from cpis.vsphere import hardware
from cpis.vsphere.config import SCHEMA, Config, stores
from cpis.vsphere.inventory import Datastore, Inventory
from cpis.vsphere.machines import Machines
from cpis.vsphere.marks import disk_option, options, shape
from cpis.vsphere.placement import Placement
from cpis.vsphere.records import Located, Record, Records
from cpis.vsphere.session import Session
from cpis.vsphere.tasks import run

RULES = Rules(max_count=200, max_key=128, max_value=255)
_LARGEST_MIB = 62 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class Disks:
    """Safe to use from many threads."""

    def __init__(
        self, session: Session, inventory: Inventory, placement: Placement, machines: Machines, config: Config, clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._inventory = inventory
        self._placement = placement
        self._machines = machines
        self._config = config
        self._clock = clock
        self._records = Records(session, inventory, config)
        self._once = OnePerToken()

    # Making and deleting

    def create(self, request: DiskRequest) -> str:
        """As the contract says."""
        if not 1 <= request.size_mib <= _LARGEST_MIB:
            raise Invalid(f"a disk has 1 to {_LARGEST_MIB} MiB, not {request.size_mib}", limit=str(_LARGEST_MIB))
        values = SCHEMA.check("disk_type", request.cloud_properties)
        pattern = stores(values, self._config.disk_stores)
        kind = values.get("type") or self._config.values["default_disk_type"]
        record = Record(
            request.token, request.token, self._config.director, shape("disk", request.size_mib, dict(request.cloud_properties)),
            request.size_mib, kind, self._clock(), clean(request.metadata, RULES))
        with self._once(request.token):
            found = self._located(request.token)
            if found is not None:
                if found.record.shape != record.shape:
                    raise Conflict(f"the token '{request.token}' has made another disk", resource=request.token, kind="disk")
                if found.whole:
                    return request.token
            store = found.store if found else self._placement.store(
                request.token, pattern, disk_mib=request.size_mib, reached_by=self._machines.cluster_of(request.vm_cid))
            self._make(store, record)
        return request.token

    def _make(self, store: Datastore, record: Record) -> None:
        self._records.write(store, record)
        adapter = "lsiLogic"  # what the file says of its controller matters to no guest of ours; the machine's own controller does
        spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(
            diskType=record.type, adapterType=adapter, capacityKb=record.size_mib * 1024)
        path = self._records.path(store, f"{record.cid}.vmdk")
        try:
            run(self._session, f"creation of disk {record.cid}", lambda: self._manager.CreateVirtualDisk_Task(path, self._datacenter, spec))
        except CpiError as error:
            if error.code == "FileAlreadyExists":  # the file was not there before: an answer was lost, and its effect was not
                return
            self._away(store, record.cid, error)
            raise

    def _away(self, store: Datastore, name: str, error: CpiError) -> None:
        try:
            self._delete_file(store, name)
            self._records.delete(store, name)
        except CpiError as second:
            error.add_note(f"and what was made of {name} could not be taken away: {second}")

    def delete(self, cid: str) -> None:
        """The disk and its snapshots. Raises Conflict while it is attached."""
        with self._once(cid):
            found = self._located(cid)
            if found is None:
                return
            self._refuse_attached(found.record)
            for snapshot in self._records.search([f"*.{cid}.json", f"*.{cid}.vmdk"]):
                self._delete_both(snapshot.store, snapshot.name)
            self._delete_both(found.store, cid)

    def _delete_both(self, store: Datastore, name: str) -> None:
        self._delete_file(store, name)
        self._records.delete(store, name)

    def _delete_file(self, store: Datastore, name: str) -> None:
        path = self._records.path(store, f"{name}.vmdk")
        with contextlib.suppress(NotFound):
            run(self._session, f"deletion of disk {name}", lambda: self._manager.DeleteVirtualDisk_Task(path, self._datacenter))

    def has(self, cid: str) -> bool:
        """Whether it is there whole, attached or not."""
        found = self._located(cid)
        return found is not None and (found.whole or self._holder(found.record) is not None)

    # Attaching

    def attach(self, vm_cid: str, cid: str) -> DiskHint:
        """As the contract says."""
        with self._once(cid), self._machines.alone(vm_cid):
            machine = self._machines.get(vm_cid)
            attached = machine.persistent.get(cid)
            if attached is not None:
                return self._hint(attached.backing.uuid or self._uuid(attached.backing.fileName))
            found = self._get(cid)
            self._refuse_attached(found.record)
            if not found.whole:
                raise NotFound(f"the disk {cid} has a record on {found.store.name}, but no file", resource=cid, kind="disk")
            path = self._records.path(found.store, f"{cid}.vmdk")
            uuid = hardware.disk_id(self._uuid(path))
            self._records.write(found.store, found.record.with_vm(vm_cid))
            slots = hardware.Slots(machine.devices, self._config.values["default_scsi_controller_type"])
            disk = hardware.persistent_disk(slots, path, found.record.size_mib)
            spec = vim.vm.ConfigSpec(deviceChange=[*slots.added, disk], extraConfig=options(disk_option(cid, uuid)))
            run(self._session, f"attaching disk {cid} to {vm_cid}", lambda: machine.ref.ReconfigVM_Task(spec))
            return self._hint(uuid)

    def detach(self, vm_cid: str, cid: str) -> None:
        """As the contract says. A file that vCenter has moved with the machine goes back to where disks are."""
        with self._once(cid), self._machines.alone(vm_cid):
            machine = self._machines.find(vm_cid)
            disk = machine.persistent.get(cid) if machine else None
            if machine is None or disk is None:
                return
            self._machines.detach(machine, {cid: disk})
            self._settle(cid, disk.backing.fileName)

    def settle(self, detached: Mapping[str, Any]) -> None:
        """After the machine that had them let go of these disks: those whose files it took along go back."""
        for cid, disk in detached.items():
            self._settle(cid, disk.backing.fileName)

    def _settle(self, cid: str, path: str) -> None:
        store = next((store for store in self._inventory.now().datastores if path.startswith(f"[{store.name}] ")), None)
        if store is None:
            return
        proper = self._records.path(store, f"{cid}.vmdk")
        found = self._located(cid)
        record = found.record if found else Record(cid, cid, self._config.director, "", 0, "", None, {})
        if path != proper:
            self._records.folder(store)
            run(self._session, f"moving disk {cid} back", lambda: self._manager.MoveVirtualDisk_Task(
                path, self._datacenter, proper, self._datacenter, False))
            if found and found.store != store:
                self._records.delete(found.store, cid)
        if record.vm or path != proper:
            self._records.write(store, record.with_vm(""))

    def _hint(self, uuid: str) -> DiskHint:
        own = hardware.disk_id(uuid)
        return DiskHint(path=f"/dev/disk/by-id/wwn-0x{own.replace('-', '')}", id=own)

    def _uuid(self, path: str) -> str:
        return str(self._manager.QueryVirtualDiskUuid(path, self._datacenter))

    # Changing

    def resize(self, cid: str, size_mib: int) -> None:
        """As the contract says."""
        with self._once(cid):
            found = self._get(cid)
            self._grow(found, size_mib)

    def _grow(self, found: Located, size_mib: int) -> None:
        record, cid = found.record, found.record.cid
        self._refuse_attached(record)
        if size_mib < record.size_mib:
            raise NotSupported(f"the disk {cid} of {record.size_mib} MiB cannot be made smaller", resource=cid, kind="disk")
        if size_mib > _LARGEST_MIB:
            raise Invalid(f"a disk has at most {_LARGEST_MIB} MiB, not {size_mib}", limit=str(_LARGEST_MIB))
        if size_mib == record.size_mib:
            return
        path = self._records.path(found.store, f"{cid}.vmdk")
        eager = record.type == "eagerZeroedThick"
        run(self._session, f"growing disk {cid}", lambda: self._manager.ExtendVirtualDisk_Task(
            path, self._datacenter, size_mib * 1024, eager))
        self._records.write(found.store, record.with_size(size_mib))

    def update(self, cid: str, size_mib: int, properties: Properties) -> str:
        """Grows in place. Raises NotSupported for another type or other datastores: the caller copies."""
        values = SCHEMA.check("disk_type", properties)
        pattern = stores(values, self._config.disk_stores)
        kind = values.get("type") or self._config.values["default_disk_type"]
        with self._once(cid):
            found = self._get(cid)
            if kind != found.record.type:
                raise NotSupported(
                    f"the disk {cid} is {found.record.type}; vCenter does not make it {kind} in place", resource=cid, kind="disk")
            if not pattern.takes(found.store.name, found.store.pod):
                raise NotSupported(f"the disk {cid} is on {found.store.name}, not on {pattern}", resource=cid, kind="disk")
            self._grow(found, size_mib)
        return cid

    def set_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        """As the contract says."""
        with self._once(cid):
            found = self._get(cid)
            self._records.write(found.store, found.record.with_metadata(clean(metadata, RULES)))

    # Snapshots

    def snapshot(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        """A copy of the disk. Raises NotSupported while a running machine has it, whose lock vCenter does not copy through."""
        with self._once(cid):
            found = self._get(cid)
            holder = self._holder(found.record)
            if holder is not None and holder.running:
                raise NotSupported(
                    f"the disk {cid} is attached to {holder.cid}, which runs: vSphere copies only disks that nobody writes to",
                    resource=cid, kind="disk", suggestion="Stop the machine (`caisson stop`), then take the snapshot.")
            name = f"{token}.{cid}"
            for file in self._records.search([f"{token}.*.json"]):
                if file.name != name:
                    raise Conflict(f"the token '{token}' has made a snapshot of another disk", resource=token, kind="snapshot")
                if self._records.read(file).complete:
                    return token
                self._delete_file(file.store, name)  # an interrupted copy
            record = Record(
                token, token, self._config.director, "", found.record.size_mib, found.record.type, self._clock(), clean(metadata, RULES),
                disk=cid, complete=False)
            self._copy(found, name, record)
        return token

    def _copy(self, found: Located, name: str, record: Record) -> None:
        source, target = (self._records.path(found.store, f"{file}.vmdk") for file in (found.record.cid, name))
        self._records.write(found.store, record, name)
        try:
            run(self._session, f"snapshot of disk {record.disk}", lambda: self._manager.CopyVirtualDisk_Task(
                source, self._datacenter, target, self._datacenter, None, False))
            self._records.write(found.store, record.completed(), name)
        except CpiError as error:
            self._away(found.store, name, error)
            raise

    def delete_snapshot(self, cid: str) -> None:
        """As the contract says."""
        if _NAME.fullmatch(cid):
            for file in self._records.search([f"{cid}.*.json", f"{cid}.*.vmdk"]):
                self._delete_both(file.store, file.name)

    # Looking

    def find(self, token: str) -> list[Found]:
        """Disks and snapshots of this token, whole or half."""
        if not _NAME.fullmatch(token):
            return []
        files = self._records.search([f"{token}.json", f"{token}.*.json", f"{token}.vmdk"])
        return [record.found() for record in (self._records.listed(file) for file in files) if record.token == token]

    def owned(self) -> list[Found]:
        """Those of this director."""
        records = [self._records.listed(file) for file in self._records.search(["*.json"])]
        return [record.found() for record in records if record.director == self._config.director]

    def stores_of(self, cids: tuple[str, ...]) -> list[Datastore]:
        """Where these disks are. Raises NotFound."""
        return [self._get(cid).store for cid in cids]

    def _located(self, cid: str) -> Located | None:
        return self._records.locate(cid) if _NAME.fullmatch(cid) else None

    def _get(self, cid: str) -> Located:
        found = self._located(cid)
        if found is None:
            raise NotFound(f"there is no disk {cid}", resource=cid, kind="disk")
        return found

    def _holder(self, record: Record) -> Any:
        """The machine that has the disk now, or None."""
        machine = self._machines.find(record.vm) if record.vm else None
        return machine if machine is not None and record.cid in machine.persistent else None

    def _refuse_attached(self, record: Record) -> None:
        holder = self._holder(record)
        if holder is not None:
            raise Conflict(f"the disk {record.cid} is attached to {holder.cid}", resource=record.cid, kind="disk")

    @property
    def _manager(self) -> Any:
        return self._session.content.virtualDiskManager

    @property
    def _datacenter(self) -> Any:
        return self._inventory.now().ref
