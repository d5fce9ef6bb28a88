"""vSphere as a CPI. The parts: `creation` and `machines`, `disks`, `stemcells`; below them `inventory`, `placement`, `tasks`, `session`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cpis.cloud.odd import explained
from cpis.cloud.sizes import MachineType, smallest
from cpis.contract import Check, CpiInfo, DiskHint, DiskRequest, Found, Properties, Uses, Vm, VmRequest, VmResources
from cpis.vsphere.address import Address
from cpis.vsphere.checks import Checks
from cpis.vsphere.config import Config
from cpis.vsphere.creation import Creation
from cpis.vsphere.disks import Disks
from cpis.vsphere.inventory import Inventory
from cpis.vsphere.machines import Machines
from cpis.vsphere.placement import Placement
from cpis.vsphere.session import CALL_SECONDS, Session
from cpis.vsphere.stemcells import Stemcells

# The most that vSphere 8 gives one machine; hosts may have less, which their power-on tells.
_LARGEST = MachineType("vSphere 8's maximum", 768, 24 * 1024 * 1024)
_RAM_STEP_MIB = 4

log = logging.getLogger("cpis")


@explained
class VsphereCpi:
    """Implements `cpis.contract.Cpi`. `config` is a CPI config's `properties` (schema.yml, section `cpi`) with `director`, the mark.

    Nothing is asked of vCenter before the first call that needs it. Raises Invalid, NotSupported for a wrong configuration.
    """

    name = "vsphere"

    def __init__(
        self, config: Mapping[str, Any], *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = Config.read(config)
        values = self._config.values
        options = values.get("connection_options") or {}
        monotonic = time.monotonic if clock is time.time else clock
        self.session = Session(
            Address(values["host"], values["port"]), (values["user"], values["password"]), ca_cert=options.get("ca_cert") or "",
            timeout=float(options.get("timeout") or CALL_SECONDS), log_calls=bool(values["http_logging"]), clock=monotonic, sleep=sleep)
        self._inventory = Inventory(self.session, self._config.datacenter)
        self._placement = Placement(self.session, self._inventory)
        self._stemcells = Stemcells(self.session, self._inventory, self._placement, self._config, clock)
        self._machines = Machines(self.session, self._inventory, self._config)
        self._disks = Disks(self.session, self._inventory, self._placement, self._machines, self._config, clock)
        self._creation = Creation(
            self.session, self._inventory, self._placement, self._stemcells, self._machines, self._config, self._disks.stores_of, clock)
        self._closing = threading.Lock()

    def info(self) -> CpiInfo:
        return CpiInfo(("vsphere-ovf", "vsphere-ova", "vsphere-light"), 2)

    # Stemcells

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        return self._stemcells.create(image_path, cloud_properties, token)

    def delete_stemcell(self, cid: str) -> None:
        self._stemcells.delete(cid)

    # Machines

    def create_vm(self, request: VmRequest) -> Vm:
        return self._creation.create(request)

    def delete_vm(self, cid: str) -> None:
        self._disks.settle(self._machines.delete(cid))

    def has_vm(self, cid: str) -> bool:
        return self._machines.ref(cid) is not None

    def reboot_vm(self, cid: str) -> None:
        self._machines.reboot(cid)

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._machines.set_metadata(cid, metadata)

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        smallest([_LARGEST], resources)
        ram = -(-resources.ram_mib // _RAM_STEP_MIB) * _RAM_STEP_MIB
        return {"cpu": resources.cpu, "ram": ram, "disk": resources.ephemeral_disk_size_mib}

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        return list(self._machines.get(vm_cid).persistent)

    # Disks

    def create_disk(self, request: DiskRequest) -> str:
        return self._disks.create(request)

    def delete_disk(self, cid: str) -> None:
        self._disks.delete(cid)

    def has_disk(self, cid: str) -> bool:
        return self._disks.has(cid)

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

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        return self._disks.snapshot(cid, metadata, token)

    def delete_snapshot(self, cid: str) -> None:
        self._disks.delete_snapshot(cid)

    # Looking

    def find(self, token: str) -> Sequence[Found]:
        return [*self._machines.found(token), *self._stemcells.find(token), *self._disks.find(token)]

    def owned(self) -> Sequence[Found]:
        return [*self._machines.owned(), *self._stemcells.owned(), *self._disks.owned()]

    def checks(self, uses: Uses) -> Iterable[Check]:
        """As `cpis.contract.CloudChecker` says."""
        return Checks(self.session, self._inventory, self._config).run(uses)

    def close(self) -> None:
        with self._closing:
            self.session.close()
