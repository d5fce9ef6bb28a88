"""Persistent disks (EBS volumes) and their snapshots."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cpis.aws import metadata
from cpis.aws.api import Api, Batch
from cpis.aws.driver import Ec2, Tree, filters, items, tags_of
from cpis.aws.errors import MISMATCH
from cpis.aws.facts import Facts
from cpis.aws.hints import hint
from cpis.aws.instances import GONE, Instances, state, zone
from cpis.aws.launch import volume
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.cloud.tags import SHAPE, TOKEN
from cpis.contract import Conflict, CpiError, DiskHint, DiskRequest, Invalid, NotFound, NotSupported, Properties, Unavailable

DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
_ID = re.compile(r"vol-[0-9a-f]{8,17}")
_SNAPSHOT_ID = re.compile(r"snap-[0-9a-f]{8,17}")
_GONE = ("deleting", "deleted")
_OLD_TOKENS = 20
_MODIFICATION_SECONDS = 1800.0
_SNAPSHOT_SECONDS = 6 * 3600.0
# One modification of a volume in six hours. Source: CPI contract, section 6.2.
_NOT_NOW = frozenset({"VolumeModificationRateExceeded", "IncorrectModificationState", "VolumeModificationSizeLimitExceeded"})

_NO_KEY = "Often the key that encrypts it cannot be used: may the identity do kms:CreateGrant and kms:GenerateDataKeyWithoutPlaintext?"
_VISIBLE_SECONDS = 20.0
_FREEING_SECONDS = 120.0

log = logging.getLogger("cpis")


class Disks:
    """Safe to use from many threads."""

    def __init__(self, api: Api, facts: Facts, instances: Instances, config: Mapping[str, Any], director: str) -> None:
        self._api = api
        self._facts = facts
        self._instances = instances
        self._config = config
        self._director = director
        self._schema = Schema.of("aws")
        self._once = OnePerToken()
        self._batch = Batch(lambda params: api.pages("DescribeVolumes", "volumeSet", params), "volume-id", "volumeId")

    def get(self, cid: str) -> Tree | None:
        """The volume, or None when it is not there or going."""
        if not _ID.fullmatch(cid):
            return None
        found = self._batch.get(cid)
        return None if found is None or found["status"] in _GONE else found

    def must(self, cid: str) -> Tree:
        """Raises NotFound."""
        found = self.get(cid)
        if found is None:
            raise NotFound(f"there is no disk {cid}", resource=cid, kind="disk", code="InvalidVolume.NotFound")
        return found

    def create(self, request: DiskRequest) -> str:
        """See `Cpi.create_disk`."""
        if request.size_mib < 1:
            raise Invalid(f"a disk must have at least 1 MiB, not {request.size_mib}")
        properties = {**self._encryption(), **self._schema.check("disk_type", request.cloud_properties)}
        place = self._place(request, properties)
        shape = metadata.shape(request.size_mib, request.cloud_properties, place)
        ours = {"director": self._director, TOKEN: request.token, SHAPE: shape}
        tags = metadata.tags(request.metadata, ours, properties.get("tags"))
        params = {
            "AvailabilityZone": place, "Size": str(gib(request.size_mib)), **volume(properties),
            **metadata.specifications({"volume": tags}),
        }
        with self._once(request.token):
            for number in range(1, _OLD_TOKENS):
                token = request.token if number == 1 else f"{request.token}.{number}"
                cid = self._ask(params, token, shape, request.token)
                if self._is_usable(cid):
                    return cid
        raise Conflict(f"the token '{request.token}' has made {_OLD_TOKENS} disks that are gone", code=MISMATCH)

    def _place(self, request: DiskRequest, properties: Mapping[str, Any]) -> str:
        if request.vm_cid:
            return zone(self._instances.live(request.vm_cid))
        return str(properties.get("availability_zone") or self._facts.zones()[0])

    def _encryption(self) -> dict[str, Any]:
        if not self._config.get("encrypted"):
            return {}
        return {"encrypted": True, "kms_key_arn": self._config.get("kms_key_arn")}

    def _ask(self, params: Mapping[str, str], client: str, shape: str, token: str) -> str:
        try:
            return str(self._api.ask("CreateVolume", {**params, "ClientToken": client})["volumeId"])
        except Conflict as error:
            there = self._api.pages("DescribeVolumes", "volumeSet", filters(**{f"tag:{TOKEN}": token})) if error.code == MISMATCH else []
            if len(there) == 1 and tags_of(there[0]).get(SHAPE) == shape:
                return str(there[0]["volumeId"])  # with other tags, but the same disk
            raise

    def _is_usable(self, cid: str) -> bool:
        """Waits until the volume can be attached; False for one that this token made before and that is deleted."""
        seen = False

        def look() -> bool | None:
            nonlocal seen
            found = self._batch.get(cid)
            if found is None:
                return False if seen else None
            seen = True
            if found["status"] == "error":
                self._api.do("DeleteVolume", lambda driver: driver.destroy_volume(driver.storage(cid)))
                raise Unavailable(f"the volume {cid} could not be made: EC2 tells no reason", resource=cid, kind="disk", suggestion=_NO_KEY)
            if found["status"] in _GONE:
                return False
            return True if found["status"] in ("available", "in-use") else None

        try:
            return self._api.wait(f"disk {cid} to be available", look)
        except Unavailable as error:
            if error.code == "timeout" and not seen:
                return False
            raise

    def delete(self, cid: str) -> None:
        """See `Cpi.delete_disk`: its snapshots go with it."""
        if not _ID.fullmatch(cid):
            return
        refused: list[Conflict] = []

        def attempt() -> bool | None:
            try:
                self._api.do("DeleteVolume", lambda driver: driver.destroy_volume(driver.storage(cid)))
                return True
            except NotFound:
                return True
            except Conflict as error:
                refused.append(error)
            for item in _attachments(self.get(cid) or {}):
                self._left(str(item["instanceId"]), cid)  # raises while that machine lives
            return None

        try:
            self._api.wait(f"disk {cid} to be free", attempt, _FREEING_SECONDS)
        except Unavailable as error:
            raise refused[-1] if error.code == "timeout" and refused else error from None
        params = {"Owner.1": "self", **filters(**{"volume-id": cid, "tag-key": TOKEN})}
        for snapshot in self._api.pages("DescribeSnapshots", "snapshotSet", params):
            self.delete_snapshot(snapshot["snapshotId"])

    # Attaching

    def attach(self, vm_cid: str, cid: str) -> DiskHint:
        """See `Cpi.attach_disk`."""
        with self._once(vm_cid):
            instance = self._instances.live(vm_cid)
            found = self.must(cid)
            if zone(instance) != found["availabilityZone"]:
                raise Invalid(
                    f"the disk {cid} is in {found['availabilityZone']}, the machine {vm_cid} in {zone(instance)}",
                    resource=cid, kind="disk", code="InvalidVolume.ZoneMismatch")
            if not any(item["instanceId"] == vm_cid for item in _attachments(found)):
                self._attach(instance, cid, found)
            device = self._api.wait(f"disk {cid} to be attached to {vm_cid}", lambda: self._attached(vm_cid, cid))
        return hint(str(instance["instanceType"]), cid, device)

    def _attach(self, instance: Tree, cid: str, found: Tree) -> None:
        vm_cid = str(instance["instanceId"])
        for item in _attachments(found):
            self._api.wait(f"disk {cid} to leave {item['instanceId']}", partial(self._left, str(item["instanceId"]), cid))
        used = {item["deviceName"] for item in items(instance, "blockDeviceMapping")}
        for device in [device for device in DEVICES if device not in used and device.replace("sd", "xvd") not in used]:
            def attach(driver: Ec2, device: str = device) -> None:
                driver.attach_volume(driver.node(vm_cid), driver.storage(cid), device)

            try:
                self._api.do("AttachVolume", attach, also=lambda error: error.code == "IncorrectState", patience=120.0)
                return
            except Conflict as error:
                # Repeated after a lost answer, or another director was faster.
                now = self.get(cid) or {}
                if error.code == "VolumeInUse" and any(item["instanceId"] == vm_cid for item in _attachments(now)):
                    return
                raise
            except Invalid as error:
                if "already in use" not in error.message:
                    raise
                log.info("%s of %s is taken meanwhile, trying the next", device, vm_cid)
        raise Conflict(f"the machine {vm_cid} has no place for another disk: it has {len(DEVICES)}", resource=vm_cid, kind="vm")

    def _left(self, holder: str, cid: str) -> bool | None:
        """True as soon as the disk is free. Raises Conflict while it is with a machine that lives."""
        if not any(item["instanceId"] == holder for item in _attachments(self.must(cid))):
            return True
        instance = self._instances.get(holder)
        if instance is not None and state(instance) not in GONE:
            raise Conflict(f"the disk {cid} is attached to {holder}", resource=cid, kind="disk", code="VolumeInUse")
        return None

    def _attached(self, vm_cid: str, cid: str) -> str | None:
        for item in _attachments(self.must(cid)):
            if item["instanceId"] == vm_cid and item.get("status") == "attached":
                return str(item["device"])
        return None

    def detach(self, vm_cid: str, cid: str) -> None:
        """See `Cpi.detach_disk`."""
        found = self.get(cid)
        if found is None or not any(item["instanceId"] == vm_cid for item in _attachments(found)):
            return
        try:
            # Libcloud's detach_volume names no instance: from a machine that got the disk meanwhile it would be taken, too.
            self._api.ask("DetachVolume", {"VolumeId": cid, "InstanceId": vm_cid})
        except (NotFound, Conflict) as error:
            log.debug("%s is detached already: %s", cid, error)

        def look() -> bool | None:
            now = self.get(cid)
            return True if now is None or not any(item["instanceId"] == vm_cid for item in _attachments(now)) else None

        self._api.wait(f"disk {cid} to be detached from {vm_cid}", look)

    def of_vm(self, vm_cid: str) -> Sequence[str]:
        """See `Cpi.get_disks`."""
        instance = self._instances.live(vm_cid)
        return [
            item["ebs"]["volumeId"] for item in items(instance, "blockDeviceMapping")
            if item["deviceName"].replace("xvd", "sd") in DEVICES and item["ebs"].get("deleteOnTermination") != "true"
        ]

    # Changing

    def resize(self, cid: str, size_mib: int) -> None:
        """See `Cpi.resize_disk`."""
        found = self._free(cid)
        if gib(size_mib) != int(found["size"]):
            self._modify(found, {}, size_mib)

    def update(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        """See `Cpi.update_disk`: in place, or NotSupported."""
        wanted = {**self._encryption(), **self._schema.check("disk_type", cloud_properties)}
        found = self._free(cid)
        if bool(wanted.get("encrypted")) != (found.get("encrypted") == "true"):
            raise NotSupported(f"the encryption of the disk {cid} cannot be changed", resource=cid, kind="disk")
        key = wanted.get("kms_key_arn")
        if key and found.get("kmsKeyId") and found["kmsKeyId"] != key:
            raise NotSupported(f"the key that encrypts the disk {cid} cannot be changed", resource=cid, kind="disk")
        names = {"type": ("VolumeType", "volumeType"), "iops": ("Iops", "iops"), "throughput": ("Throughput", "throughput")}
        given = {ours: str(wanted[ours]) for ours in names if wanted.get(ours)}
        changed = {names[ours][0]: value for ours, value in given.items() if value != found.get(names[ours][1])}
        if changed or gib(size_mib) != int(found["size"]):
            self._modify(found, changed, size_mib)
        return cid

    def _free(self, cid: str) -> Tree:
        found = self.must(cid)
        if _attachments(found):
            holder = _attachments(found)[0]["instanceId"]
            raise Conflict(f"the disk {cid} is attached to {holder}", resource=cid, kind="disk", code="VolumeInUse")
        return found

    def _modify(self, found: Tree, changed: Mapping[str, str], size_mib: int) -> None:
        cid, size = str(found["volumeId"]), int(found["size"])
        if gib(size_mib) < size:
            raise NotSupported(f"the disk {cid} of {size} GiB cannot be made smaller", resource=cid, kind="disk")
        parameters = dict(changed)
        if gib(size_mib) > size:
            parameters["Size"] = str(gib(size_mib))
        try:
            # Libcloud's method looks for its answer in a namespace that not every stand-in has, and would not know of a new type.
            self._api.ask("ModifyVolume", {"VolumeId": cid, **parameters})
        except CpiError as error:
            if error.code in _NOT_NOW:
                raise NotSupported(error.message, resource=cid, kind="disk", code=error.code, request_id=error.request_id) from error
            raise
        self._api.wait(f"disk {cid} to be changed", lambda: self._modified(cid), _MODIFICATION_SECONDS)

    def _modified(self, cid: str) -> bool | None:
        answer = self._api.ask("DescribeVolumesModifications", {"VolumeId.1": cid})
        latest = max(items(answer, "volumeModificationSet"), key=lambda item: str(item.get("startTime")), default=None)
        if latest is None:
            return None
        if latest["modificationState"] == "failed":
            raise Unavailable(f"the disk {cid} could not be changed: {latest.get('statusMessage')}", resource=cid, kind="disk")
        # While it is optimizing it has its new size and may be used.
        return True if latest["modificationState"] in ("optimizing", "completed") else None

    def set_metadata(self, cid: str, values: Mapping[str, Any]) -> None:
        """See `Cpi.set_disk_metadata`."""
        metadata.replace(self._api, cid, tags_of(self.must(cid)), values)

    # Snapshots

    def snapshot(self, cid: str, values: Mapping[str, Any], token: str) -> str:
        """See `Cpi.snapshot_disk`. CreateSnapshot knows no token: what one made is looked for first, and after a lost answer again."""
        with self._once(token):
            found = self._snapshots(token)
            if not found:
                self.must(cid)
                try:
                    found = [self._create_snapshot(cid, values, token)]
                except Unavailable:
                    found = self._snapshots(token)
                    if not found:
                        raise
        if found[0]["volumeId"] != cid:
            raise Conflict(f"the token '{token}' has made a snapshot of {found[0]['volumeId']}, not of {cid}", resource=cid, kind="disk")
        snapshot = str(found[0]["snapshotId"])
        self.wait_for_snapshot(snapshot)
        return snapshot

    def _create_snapshot(self, cid: str, values: Mapping[str, Any], token: str) -> Tree:
        tags = metadata.tags(values, {"director": self._director, TOKEN: token})
        words = f"{values.get('deployment', '')}/{values.get('job', '')}/{values.get('index', '')}".strip("/")
        params = {"VolumeId": cid, "Description": words[:255] or cid, **metadata.specifications({"snapshot": tags})}
        return self._api.ask("CreateSnapshot", params, repeatable=False)

    def _snapshots(self, token: str) -> list[Tree]:
        return self._api.pages("DescribeSnapshots", "snapshotSet", {"Owner.1": "self", **filters(**{f"tag:{TOKEN}": token})})

    def wait_for_snapshot(self, cid: str) -> None:
        """Until it can be used. Raises Unavailable when it fails."""

        def look() -> bool | None:
            found = items(self._api.ask("DescribeSnapshots", {"SnapshotId.1": cid}, also=_not_there_yet, patience=120.0), "snapshotSet")
            if not found:
                return None
            log.debug("snapshot %s: %s", cid, found[0].get("progress"))
            if found[0]["status"] == "error":
                raise Unavailable(f"the snapshot {cid} failed: {found[0].get('statusMessage')}", resource=cid, kind="snapshot")
            return True if found[0]["status"] == "completed" else None

        self._api.wait(f"snapshot {cid} to be completed", look, _SNAPSHOT_SECONDS)

    def delete_snapshot(self, cid: str) -> None:
        """See `Cpi.delete_snapshot`."""
        if not _SNAPSHOT_ID.fullmatch(cid):
            return
        try:
            self._api.ask("DeleteSnapshot", {"SnapshotId": cid})
        except NotFound:
            return


def _attachments(found: Mapping[str, Any]) -> list[Tree]:
    return [item for item in items(found, "attachmentSet") if item.get("status") != "detached"]


def _not_there_yet(error: CpiError) -> bool:
    return isinstance(error, NotFound)
