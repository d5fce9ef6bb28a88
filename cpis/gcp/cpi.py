"""The CPI of GCP: the contract's methods over machines, disks and images."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cpis.cloud.odd import explained
from cpis.cloud.tags import TOKEN
from cpis.contract import (
    Check,
    CpiInfo,
    Denied,
    DiskHint,
    DiskRequest,
    Found,
    Properties,
    Uses,
    Vm,
    VmRequest,
    VmResources,
)
from cpis.gcp.api import Body, Compute, Places
from cpis.gcp.checks import Checks
from cpis.gcp.credentials import tokens_of
from cpis.gcp.disks import Disks
from cpis.gcp.machines import VM, calculate
from cpis.gcp.names import DIRECTOR, last, marks, metadata_of
from cpis.gcp.settings import settings_of
from cpis.gcp.stemcells import STEMCELL, Stemcells
from cpis.gcp.vms import Vms

log = logging.getLogger("cpis")


@explained
class GcpCpi:
    """Implements `cpis.contract.Cpi` and `CloudChecker`; see there for what methods promise and raise, and schema.yml for `config`.

    CIDs are names: of machines, disks, snapshots and images; a light stemcell's is the path of its image.
    """

    name = "gcp"

    def __init__(
        self, config: Mapping[str, Any], *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
        environ: Mapping[str, str] = os.environ, progress: Callable[[str], None] = log.info,
    ) -> None:
        self._settings = settings = settings_of(config)
        tokens = tokens_of(config, environ=environ, clock=clock, ca_file=settings.ca_file)
        self._compute = Compute(
            settings.project, settings.compute, settings.storage, settings.resources, tokens, user_agent=settings.user_agent,
            clock=clock, sleep=sleep)
        self._places = Places(self._compute)
        self._vms = Vms(settings, self._compute, self._places, clock=clock, sleep=sleep)
        self._disks = Disks(settings, self._compute, self._places, clock=clock, sleep=sleep)
        self._stemcells = Stemcells(settings, self._compute, progress=progress, clock=clock, sleep=sleep)
        self._checks = Checks(settings, self._compute, tokens, clock)

    def info(self) -> CpiInfo:
        return CpiInfo(("google-light", "google-rawdisk"), 2)

    def checks(self, uses: Uses) -> Iterable[Check]:
        """See `CloudChecker`."""
        return self._checks.all(uses)

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        return self._stemcells.create(image_path, cloud_properties, token)

    def delete_stemcell(self, cid: str) -> None:
        self._stemcells.delete(cid)

    def create_vm(self, request: VmRequest) -> Vm:
        return self._vms.create(request)

    def delete_vm(self, cid: str) -> None:
        self._vms.delete(cid)

    def has_vm(self, cid: str) -> bool:
        return self._vms.exists(cid)

    def reboot_vm(self, cid: str) -> None:
        self._vms.reboot(cid)

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._vms.set_metadata(cid, metadata)

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        return calculate(resources, self._settings.root_disk_size_gb)

    def create_disk(self, request: DiskRequest) -> str:
        return self._disks.create(request)

    def delete_disk(self, cid: str) -> None:
        self._disks.delete(cid)

    def has_disk(self, cid: str) -> bool:
        return self._disks.exists(cid)

    def attach_disk(self, vm_cid: str, disk_cid: str) -> DiskHint:
        return self._disks.attach(vm_cid, disk_cid)

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        self._disks.detach(vm_cid, disk_cid)

    def resize_disk(self, cid: str, size_mib: int) -> None:
        self._disks.resize(cid, size_mib)

    def update_disk(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        return self._disks.update(cid, size_mib, cloud_properties)

    def set_disk_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._disks.set_metadata(cid, metadata)

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        return self._vms.disks(vm_cid)

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        return self._disks.snapshot(cid, metadata, token)

    def delete_snapshot(self, cid: str) -> None:
        self._disks.delete_snapshot(cid)

    # Sweeping

    def find(self, token: str) -> Sequence[Found]:
        return list(self._marked(TOKEN, marks(self._settings.director, token)[TOKEN], token))

    def owned(self) -> Sequence[Found]:
        return list(self._marked(DIRECTOR, marks(self._settings.director, "")[DIRECTOR], ""))

    def _marked(self, key: str, value: str, token: str) -> Iterator[Found]:
        """What carries this label and a token, in all zones. `token` is the one that is looked for, when it is one: labels may cut it."""
        def ours(items: Iterable[Body]) -> Iterator[tuple[Body, Mapping[str, str]]]:
            for item in items:
                labels = item.get("labels") or {}
                if labels.get(key) == value and labels.get(TOKEN):
                    yield item, labels

        chosen = {"filter": f"labels.{key}={value}"}
        for item, labels in ours(self._compute.aggregated("instances", **chosen)):
            self._places.remember("instances", str(item["name"]), last(item.get("zone")))
            yield _found("vm", item, labels, token)
        for item, labels in ours(self._compute.aggregated("disks", **chosen)):
            self._places.remember("disks", str(item["name"]), last(item.get("zone")))
            if VM not in labels or not item.get("users"):  # a root disk goes with its machine; without one it has been left behind
                yield _found("disk", item, labels, token)
        for kind, path in (("snapshot", "/global/snapshots"), ("stemcell", "/global/images")):
            for item, labels in ours(self._compute.all(path, **chosen)):
                yield _found(kind, item, labels, token)
        yield from self._uploads(ours, token)

    def _uploads(self, ours: Callable[[Iterable[Body]], Iterator[tuple[Body, Mapping[str, str]]]], token: str) -> Iterator[Found]:
        """Buckets of uploads that were interrupted, as the stemcells that they were to become: these are deleted with them."""
        try:
            buckets = self._stemcells.buckets()
        except Denied as error:
            log.info("buckets of interrupted uploads are not looked for: %s", error)
            return
        for item, labels in ours(buckets):
            yield _found("stemcell", {**item, "name": labels.get(STEMCELL, item.get("name"))}, labels, token)

    def close(self) -> None:
        self._compute.close()
        self._settings.close()


def _found(kind: str, item: Body, labels: Mapping[str, str], token: str) -> Found:
    made = item.get("creationTimestamp") or item.get("timeCreated")
    try:
        created = datetime.fromisoformat(str(made)).timestamp() if made else None
    except ValueError:
        created = None
    return Found(kind, str(item["name"]), token or labels[TOKEN], metadata_of(labels), created)
