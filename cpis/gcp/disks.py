"""Persistent disks and their snapshots."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping

from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.cloud.tags import SHAPE, TOKEN
from cpis.cloud.waiting import wait_for
from cpis.contract import Conflict, DiskHint, DiskRequest, Invalid, NotFound, NotSupported, Properties, Unavailable
from cpis.gcp.api import Body, Compute, Places, quoted
from cpis.gcp.errors import EXISTS
from cpis.gcp.names import DISK, GB, digest, is_ours, labels_of, last, name_of, replaced
from cpis.gcp.settings import Settings

_READY_SECONDS = 900.0
_SNAPSHOT_SECONDS = 3600.0
_SPACE = uuid.UUID("2f1c6f0e-4b57-4d0f-8a53-9d9b1f1f6c55")
_SIZES = re.compile(r"(\d+)GB-(\d+)GB")

log = logging.getLogger("cpis")


class Disks:
    """Disks of one project."""

    def __init__(
        self, settings: Settings, compute: Compute, places: Places, *,
        clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._compute = compute
        self._places = places
        self._clock = clock
        self._sleep = sleep
        self._once = OnePerToken()
        self._types: dict[str, Body] = {}

    def create(self, request: DiskRequest) -> str:
        """See the contract. The disk is of whole GB, and never smaller than its type allows (10 GB for most)."""
        properties = Schema.of("gcp").check("disk_type", request.cloud_properties)
        if request.size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {request.size_mib}")
        name = name_of("disk", request.token)
        shape = digest([request.size_mib, dict(request.cloud_properties)])
        with self._once(request.token):
            if self._places.zone("disks", name):  # the hint where it will be attached may have changed since
                there = self._places.find("disks", name)
                if there is not None:
                    return self._same(there, shape, request.token)
            zone = self._zone(properties, request.vm_cid)
            labels = labels_of(
                self._settings.director, request.token, request.metadata, extra={SHAPE: shape, GB: str(gib(request.size_mib))})
            body = {
                "name": name, "sizeGb": str(self._size(request.size_mib, zone, properties["type"])),
                "type": f"projects/{self._settings.project}/zones/{zone}/diskTypes/{properties['type']}", "labels": labels,
            }
            return self._insert(zone, body, lambda disk: self._same(disk, shape, request.token))

    def _insert(self, zone: str, body: Body, same: Callable[[Body], str]) -> str:
        """Raw: Libcloud's `create_volume` sends no labels, and looks for its result in a list of all disks."""
        name = str(body["name"])
        try:
            self._compute.run("POST", f"/zones/{zone}/disks", body)
        except Conflict as error:
            there = self._compute.look(f"/zones/{zone}/disks/{quoted(name)}") if error.code in EXISTS else None
            if there is None:
                raise
            same(there)
            self._until_ready(zone, name)
        self._places.remember("disks", name, zone)
        return name

    def _same(self, disk: Body, shape: str, token: str) -> str:
        labels = disk.get("labels") or {}
        if not is_ours(labels, self._settings.director, token, shape):
            raise Conflict(
                f"there is a disk '{disk.get('name')}' that was made with other arguments or by somebody else",
                resource=str(disk.get("name")), kind="disk", code="alreadyExists")
        return str(disk["name"])

    def _until_ready(self, zone: str, name: str) -> None:
        def ready() -> bool | None:
            disk = self._compute.get(f"/zones/{zone}/disks/{quoted(name)}")
            if disk.get("status") == "FAILED":
                raise Unavailable(f"disk {name} is FAILED", resource=name, kind="disk", code="FAILED")
            return disk.get("status") == "READY" or None

        wait_for(f"disk {name} to be ready", ready, deadline=_READY_SECONDS, clock=self._clock, sleep=self._sleep)

    def _zone(self, properties: Mapping[str, object], vm_cid: str) -> str:
        own = str(properties.get("zone") or "")
        zone = ""
        if vm_cid:
            zone = self._places.zone("instances", vm_cid) or last(self._places.get("instances", vm_cid).get("zone"))
            if own and own != zone:
                raise Invalid(f"the disk is to be in zone {own}, its machine {vm_cid} is in {zone}", resource=vm_cid, kind="vm")
        found = zone or own or self._settings.zone
        if not found:
            raise Invalid("a disk without a machine needs a zone", suggestion="Name it in the disk type, or as `zone` in the CPI config.")
        return found

    def _size(self, size_mib: int, zone: str, kind: str) -> int:
        """GB of a disk that holds so much and that its type allows. Raises Invalid for an unknown type or one that is too small."""
        path = f"/zones/{zone}/diskTypes/{quoted(kind)}"
        if path not in self._types:
            found = self._compute.look(path)
            if found is None:
                names = sorted(str(item.get("name")) for item in self._compute.all(f"/zones/{zone}/diskTypes"))
                raise Invalid(
                    f"there is no disk type '{kind}' in zone {zone}", resource=kind, kind="diskType",
                    suggestion=f"There are {', '.join(names)}.")
            self._types[path] = found
        limits = _SIZES.fullmatch(str(self._types[path].get("validDiskSize") or ""))
        smallest, largest = (int(limits.group(1)), int(limits.group(2))) if limits else (1, gib(size_mib))
        if gib(size_mib) > largest:
            raise Invalid(f"a disk of type '{kind}' has at most {largest} GB, not {gib(size_mib)}", limit=str(largest))
        return max(gib(size_mib), smallest)

    def delete(self, cid: str) -> None:
        """With its snapshots. Raises Conflict naming the machine that has it."""
        disk = self._places.find("disks", cid)
        if disk is None:
            return
        zone = last(disk.get("zone"))
        self._detached(disk)
        for snapshot in self._snapshots(cid):
            self.delete_snapshot(str(snapshot["name"]))
        self._remove(zone, cid)

    def _remove(self, zone: str, name: str) -> None:
        driver = self._compute.driver
        try:
            driver.destroy_volume(driver.volume(zone, name))
        except NotFound:
            log.debug("disk %s is gone already", name)
        self._places.forget("disks", name)

    @staticmethod
    def _detached(disk: Body) -> None:
        users = disk.get("users") or []
        if users:
            raise Conflict(
                f"the disk {disk.get('name')} is attached to {', '.join(map(last, users))}", resource=str(disk.get("name")), kind="disk",
                code="resourceInUseByAnotherResource")

    def exists(self, cid: str) -> bool:
        return self._places.find("disks", cid) is not None

    def attach(self, vm_cid: str, disk_cid: str) -> DiskHint:
        disk = self._places.get("disks", disk_cid)
        zone = last(disk.get("zone"))
        there = self._places.zone("instances", vm_cid) or last(self._places.get("instances", vm_cid).get("zone"))
        if there != zone:
            raise Invalid(f"the disk {disk_cid} is in zone {zone}, the machine {vm_cid} in {there}", resource=disk_cid, kind="disk")
        users = [last(link) for link in disk.get("users") or ()]
        if vm_cid in users:
            instance = self._places.get("instances", vm_cid)
            device = next((str(item.get("deviceName")) for item in _persistent(instance) if last(item.get("source")) == disk_cid), disk_cid)
            return _hint(device)
        self._detached(disk)
        driver = self._compute.driver
        driver.attach_volume(driver.node(zone, vm_cid), driver.volume(zone, disk_cid), device=disk_cid)
        return _hint(disk_cid)

    def detach(self, vm_cid: str, disk_cid: str) -> None:
        """Raw: Libcloud's `detach_volume` takes the device for named like the disk, which one attached by hand is not."""
        instance = self._places.find("instances", vm_cid)
        device = next((str(item.get("deviceName")) for item in _persistent(instance or {}) if last(item.get("source")) == disk_cid), "")
        if instance is None or not device:
            return
        try:
            self._compute.run(
                "POST", f"/zones/{last(instance.get('zone'))}/instances/{quoted(vm_cid)}/detachDisk?deviceName={quoted(device)}")
        except (NotFound, Invalid):
            again = self._places.find("instances", vm_cid)
            if any(last(item.get("source")) == disk_cid for item in _persistent(again or {})):
                raise

    # Sizes and types

    def resize(self, cid: str, size_mib: int) -> None:
        disk = self._places.get("disks", cid)
        self._detached(disk)
        self._grow(disk, size_mib)

    def _grow(self, disk: Body, size_mib: int) -> None:
        """Larger is done, equal is nothing to do, smaller raises NotSupported."""
        zone, name = last(disk.get("zone")), str(disk["name"])
        wanted = self._wanted(disk, size_mib, last(disk.get("type")))
        if wanted > int(disk["sizeGb"]):
            driver = self._compute.driver
            driver.ex_resize_volume(driver.volume(zone, name), wanted)

    def _wanted(self, disk: Body, size_mib: int, kind: str) -> int:
        """GB of the disk once it has this size. A disk that was asked for with less than its type allows counts as that. Raises
        NotSupported for a smaller one.
        """
        if size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {size_mib}")
        zone, name, now = last(disk.get("zone")), str(disk["name"]), int(disk["sizeGb"])
        asked = str((disk.get("labels") or {}).get(GB) or "")
        smallest = self._size(1, zone, last(disk.get("type")))
        has = int(asked) if now <= smallest and asked.isdecimal() else now
        if gib(size_mib) < has:
            raise NotSupported(f"the disk {name} of {has} GB cannot be made smaller ({gib(size_mib)} GB)", resource=name, kind="disk")
        return max(self._size(size_mib, zone, kind), now)

    def update(self, cid: str, size_mib: int, properties: Properties) -> str:
        """In place, or for another type by a snapshot and a new disk, after which the old one goes.

        While the old disk is there it is the truth, and copies that an interrupted call left are made anew. When it is gone, the copy is.
        """
        wanted = Schema.of("gcp").check("disk_type", properties)
        copy = f"disk-{uuid.uuid5(_SPACE, '/'.join([cid, str(size_mib), wanted['type']]))}"
        with self._once(cid):
            disk = self._places.find("disks", cid)
            if disk is None:
                if self._places.find("disks", copy) is None:
                    raise NotFound(f"there is no disk '{cid}' in project {self._settings.project}", resource=cid, kind="disk")
                self._finish(cid, copy)
                return copy
            self._detached(disk)
            zone = last(disk.get("zone"))
            if wanted.get("zone") not in (None, zone):
                raise NotSupported(f"the disk {cid} is in zone {zone} and cannot be moved to {wanted['zone']}", resource=cid, kind="disk")
            if wanted["type"] == last(disk.get("type")):
                self._grow(disk, size_mib)
                return cid
            self._copied(disk, copy, self._wanted(disk, size_mib, wanted["type"]), wanted["type"])
            self._remove(zone, cid)
            self._finish(cid, copy)
            return copy

    def _copied(self, disk: Body, copy: str, size: int, kind: str) -> None:
        """The new disk, of the data as it is now. Raises Conflict when a copy of an earlier call is in use."""
        zone, cid = last(disk.get("zone")), str(disk["name"])
        before = self._compute.look(f"/zones/{zone}/disks/{copy}")
        if before is not None:
            self._detached(before)
            self._remove(zone, copy)
        self.delete_snapshot(_passing(copy))
        labels = {**(disk.get("labels") or {}), SHAPE: digest([cid, size, kind]), GB: str(size)}
        self._snapshot(zone, cid, _passing(copy), {**labels, DISK: copy})
        prefix = f"projects/{self._settings.project}"
        self._compute.run("POST", f"/zones/{zone}/disks", {
            "name": copy, "sizeGb": str(size), "type": f"{prefix}/zones/{zone}/diskTypes/{kind}", "labels": labels,
            "sourceSnapshot": f"{prefix}/global/snapshots/{_passing(copy)}"})
        self._places.remember("disks", copy, zone)

    def _finish(self, cid: str, copy: str) -> None:
        """Snapshots of the old disk belong to the new one from now on; that of the copying goes."""
        self.delete_snapshot(_passing(copy))
        for snapshot in self._snapshots(cid):
            self._compute.relabel(f"/global/snapshots/{quoted(str(snapshot['name']))}", lambda labels: {**labels, DISK: copy})

    def set_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        """Raises NotFound."""
        zone = self._places.zone("disks", cid) or last(self._places.get("disks", cid).get("zone"))
        self._compute.relabel(f"/zones/{zone}/disks/{quoted(cid)}", lambda labels: replaced(labels, metadata))

    # Snapshots

    def snapshot(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        """Raises NotFound."""
        name = name_of("snapshot", token)
        disk = self._places.get("disks", cid)
        with self._once(token):
            self._snapshot(last(disk.get("zone")), cid, name, labels_of(self._settings.director, token, metadata, extra={DISK: cid}))
        return name

    def _snapshot(self, zone: str, cid: str, name: str, labels: Mapping[str, str]) -> None:
        """Raw: Libcloud's `create_volume_snapshot` sends no labels."""
        try:
            self._compute.run(
                "POST", f"/zones/{zone}/disks/{quoted(cid)}/createSnapshot", {"name": name, "labels": dict(labels)},
                seconds=_SNAPSHOT_SECONDS)
        except Conflict as error:
            there = self._compute.look(f"/global/snapshots/{quoted(name)}") if error.code in EXISTS else None
            if there is None:
                raise
            source = last(there.get("sourceDisk"))
            if source != cid or (there.get("labels") or {}).get(TOKEN) != labels[TOKEN]:
                raise Conflict(f"there is a snapshot '{name}' of {source}", resource=name, kind="snapshot") from error

        def ready() -> bool | None:
            status = self._compute.get(f"/global/snapshots/{quoted(name)}").get("status")
            if status == "FAILED":
                self.delete_snapshot(name)
                raise Unavailable(f"snapshot {name} is FAILED", resource=name, kind="snapshot", code="FAILED")
            return status == "READY" or None

        wait_for(f"snapshot {name} to be ready", ready, deadline=_SNAPSHOT_SECONDS, clock=self._clock, sleep=self._sleep)

    def _snapshots(self, cid: str) -> list[Body]:
        found = self._compute.all("/global/snapshots", filter=f"labels.{DISK}={cid}")
        return [item for item in found if (item.get("labels") or {}).get(DISK) == cid]

    def delete_snapshot(self, cid: str) -> None:
        driver = self._compute.driver
        try:
            driver.destroy_volume_snapshot(driver.snapshot(quoted(cid)))
        except NotFound:
            log.debug("snapshot %s is gone already", cid)


def _passing(copy: str) -> str:
    """The name of the snapshot through which a disk is copied."""
    return f"snapshot-{copy.removeprefix('disk-')}"


def _persistent(instance: Body) -> list[Body]:
    return [disk for disk in instance.get("disks") or () if not disk.get("boot") and disk.get("type") != "SCRATCH"]


def _hint(device: str) -> DiskHint:
    """Google's udev rules name disks by device; the index of a disk is shifted by local SSDs. Source: CPI contract, section 12.1."""
    return DiskHint(path=f"/dev/disk/by-id/google-{device}", id=device)
