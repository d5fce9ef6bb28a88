"""The CPI of Azure: the contract's methods over Azure Resource Manager."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cpis.azure.arm import Arm
from cpis.azure.checks import Checks
from cpis.azure.disks import Disks
from cpis.azure.found import Finder
from cpis.azure.networks import Networks
from cpis.azure.settings import Settings
from cpis.azure.sizes import Sizes
from cpis.azure.stemcells import Stemcells
from cpis.azure.vms import Vms
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.odd import explained
from cpis.contract import Check, CpiInfo, DiskHint, DiskRequest, Found, Properties, Uses, Vm, VmRequest, VmResources


@explained
class AzureCpi:
    """Implements `cpis.contract.Cpi`. `config` is the CPI config's properties (`schema.yml`, section cpi), with the director's mark.

    Nothing is asked of Azure before the first call. Raises Invalid for a configuration that is wrong.
    """

    name = "azure"

    def __init__(
        self, config: Mapping[str, Any], *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._arm = Arm(Settings.read(config, environ), clock=clock, sleep=sleep)
        networks = Networks(self._arm)
        self._vms = Vms(self._arm, networks, lambda cid: self._stemcells.image_of(cid))
        self._disks = Disks(self._arm, self._vms)
        self._stemcells = Stemcells(self._arm, self._disks)
        self._sizes = Sizes(self._arm, self._disks)
        self._finder = Finder(self._arm)
        self._checks = Checks(self._arm, networks, self._disks, self._stemcells, self._sizes)
        self._once = OnePerToken()

    @contextlib.contextmanager
    def _alone(self, *keys: str) -> Iterator[None]:
        """One call at a time for each key."""
        with contextlib.ExitStack() as stack:
            for key in keys:
                stack.enter_context(self._once(key))
            yield

    def info(self) -> CpiInfo:
        return CpiInfo(("azure-vhd", "azure-light", "caisson-light"), 2)

    # Stemcells

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """Light: `image` (publisher, offer, sku, version) or `image_id`. Heavy: a fixed VHD, or BOSH's archive with one."""
        with self._alone(token):
            return self._stemcells.create(image_path, cloud_properties, token)

    def delete_stemcell(self, cid: str) -> None:
        with self._alone(cid):
            self._stemcells.delete(cid)

    # Machines

    def create_vm(self, request: VmRequest) -> Vm:
        with self._alone(request.token):
            return self._vms.create(request)

    def delete_vm(self, cid: str) -> None:
        with self._alone(f"delete {cid}"):
            self._vms.delete(cid)

    def has_vm(self, cid: str) -> bool:
        return self._vms.exists(cid)

    def reboot_vm(self, cid: str) -> None:
        self._vms.reboot(cid)

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._vms.set_metadata(cid, metadata)

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        return self._sizes.calculate(resources)

    # Disks

    def create_disk(self, request: DiskRequest) -> str:
        with self._alone(request.token):
            return self._disks.create(request)

    def delete_disk(self, cid: str) -> None:
        with self._alone(f"delete {cid}"):
            self._disks.delete(cid)

    def has_disk(self, cid: str) -> bool:
        return self._disks.find(cid) is not None

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
        return self._disks.attached(vm_cid)

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        with self._alone(token):
            return self._disks.snapshot(cid, metadata, token)

    def delete_snapshot(self, cid: str) -> None:
        self._disks.delete_snapshot(cid)

    # Sweeping

    def find(self, token: str) -> Sequence[Found]:
        return self._finder.token(token)

    def owned(self) -> Sequence[Found]:
        return self._finder.owned()

    def checks(self, uses: Uses) -> Iterator[Check]:
        """For `caisson cloud check`: see `cpis.contract.CloudChecker`."""
        yield from self._checks.run(uses)

    def close(self) -> None:
        self._arm.close()
