"""What stands in for Azure: a fake of Azure Resource Manager that keeps state, over HTTP on this computer.

Written from `cloud-emulators.md`, section 6, and the service's public descriptions; nobody else's emulator of it exists. So it proves that
we send what we believe to be right. Implicitly made disks get their machine's tags, as on the service; no code of ours leans on that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cpis import registry
from cpis.conformance.bench import OtherZone, Site
from cpis.conformance.clouds.azure.disks import Pages
from cpis.conformance.clouds.azure.furnish import furnish
from cpis.conformance.clouds.azure.server import Arm, serve
from cpis.conformance.clouds.azure.store import Fault, Store, Tree
from cpis.conformance.furnish import Furnished, Wanted
from cpis.contract import Cpi, Login, Network

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
TENANT = "99999999-1111-2222-3333-444444444444"
CLIENT = "77777777-1111-2222-3333-444444444444"
SECRET = "s3cr3t~of-the-client"
GROUP = "caisson"
OTHER_GROUP = "shared"
LOCATION = "westeurope"
VNET = "caisson-net"
SUBNET = "machines"
PUBLIC_ADDRESS = "52.166.7.7"

_CLOUD_CONFIG = """\
azs:
- name: z1
  cloud_properties: {availability_zone: '1'}
- name: z2
  cloud_properties: {availability_zone: '2'}
vm_types:
- name: small
  cloud_properties: {instance_type: Standard_B1s}
- name: compilation
  cloud_properties: {instance_type: Standard_B2s}
disk_types:
- name: small
  disk_size: 1024
networks:
- name: default
  type: manual
  subnets:
  - range: 10.86.16.0/24
    gateway: 10.86.16.1
    azs: [z1, z2]
    reserved: [10.86.16.2-10.86.16.9]
    static: [10.86.16.10-10.86.16.59]
    cloud_properties: {virtual_network_name: caisson-net, subnet_name: machines, security_group: caisson-machines}
- name: foundation
  type: manual
  subnets:
  - range: 10.244.16.0/24
    gateway: 10.244.16.1
    azs: [z1, z2]
    reserved: [10.244.16.2-10.244.16.9]
    static: [10.244.16.10-10.244.16.59]
    cloud_properties: {virtual_network_name: caisson-net, subnet_name: foundation, security_group: caisson-machines}
compilation:
  workers: 1
  az: z1
  vm_type: compilation
  network: default
"""


def _seed(store: Store) -> None:
    """What somebody prepared before: groups, network, security groups, balancers, identities, keys, a gallery."""
    for group in (GROUP, OTHER_GROUP):
        identity = f"/subscriptions/{store.subscription}/resourceGroups/{group}"
        store.resources[identity.lower()] = {
            "id": identity, "name": group, "type": "Microsoft.Resources/resourceGroups", "location": LOCATION, "tags": {}, "_created": "",
            "properties": {"provisioningState": "Succeeded"}}

    def add(kind: str, name: str, properties: Tree | None = None, group: str = GROUP) -> None:
        store.put(store.id_of(group, kind, name), kind, {"location": LOCATION}, {**(properties or {}), "provisioningState": "Succeeded"})

    subnets = [{"name": SUBNET, "properties": {"addressPrefix": "10.86.16.0/24"}},
               {"name": "second", "properties": {"addressPrefix": "10.86.17.0/24"}},
               {"name": "foundation", "properties": {"addressPrefix": "10.244.16.0/24"}}]
    spans = ["10.86.0.0/16", "10.244.0.0/16"]
    add("Microsoft.Network/virtualNetworks", VNET, {"addressSpace": {"addressPrefixes": spans}, "subnets": subnets})
    add("Microsoft.Network/networkSecurityGroups", "caisson-machines")
    add("Microsoft.Network/networkSecurityGroups", "shared-machines", group=OTHER_GROUP)
    add("Microsoft.Network/applicationSecurityGroups", "web")
    add("Microsoft.Network/applicationSecurityGroups", "all")
    add("Microsoft.Network/loadBalancers", "front", {"backendAddressPools": [{"name": "pool"}, {"name": "other"}]})
    add("Microsoft.Network/applicationGateways", "gate", {"backendAddressPools": [{"name": "gate-pool"}]})
    add("Microsoft.Network/publicIPAddresses", "kept", {"ipAddress": PUBLIC_ADDRESS, "publicIPAllocationMethod": "Static"})
    add("Microsoft.ManagedIdentity/userAssignedIdentities", "machine-identity")
    add("Microsoft.Compute/diskEncryptionSets", "keys")
    add("Microsoft.Compute/capacityReservationGroups", "kept-machines")
    add("Microsoft.Compute/galleries", "images")


class AzureStandIn:
    """Implements `cpis.conformance.standin.StandIn`. `store` has the switches and the faults, `arm` the log of requests."""

    name = "azure"
    cpi_type = "azure"
    location = LOCATION

    def __init__(self, *, latency: float = 0.0, pages: Pages | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = Store(SUBSCRIPTION, clock)
        if latency:
            self.store.switches.operation_seconds = latency
            self.store.switches.retry_after = round(latency)
        _seed(self.store)
        self._seeds = set(self.store.resources)
        self.arm = Arm(self.store, LOCATION, TENANT, {CLIENT: SECRET}, pages)
        self._server = serve(self.arm)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def config(self) -> Mapping[str, Any]:
        return self.config_for(self.endpoint)

    def config_for(self, url: str) -> Mapping[str, Any]:
        """Tokens come through the proxy, too: both are parts of what can fail."""
        base = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
        return {
            "environment": {
                "resourceManagerEndpointUrl": base, "activeDirectoryEndpointUrl": base, "activeDirectoryResourceId": f"{base}/",
                "storageEndpointSuffix": ".core.windows.net"},
            "subscription_id": SUBSCRIPTION, "tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET,
            "resource_group_name": GROUP, "default_security_group": "caisson-machines",
        }

    def site(self) -> Site:
        def network(number: int, third: int = 16, **more: Any) -> Network:
            properties = {"virtual_network_name": VNET, "subnet_name": SUBNET if third == 16 else "second"}
            base: dict[str, Any] = {
                "name": "default" if third == 16 else "other", "ip": f"10.86.{third}.{10 + number}", "gateway": f"10.86.{third}.1",
                "cloud_properties": properties}
            return Network(**{**base, **more})

        def networks(number: int) -> tuple[Network, ...]:
            return (network(number, default=("dns", "gateway")),)

        def other(url: str) -> Cpi:
            return registry.load(self.cpi_type, self.config_for(url))

        zone = {"availability_zone": "1"}
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1hZGVVcEtleU1hZGVVcEtleU1hZGVVcEtleU1hZGU"
        private = "-----BEGIN OPENSSH PRIVATE KEY-----\nmade-up\n-----END OPENSSH PRIVATE KEY-----"
        return Site(
            networks=networks, login=Login("caisson", key, key, private), place=zone, disk_properties=zone,
            vm_properties={"instance_type": "Standard_B2s", **zone},
            dynamic=lambda number: (network(number, type="dynamic", ip="", gateway="", default=("dns", "gateway")),),
            several=lambda number: (network(number, 17), network(number, default=("dns", "gateway"))),
            vip=lambda number: (*networks(number), Network("vip", "vip", ip=PUBLIC_ADDRESS)),
            other_zone=OtherZone("1", "2", {"instance_type": "Standard_B2s", "availability_zone": "2"}, networks),
            user_data_limit=65_535, again=lambda: other(self.endpoint), unreachable=lambda: other("http://127.0.0.1:9"),
            stemcell_properties={"image": {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}},
            disk_mib=1024)

    def cloud_config(self) -> str:
        return _CLOUD_CONFIG

    def settle_in(self) -> None:
        """Whatever is there now was prepared by somebody, and is no leak."""
        self._seeds = set(self.store.resources)

    def furnish(self, wanted: Wanted) -> Furnished:
        return furnish(self, wanted)

    def resources(self) -> Sequence[tuple[str, str]]:
        with self.store.lock:
            self.store.settle()
            return [(item["type"].rsplit("/", 1)[-1], item["id"]) for key, item in self.store.resources.items() if key not in self._seeds]

    def requests(self) -> Sequence[tuple[str, str]]:
        with self.store.lock:
            return list(self.arm.log)

    def forget_requests(self) -> None:
        with self.store.lock:
            self.arm.log.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> AzureStandIn:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def start(workdir: Path, *, latency: float = 0.0) -> AzureStandIn:
    """The fake, running. `latency` is what each operation takes, in seconds (0: a fiftieth). Nothing is written to `workdir`."""
    return AzureStandIn(latency=latency)


__all__ = ["AzureStandIn", "Fault", "start"]
