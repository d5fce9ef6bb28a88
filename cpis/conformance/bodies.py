"""Bodies for machines of a cloud that boots nothing: a CPI that makes each machine in the cloud and again on this computer.

A deployment through it exercises the cloud's CPI in all that a director asks of one, while SSH, disks and processes are real: those of
machines of the local CPI, which have the addresses that the cloud gave. CIDs are the cloud's. Rehearsals name it in a CPI config by its
type, `played`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpis import registry
from cpis.contract import (
    Cpi,
    CpiInfo,
    DiskHint,
    DiskRequest,
    Found,
    Invalid,
    Network,
    NotFound,
    Properties,
    Vm,
    VmRequest,
    VmResources,
)
from cpis.local import LocalCpi
from cpis.portable import sizes

_KEYS = frozenset({"cloud", "properties", "image_path", "body", "director", "state_dir"})
_RECIPE = "recipe"
_USUAL_BODY = {"memory": 2048, "cpus": 2}


class PlayedCpi:
    """Implements `cpis.contract.Cpi`.

    `config`: `cloud` (the CPI type of the cloud) with its `properties`, `body` (cloud properties of all local machines; without it each has
    the memory and the cores of its size in the cloud, as far as this computer has so many), `image_path` (an image for the cloud, where
    light stemcells do not do), `state_dir` (a folder for the local machines and for what belongs together).
    """

    name = "played"

    def __init__(self, config: Mapping[str, Any]) -> None:
        unknown = sorted(set(config) - _KEYS)
        missing = [key for key in ("cloud", "properties", "state_dir") if key not in config]
        if unknown or missing:
            raise Invalid(f"a played cloud has no setting {unknown}" if unknown else f"a played cloud needs {missing}")
        state = Path(config["state_dir"])
        mark = str(config.get("director", "caisson"))
        self.cloud: Cpi = registry.load(str(config["cloud"]), {"director": mark, **config["properties"]})
        self.local = LocalCpi({"state_dir": str(state / "local"), "director": mark})
        self._type = str(config["cloud"])
        self._body: dict[str, Any] | None = config.get("body")
        self._image = str(config.get("image_path", ""))
        self._pairs = _Pairs(state / "pairs.json")

    def info(self) -> CpiInfo:
        return self.cloud.info()

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """`recipe` is the local machines' image, all else is the cloud's."""
        recipe = {key: value for key, value in cloud_properties.items() if key == _RECIPE}
        others = {key: value for key, value in cloud_properties.items() if key != _RECIPE}
        local = self.local.create_stemcell("", recipe, token)
        cid = self.cloud.create_stemcell(image_path or self._image, others, token)
        self._pairs.put(cid, local)
        return cid

    def delete_stemcell(self, cid: str) -> None:
        self.cloud.delete_stemcell(cid)
        self._forget(cid, self.local.delete_stemcell)

    def create_vm(self, request: VmRequest) -> Vm:
        vm = self.cloud.create_vm(request)
        networks = tuple(self._bodily(network) for network in vm.networks if network.type != "vip")
        disks = tuple(self._pairs.get(disk) for disk in request.disk_cids)
        body = dataclasses.replace(
            request, stemcell_cid=self._pairs.get(request.stemcell_cid), cloud_properties=self._body_of(request), networks=networks,
            disk_cids=disks)
        try:
            made = self.local.create_vm(body)
        except Exception:
            self.cloud.delete_vm(vm.cid)
            raise
        self._pairs.put(vm.cid, made.cid)
        return dataclasses.replace(vm, ssh_address=made.ssh_address, ssh_port=made.ssh_port, ephemeral_disk=None, ssh_user="",
                                   host_key_known=True)

    def _body_of(self, request: VmRequest) -> dict[str, Any]:
        """Cloud properties of the local machine."""
        if self._body is not None:
            return self._body
        size = sizes.size(self._type, request.cloud_properties)
        if size is None:
            return _USUAL_BODY
        return {"memory": max(size.ram_mib, 256), "cpus": min(size.cpu, os.cpu_count() or 1)}

    @staticmethod
    def _bodily(network: Network) -> Network:
        """The network as the local CPI takes it: the address is known by now, whoever chose it."""
        return dataclasses.replace(network, type="manual", cloud_properties={})

    def delete_vm(self, cid: str) -> None:
        self._forget(cid, self.local.delete_vm)
        self.cloud.delete_vm(cid)

    def has_vm(self, cid: str) -> bool:
        return self.cloud.has_vm(cid)

    def reboot_vm(self, cid: str) -> None:
        self.cloud.reboot_vm(cid)
        self.local.reboot_vm(self._pairs.get(cid))

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self.cloud.set_vm_metadata(cid, metadata)

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        return self.cloud.calculate_vm_cloud_properties(resources)

    def create_disk(self, request: DiskRequest) -> str:
        cid = self.cloud.create_disk(request)
        local = self.local.create_disk(dataclasses.replace(request, cloud_properties={}, vm_cid="", metadata={}))
        self._pairs.put(cid, local)
        return cid

    def delete_disk(self, cid: str) -> None:
        self.cloud.delete_disk(cid)
        self._forget(cid, self.local.delete_disk)

    def has_disk(self, cid: str) -> bool:
        return self.cloud.has_disk(cid)

    def attach_disk(self, vm_cid: str, disk_cid: str) -> DiskHint:
        """The hint is the local one: it is there that the disk is looked for."""
        self.cloud.attach_disk(vm_cid, disk_cid)
        return self.local.attach_disk(self._pairs.get(vm_cid), self._pairs.get(disk_cid))

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        self.local.detach_disk(self._pairs.find(vm_cid), self._pairs.find(disk_cid))
        self.cloud.detach_disk(vm_cid, disk_cid)

    def resize_disk(self, cid: str, size_mib: int) -> None:
        self.cloud.resize_disk(cid, size_mib)
        self.local.resize_disk(self._pairs.get(cid), size_mib)

    def update_disk(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        updated = self.cloud.update_disk(cid, size_mib, cloud_properties)
        local = self._pairs.get(cid)
        self.local.resize_disk(local, size_mib)
        self._pairs.drop(cid)
        self._pairs.put(updated, local)
        return updated

    def set_disk_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self.cloud.set_disk_metadata(cid, metadata)

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        return self.cloud.get_disks(vm_cid)

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        return self.cloud.snapshot_disk(cid, metadata, token)

    def delete_snapshot(self, cid: str) -> None:
        self.cloud.delete_snapshot(cid)

    def find(self, token: str) -> Sequence[Found]:
        return self.cloud.find(token)

    def owned(self) -> Sequence[Found]:
        return self.cloud.owned()

    def close(self) -> None:
        self.cloud.close()
        self.local.close()

    def _forget(self, cid: str, delete: Any) -> None:
        """Delete the body of a resource, if it has one."""
        local = self._pairs.find(cid)
        if local:
            delete(local)
            self._pairs.drop(cid)


class _Pairs:
    """Which local CID belongs to which of the cloud, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def find(self, cid: str) -> str:
        """The local CID, or an empty text."""
        with self._lock:
            return self._known.get(cid, "")

    def get(self, cid: str) -> str:
        """The local CID. Raises NotFound."""
        found = self.find(cid)
        if not found:
            raise NotFound(f"{cid} has no body on this computer", resource=cid)
        return found

    def put(self, cid: str, local: str) -> None:
        with self._lock:
            self._known[cid] = local
            self._save()

    def drop(self, cid: str) -> None:
        with self._lock:
            self._known.pop(cid, None)
            self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._known, indent=1, sort_keys=True))
        os.replace(new, self._path)
