"""Persistent disks and snapshots. Source: CPI contract, sections 2 and 7.

All are made in the resource group of the CPI config, wherever their machine is: so a token leads to its disk though the machine is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cpis.azure.arm import Arm, Tree
from cpis.azure.bodies import disk_kind
from cpis.azure.names import (
    CACHING,
    DISK,
    SNAPSHOT,
    VM,
    Ref,
    checked,
    disk_cid,
    ephemeral_name,
    ref_of,
    same,
    shape_of,
    snapshot_cid,
    split,
    tags_anew,
    tags_of,
    vm_cid,
)
from cpis.azure.settings import Settings
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.cloud.tags import SHAPE
from cpis.contract import Conflict, CpiError, DiskHint, DiskRequest, Invalid, NotFound, NotSupported, Properties, Quota

_FIRST_LUN = 1
_MOST_LUNS = 64
_TRIES = 5


class Machines(Protocol):
    def get(self, cid: str) -> Tree:
        """The machine as Azure shows it. Raises NotFound."""


def blank(
    settings: Settings, size_mib: int, properties: Mapping[str, Any], location: str, zone: str, tags: Mapping[str, str],
) -> Tree:
    """The body of a blank disk's creation. Raw, since `create_volume` knows no encryption set and does not wait."""
    body: Tree = {
        "location": location, "tags": dict(tags), "sku": {"name": disk_kind(settings, properties.get("storage_account_type"))},
        "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": gib(size_mib), **_speed(settings, properties)}}
    if zone:
        body["zones"] = [zone]
    return body


def _speed(settings: Settings, properties: Mapping[str, Any]) -> Tree:
    result: Tree = {}
    for key, field in (("iops", "diskIOPSReadWrite"), ("mbps", "diskMBpsReadWrite")):
        if properties.get(key):
            result[field] = int(properties[key])
    if properties.get("disk_encryption_set_name"):
        path = settings.id_of("Microsoft.Compute/diskEncryptionSets", str(properties["disk_encryption_set_name"]))
        result["encryption"] = {"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": path}
    return result


class Disks:
    """One machine's disks are attached and detached one after the other."""

    def __init__(self, arm: Arm, machines: Machines) -> None:
        self._arm = arm
        self._settings = arm.settings
        self._machines = machines
        self._one_machine = OnePerToken()
        self._by_list = self._settings.stack
        self._location = ""

    def path(self, ref: Ref) -> str:
        return self._settings.id_of(DISK, ref.name, ref.group)

    def ref(self, cid: str) -> Ref:
        return ref_of(self._settings, cid, "disk_name")

    def find(self, cid: str) -> Tree | None:
        ref = self.ref(cid)
        return self._arm.find(self.path(ref), f"disk {ref.name}")

    def get(self, cid: str) -> Tree:
        """Raises NotFound."""
        found = self.find(cid)
        if found is None:
            raise NotFound(f"there is no disk {cid}", resource=cid, kind="disk")
        return found

    def location(self) -> str:
        """Where disks and images are made: the config's region, else that of its resource group."""
        if not self._location:
            given = str(self._settings.config.get("location") or "")
            group = self._settings.group
            path = f"/subscriptions/{self._settings.subscription}/resourceGroups/{group}"
            found = given or str(self._arm.get(path, f"resource group {group}")["location"])
            self._location = found.lower().replace(" ", "")  # "West Europe" is what people read
        return self._location

    # Life

    def create(self, request: DiskRequest) -> str:
        """Zone and region are those of the machine that it is for."""
        properties = Schema.of("azure").check("disk_type", request.cloud_properties)
        if request.size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {request.size_mib}")
        name = checked(request.token)
        shape = shape_of(size=request.size_mib, properties=dict(request.cloud_properties))
        ref = Ref(name, self._settings.group, str(properties["caching"]))
        cid = disk_cid(name, ref.group, ref.caching)
        found = self._arm.find(self.path(ref), f"disk {name}")
        if found is not None and str(found["properties"].get("provisioningState")).lower() == "deleting":
            self._arm.delete(self.path(ref), f"disk {name}")
            found = None
        if found is not None:
            tags = {key.lower(): value for key, value in (found.get("tags") or {}).items()}
            if tags.get(SHAPE) != shape:
                raise Conflict(f"the token '{name}' has made {cid} with other arguments", resource=cid, kind="disk")
            self._arm.settled(self.path(ref), f"disk {name}", found)
            return cid
        location, zone = self._place(request.vm_cid, str(properties.get("availability_zone") or ""))
        if str(properties.get("storage_account_type") or "").endswith("_ZRS"):
            zone = ""  # it is in all zones, and refused with one
        tags = tags_of(request.metadata, self._settings, name, shape, {CACHING: ref.caching})
        self._arm.put(self.path(ref), f"disk {name}", blank(self._settings, request.size_mib, properties, location, zone, tags))
        return cid

    def _place(self, vm: str, zone: str) -> tuple[str, str]:
        """Region and zone. A machine that has gone meanwhile says nothing."""
        if vm:
            try:
                found = self._machines.get(vm)
            except NotFound:
                return self.location(), zone
            return str(found["location"]), str((found.get("zones") or [""])[0])
        return self.location(), zone

    def delete(self, cid: str) -> None:
        """With its snapshots, which a crash may have left without it."""
        ref, found = self.ref(cid), self.find(cid)
        if found is not None and found.get("managedBy"):
            raise Conflict(
                f"the disk {cid} is attached to {_vm_of(found)}", resource=cid, kind="disk", suggestion="Detach it first.")
        listing = f"/subscriptions/{self._settings.subscription}/resourceGroups/{self._settings.group}/providers/{SNAPSHOT}"
        for item in list(self._arm.pages(listing, "snapshots")):  # all pages, before what is deleted moves the others
            source = str((item["properties"].get("creationData") or {}).get("sourceResourceId") or "")
            if same(source, self.path(ref)):
                self._arm.delete(str(item["id"]), f"snapshot {item['name']}")
        try:
            self._arm.delete(self.path(ref), f"disk {ref.name}")
        except Conflict as error:
            now = self.find(cid)
            if now is not None and now.get("managedBy"):
                raise Conflict(f"the disk {cid} is attached to {_vm_of(now)}", resource=cid, kind="disk", code=error.code) from error
            raise

    # On machines

    def attached(self, vm: str) -> Sequence[str]:
        """The CIDs of a machine's persistent disks."""
        found = self._machines.get(vm)
        return [self._cid(item) for item in _persistent(found)]

    def _cid(self, item: Mapping[str, Any]) -> str:
        group, name = split(str(item["managedDisk"]["id"]))
        return disk_cid(name, group, str(item.get("caching") or "None"))

    def attach(self, vm: str, cid: str) -> DiskHint:
        """By `attachDetachDataDisks`, which adds to what there is: `attach_volume` sends a list read before, and loses what came between.

        Where that does not exist (Azure Stack Hub, and other old ones) the list is read and sent under a lock.
        """
        ref = self.ref(cid)
        path = self.path(ref)
        with self._one_machine(vm.lower()):
            for last in (False,) * (_TRIES - 1) + (True,):
                machine = self._machines.get(vm)
                lun = _lun_of(machine, path)
                if lun is not None:
                    return hint(lun)
                disk = self.get(cid)
                owner = str(disk.get("managedBy") or "")
                if owner and not same(owner, str(machine["id"])):
                    raise Conflict(f"the disk {cid} is attached to {_vm_of(disk)}", resource=cid, kind="disk")
                lun = _free_lun(machine["properties"]["storageProfile"].get("dataDisks") or [], vm)
                try:
                    self._change(machine, f"attaching {ref.name}", attach={"lun": lun, "diskId": path, "caching": ref.caching})
                except Conflict as error:
                    # Another process took the number, or the disk: the next look tells.
                    if last or error.code != "ConflictingUserInput":
                        raise
                    continue
                except CpiError as error:
                    self._retract(vm, cid, error)
                    raise
                return hint(lun)
        raise AssertionError("the last try answers or raises")

    def _retract(self, vm: str, cid: str, error: CpiError) -> None:
        """A disk that could not be attached may stand in the machine's list all the same, and would make every later change fail."""
        if error.temporary:
            return
        path = self.path(self.ref(cid))
        machine = self._with(vm, path)
        if machine is not None:
            self._change(machine, f"taking back {self.ref(cid).name}", detach=path)

    def _change(self, machine: Tree, what: str, *, attach: Mapping[str, Any] | None = None, detach: str = "") -> None:
        path = self._settings.id_of(VM, str(machine["name"]), split(str(machine["id"]))[0])
        if not self._by_list:
            more = [dict(attach, deleteOption="Detach")] if attach else []
            body: Tree = {"dataDisksToAttach": more} if more else {"dataDisksToDetach": [{"diskId": detach}]}
            try:
                self._arm.post(f"{path}/attachDetachDataDisks", what, body)
                return
            except (NotFound, NotSupported):
                # Was it the machine, the disk, or the action itself that does not exist?
                machine = self._arm.get(path, f"machine {machine['name']}")
                self._arm.get(str(attach["diskId"]) if attach else detach, what)
                self._by_list = True
        disks = [item for item in machine["properties"]["storageProfile"].get("dataDisks") or []
                 if not same(str((item.get("managedDisk") or {}).get("id") or ""), detach)]
        if attach:
            disks.append({
                "lun": attach["lun"], "caching": attach["caching"], "createOption": "Attach", "managedDisk": {"id": attach["diskId"]}})
        self._arm.patch(path, what, {"properties": {"storageProfile": {"dataDisks": disks}}})

    def detach(self, vm: str, cid: str) -> None:
        """Attached elsewhere, or machine or disk gone: nothing to do."""
        path = self.path(self.ref(cid))
        with self._one_machine(vm.lower()):
            machine = self._with(vm, path)
            if machine is None:
                return
            try:
                self._change(machine, f"detaching {self.ref(cid).name}", detach=path)
            except CpiError:
                # A first request may have had its effect though its answer was lost.
                if self._with(vm, path) is not None:
                    raise

    def _with(self, vm: str, path: str) -> Tree | None:
        """The machine, when it is there and the disk is attached to it."""
        try:
            machine = self._machines.get(vm)
        except NotFound:
            return None
        return machine if _lun_of(machine, path) is not None else None

    # Changes

    def resize(self, cid: str, size_mib: int) -> None:
        self._grow(cid, size_mib, {})

    def update(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        """In place. What Azure cannot change so (caching, some kinds) is NotSupported, and nothing is changed."""
        properties = Schema.of("azure").check("disk_type", cloud_properties)
        disk = self.get(cid)
        if str(properties["caching"]) != self.ref(cid).caching:
            raise NotSupported(
                f"the caching of the disk {cid} cannot change from {self.ref(cid).caching} to {properties['caching']}", resource=cid)
        zone, zones = str(properties.get("availability_zone") or ""), [str(item) for item in disk.get("zones") or []]
        if zone and zones and zone not in zones:
            raise NotSupported(f"the disk {cid} cannot move from zone {zones[0]} to {zone}", resource=cid)
        changes: Tree = {}
        kind = str(properties.get("storage_account_type") or "")
        now = str((disk.get("sku") or {}).get("name") or "")
        if kind and kind != now:
            changes["sku"] = {"name": kind}
        wished = _speed(self._settings, properties)
        inner = {key: value for key, value in wished.items() if disk["properties"].get(key) != value}
        if inner:
            changes["properties"] = inner
        self._grow(cid, size_mib, changes, disk)
        return cid

    def _grow(self, cid: str, size_mib: int, changes: Tree, disk: Tree | None = None) -> None:
        if size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {size_mib}", resource=cid)
        disk = disk or self.get(cid)
        now, wanted = int(disk["properties"]["diskSizeGB"]), gib(size_mib)
        if wanted < now:
            raise NotSupported(f"the disk {cid} of {now} GiB cannot be made smaller ({wanted} GiB)", resource=cid, kind="disk")
        if wanted > now:
            changes = {**changes, "properties": {**changes.get("properties", {}), "diskSizeGB": wanted}}
        if not changes:
            return
        if disk.get("managedBy"):
            raise Conflict(f"the disk {cid} is attached to {_vm_of(disk)}", resource=cid, kind="disk", suggestion="Detach it first.")
        ref = self.ref(cid)
        try:
            # Raw, since `ex_resize_volume` sends a PUT without kind, zone and tags, which takes these away.
            self._arm.patch(self.path(ref), f"changing disk {ref.name}", changes)
        except CpiError as error:
            if "account type from" in error.message and "not supported" in error.message:
                raise NotSupported(error.message, resource=cid, kind="disk", code=error.code, request_id=error.request_id) from error
            raise

    def set_metadata(self, cid: str, metadata: Properties) -> None:
        found = self.get(cid)
        ref = self.ref(cid)
        self._arm.patch(self.path(ref), f"tags of {ref.name}", {"tags": tags_anew(metadata, found.get("tags") or {})})

    # Snapshots

    def snapshot(self, cid: str, metadata: Properties, token: str) -> str:
        """Incremental, so that only what has changed costs. Raw: `create_volume_snapshot` makes whole ones with a retired interface."""
        name = checked(token)
        disk, ref = self.get(cid), self.ref(cid)
        path = self._settings.id_of(SNAPSHOT, name)
        what = f"snapshot {name}"
        body: Tree = {"location": disk["location"], "tags": tags_of(metadata, self._settings, name), "properties": {
            "creationData": {"createOption": "Copy", "sourceResourceId": self.path(ref)}, "incremental": not self._settings.stack}}
        found = self._arm.find(path, what)
        if found is not None:
            source = str((found["properties"].get("creationData") or {}).get("sourceResourceId") or "")
            if not same(source, self.path(ref)):
                raise Conflict(f"the token '{name}' has made a snapshot of another disk ({source})", resource=name, kind="snapshot")
            if str(found["properties"].get("provisioningState")).lower() == "failed":
                self._arm.delete(path, what)
                found = None
        if found is None:
            try:
                self._arm.put(path, what, body)
            except CpiError:
                self._arm.delete(path, what)
                raise
        self._arm.until(what, path, lambda seen: float(seen["properties"].get("completionPercent") or 100.0) >= 100.0)
        return snapshot_cid(name, self._settings.group)

    def delete_snapshot(self, cid: str) -> None:
        ref = ref_of(self._settings, cid, "snapshot_name")
        self._arm.delete(self._settings.id_of(SNAPSHOT, ref.name, ref.group), f"snapshot {ref.name}")


def _vm_of(disk: Mapping[str, Any]) -> str:
    """The CID of the machine that a disk is attached to."""
    group, name = split(str(disk["managedBy"]))
    return vm_cid(name, group)


def _lun_of(machine: Mapping[str, Any], path: str) -> int | None:
    """The number of a disk on a machine."""
    disks = machine["properties"]["storageProfile"].get("dataDisks") or []
    return next((int(item["lun"]) for item in disks if same(str((item.get("managedDisk") or {}).get("id") or ""), path)), None)


def _persistent(machine: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of a machine's data disks that outlive it; blobs of storage accounts are none of ours. Raises KeyError, TypeError,
    IndexError for an entry that does not say whose it is."""
    own = ephemeral_name(str(machine["name"])).lower()
    disks = machine["properties"]["storageProfile"].get("dataDisks") or []
    return [item for item in disks if not item.get("vhd") and split(str(item["managedDisk"]["id"]))[1] != own]


def _free_lun(disks: Sequence[Mapping[str, Any]], vm: str) -> int:
    """0 is the ephemeral disk's, whether there is one or not. Raises Quota."""
    used = {int(item["lun"]) for item in disks}
    found = next((lun for lun in range(_FIRST_LUN, _MOST_LUNS) if lun not in used), None)
    if found is None:
        raise Quota(f"the machine {vm} has no number left for a disk", resource=vm, kind="vm", limit=str(_MOST_LUNS), used=str(len(used)))
    return found


def hint(lun: int) -> DiskHint:
    """The guest's agent tries the paths of both kinds of controller, SCSI and NVMe, by the number. Source: CPI contract, 12.1."""
    return DiskHint(path=f"/dev/disk/azure/scsi1/lun{lun}", lun=str(lun))
