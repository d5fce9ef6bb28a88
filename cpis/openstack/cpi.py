"""The CPI of OpenStack: the contract's methods over servers, ports, volumes and images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cpis.cloud.odd import explained
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.contract import Check, CpiInfo, DiskHint, DiskRequest, Found, Invalid, Properties, Uses, Vm, VmRequest, VmResources
from cpis.openstack import account
from cpis.openstack.api import Api
from cpis.openstack.checks import Checks
from cpis.openstack.disks import Disks
from cpis.openstack.flavors import Flavors
from cpis.openstack.groups import Groups
from cpis.openstack.images import Images, image_of
from cpis.openstack.marks import Marks
from cpis.openstack.networks import Networks
from cpis.openstack.pools import Pools
from cpis.openstack.servers import Servers
from cpis.openstack.sweep import Sweep
from cpis.openstack.vms import Vms
from cpis.openstack.volumes import Volumes

DEFAULT_DIRECTOR = "caisson"


@explained
class OpenStackCpi:
    """Machines of an OpenStack project. Implements `cpis.contract.Cpi`; see there for what methods promise and raise.

    `config` is described by `cpis/openstack/schema.yml`, section `cpi`; `director` in it is the mark of what this director owns. Nothing is
    asked of the cloud before the first method but `info`. `progress` is told in words how far an upload is; `clock` is Unix time.
    """

    name = "openstack"

    def __init__(
        self, config: Mapping[str, Any], *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        checked = Schema.of("openstack").check("cpi", config)
        if checked["use_nova_networking"]:
            raise Invalid("use_nova_networking: OpenStack has had no nova-network since Ussuri", suggestion="Use networks of Neutron.")
        marks = Marks(str(config.get("director") or DEFAULT_DIRECTOR))
        self._api = api = Api(account.read(checked), clock=clock, sleep=sleep)
        pace: dict[str, Any] = {
            "deadline": float(checked["state_timeout"]), "every": float(checked["wait_resource_poll_interval"]), "clock": clock,
            "sleep": sleep}
        self._flavors = Flavors(api, clock)
        self._boots_from_volume = bool(checked["boot_from_volume"])
        servers = Servers(api, **pace)
        networks = Networks(api, marks, clock=clock, sleep=sleep)
        volumes = Volumes(api, lost=float(checked["lost_answer_wait"]), **pace)
        self._images = Images(api, marks, public=bool(checked["stemcell_public_visibility"]), progress=progress, **pace)
        self._vms = Vms(
            checked, marks, servers, networks, volumes, self._flavors, Pools(api), Groups(api, marks), clock=clock, sleep=sleep)
        self._disks = Disks(checked, api, marks, volumes, servers)
        self._checks = Checks(checked, api, self._flavors, networks, self._images)
        self._sweep = Sweep(marks, servers, networks, volumes, self._images)

    def info(self) -> CpiInfo:
        return CpiInfo(("openstack-raw", "openstack-qcow2", "openstack-light"), 2)

    # Stemcells

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """Light: `image_id`. Heavy: a raw or qcow2 image, or the archive with `root.img` of BOSH's stemcells."""
        return self._images.create(image_path, cloud_properties, token)

    def delete_stemcell(self, cid: str) -> None:
        self._images.delete(cid)

    # Machines

    def create_vm(self, request: VmRequest) -> Vm:
        return self._vms.create(request, image_of(request.stemcell_cid))

    def delete_vm(self, cid: str) -> None:
        self._vms.delete(cid)

    def has_vm(self, cid: str) -> bool:
        return self._vms.has(cid)

    def reboot_vm(self, cid: str) -> None:
        self._vms.reboot(cid)

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        self._vms.set_metadata(cid, metadata)

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        """With boot from volume the root disk is made large enough."""
        properties: dict[str, Any] = {"instance_type": self._flavors.smallest(resources, any_root=self._boots_from_volume)}
        if self._boots_from_volume:
            properties["root_disk"] = {"size": gib(resources.ephemeral_disk_size_mib)}
        return properties

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

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        return self._vms.disks(vm_cid)

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        return self._disks.snapshot(cid, metadata, token)

    def delete_snapshot(self, cid: str) -> None:
        self._disks.delete_snapshot(cid)

    # Sweeping

    def find(self, token: str) -> Sequence[Found]:
        return self._sweep.find(token)

    def owned(self) -> Sequence[Found]:
        return self._sweep.owned()

    def checks(self, uses: Uses) -> Iterator[Check]:
        """Implements `cpis.contract.CloudChecker`."""
        return self._checks.run(uses)

    def close(self) -> None:
        self._api.close()
