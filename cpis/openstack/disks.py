"""Persistent disks: volumes of Cinder, attached by Nova."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpis.cloud import tags
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.contract import Conflict, CpiError, DiskHint, DiskRequest, Invalid, NotFound, NotSupported, Properties, Unavailable
from cpis.openstack import marks
from cpis.openstack.answers import Volume
from cpis.openstack.api import Api
from cpis.openstack.marks import Marks
from cpis.openstack.servers import Servers
from cpis.openstack.volumes import Volumes

_LEAST_GIB = 1
# On its way to a machine; to which one shows when it is there.
_COMING = ("reserved", "attaching")


class Disks:
    """`config` is the checked CPI config. Methods promise and raise what `cpis.contract.Cpi` says."""

    def __init__(self, config: Properties, api: Api, marks_: Marks, volumes: Volumes, servers: Servers) -> None:
        self._config = config
        self._api = api
        self._marks = marks_
        self._volumes = volumes
        self._servers = servers
        self._once = OnePerToken()

    def create(self, request: DiskRequest) -> str:
        """In the zone of the machine that it is for, unless the config says that volumes know other zones."""
        if request.size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {request.size_mib}")
        properties = Schema.of("openstack").check("disk_type", request.cloud_properties)
        size = max(_LEAST_GIB, gib(request.size_mib))
        kind = properties.get("type") or self._config.get("default_volume_type") or ""
        shape = marks.shape(size, kind)
        with self._once(request.token):
            known = self._volumes.named(request.token)
            if known is not None:
                marks.same(request.token, shape, known.metadata, known.id)
                if not known.status.startswith("error"):
                    return self._volumes.until(known.id, "available", "in-use").id
                self._volumes.delete(known.id)
            data: dict[str, Any] = {
                "size": size, "name": request.token, "metadata": self._marks.metadata(request.token, shape, request.metadata)}
            if kind:
                data["volume_type"] = kind
            zone = self._zone(request.vm_cid)
            if zone:
                data["availability_zone"] = zone
            return self._volumes.create(data)

    def _zone(self, vm_cid: str) -> str:
        if not vm_cid or self._config["ignore_server_availability_zone"]:
            return ""
        return self._servers.get(vm_cid).zone

    def delete(self, cid: str) -> None:
        try:
            volume = self._volumes.get(cid)
        except NotFound:
            return
        _free(volume)
        self._volumes.delete(cid)

    def has(self, cid: str) -> bool:
        try:
            return self._volumes.get(cid).status != "deleting"
        except NotFound:
            return False

    def attach(self, vm_cid: str, cid: str) -> DiskHint:
        """The hint has the id, by which guests find the disk whatever its device is called (`virtio-...` by 20 of its characters)."""
        volume = self._volumes.get(cid)
        machines = [machine for machine, _ in volume.attachments]
        if vm_cid not in machines:
            _free(volume)
            if volume.status not in _COMING:
                self._ask_attach(vm_cid, cid)
        return self._attached(vm_cid, cid)

    def _ask_attach(self, vm_cid: str, cid: str) -> None:
        try:
            self._servers.attach(vm_cid, cid)
        except (Invalid, Conflict, Unavailable) as error:
            # Asked twice at once, or answered and lost: what counts is where the volume is.
            volume = self._volumes.get(cid)
            if vm_cid in [machine for machine, _ in volume.attachments]:
                return
            _free(volume)
            if volume.status != "available" and not volume.status.startswith("error"):
                return
            if "already attached" in error.message:
                # Cinder knows before it shows it.
                if vm_cid in error.message.rpartition("already attached")[2]:
                    return
                raise Conflict(
                    f"the disk {cid} is being attached to another machine: {error.message}", resource=cid, kind="disk",
                    request_id=error.request_id) from error
            raise error

    def _attached(self, vm_cid: str, cid: str) -> DiskHint:
        def look() -> DiskHint | None:
            volume = self._volumes.get(cid)
            devices = dict(volume.attachments)
            if volume.status == "in-use" and vm_cid in devices:
                return DiskHint(path=devices[vm_cid], id=cid)
            _free(volume, but=vm_cid)
            if volume.status in ("available", "error", "error_attaching"):
                raise CpiError(
                    f"the disk {cid} could not be attached to {vm_cid}: it is in state '{volume.status}'", resource=cid, kind="disk",
                    suggestion="`openstack server event list` shows what happened.")
            return None

        hint: DiskHint = self._volumes.wait(f"disk {cid} to be attached to {vm_cid}", look)
        return hint

    def detach(self, vm_cid: str, cid: str) -> None:
        """Left alone when it is attached elsewhere."""
        try:
            volume = self._volumes.get(cid)
        except NotFound:
            return
        if vm_cid not in dict(volume.attachments):
            return
        if volume.status != "detaching":
            try:
                self._servers.detach(vm_cid, cid)
            except NotFound:
                return

        def look() -> bool | None:
            try:
                left = self._volumes.get(cid)
            except NotFound:
                return True
            return True if vm_cid not in dict(left.attachments) and left.status != "detaching" else None

        self._volumes.wait(f"disk {cid} to be detached from {vm_cid}", look)

    def resize(self, cid: str, size_mib: int) -> None:
        self._grow(self._volumes.get(cid), size_mib)

    def _grow(self, volume: Volume, size_mib: int) -> None:
        if size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {size_mib}")
        _free(volume)
        size = max(_LEAST_GIB, gib(size_mib))
        if size < volume.size:
            raise NotSupported(f"the disk {volume.id} of {volume.size} GiB cannot be made smaller", resource=volume.id)
        if size == volume.size:
            return
        # Raw: Libcloud cannot extend. Asked again after a lost answer Cinder says that the new size must be greater: then it is done.
        try:
            self._act(volume.id, {"os-extend": {"new_size": size}})
        except Invalid:
            if self._volumes.get(volume.id).size < size:
                raise

        def look() -> bool | None:
            now = self._volumes.get(volume.id)
            if now.status.startswith("error"):
                raise CpiError(f"the disk {volume.id} could not be extended: it is in state '{now.status}'", resource=volume.id)
            return True if now.status == "available" and now.size >= size else None

        self._volumes.wait(f"disk {volume.id} to have {size} GiB", look)

    def update(self, cid: str, size_mib: int, properties: Properties) -> str:
        """In place: another type by retype (which moves the data when it must), then the size."""
        checked = Schema.of("openstack").check("disk_type", properties)
        volume = self._volumes.get(cid)
        _free(volume)
        if max(_LEAST_GIB, gib(size_mib)) < volume.size:
            raise NotSupported(f"the disk {cid} of {volume.size} GiB cannot be made smaller", resource=cid)
        kind = checked.get("type") or self._config.get("default_volume_type") or volume.type
        if kind != volume.type:
            self._retype(volume, kind)
        self._grow(self._volumes.get(cid), size_mib)
        return cid

    def _retype(self, volume: Volume, kind: str) -> None:
        try:
            # Raw: Libcloud cannot change the type.
            self._act(volume.id, {"os-retype": {"new_type": kind, "migration_policy": "on-demand"}})
        except NotFound as error:
            raise Invalid(f"there is no volume type '{kind}'", suggestion="`openstack volume type list` shows them.") from error
        seen = 0

        def look() -> bool | None:
            nonlocal seen
            now = self._volumes.get(volume.id)
            if now.status == "available" and now.type == kind:
                return True
            seen += now.status == "available"
            if seen > 2 or now.status.startswith("error"):
                raise NotSupported(
                    f"the disk {volume.id} stays of type '{now.type}': the cloud cannot change it to '{kind}'", resource=volume.id,
                    suggestion="The disk is whole. With a new disk its data can be copied.")
            return None

        self._volumes.wait(f"disk {volume.id} to be of type {kind}", look)

    def _act(self, cid: str, action: Mapping[str, Any]) -> None:
        self._api.send("POST", "volume", f"/volumes/{cid}/action", action)

    def set_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        there = self._volumes.get(cid).metadata
        self._api.send("PUT", "volume", f"/volumes/{cid}/metadata", {"metadata": self._marks.replaced(there, metadata)})

    # Snapshots

    def snapshot(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        """Of an attached disk too: `force`, as the machine's own writes are the caller's business."""
        with self._once(token):
            known = self._volumes.snapshot_named(token)
            if known is not None:
                if known.volume != cid:
                    raise Conflict(f"the token '{token}' has made {known.id} of another disk", resource=known.id)
                if not known.status.startswith("error"):
                    self._volumes.snapshot_ready(known.id)
                    return known.id
                self._volumes.delete_snapshot(known.id)
            marked = {key: value for key, value in self._marks.metadata(token, "", metadata).items() if key != tags.SHAPE}
            try:
                return self._volumes.create_snapshot({"volume_id": cid, "name": token, "force": True, "metadata": marked})
            except Invalid:
                self._volumes.get(cid)  # Cinder's word for a disk that is not there, too, where its id has another form
                raise

    def delete_snapshot(self, cid: str) -> None:
        self._volumes.delete_snapshot(cid)


def _free(volume: Volume, but: str = "") -> None:
    """Raises Conflict, naming the machine, when the volume is attached (to another one than `but`)."""
    machines = [machine for machine, _ in volume.attachments if machine != but]
    if machines:
        raise Conflict(f"the disk {volume.id} is attached to {', '.join(machines)}", resource=volume.id, kind="disk")
