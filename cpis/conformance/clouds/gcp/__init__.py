"""A stand-in for GCP: a stateful fake of Compute Engine and of the parts of Cloud Storage that a CPI needs, in this process, over HTTP.

    world.py       what exists, and operations that take their time      instances.py, disks.py   what changes it
    catalog.py     what the cloud is born with                           checks.py                what it refuses in a body
    routes.py      which request does what                               filters.py               `filter` of lists
    storage.py     buckets and resumable uploads                         faults.py, server.py     faults; HTTP, tokens

It proves that we send what we believe to be right, not that Google agrees. Source: cloud-emulators reference, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from cpis.conformance.bench import OtherZone, Site
from cpis.conformance.clouds.gcp.catalog import PUBLIC_ADDRESSES, fill
from cpis.conformance.clouds.gcp.faults import Fault, rate_limit
from cpis.conformance.clouds.gcp.furnish import furnish
from cpis.conformance.clouds.gcp.server import EMAIL, Cloud, Server, key_pair
from cpis.conformance.clouds.gcp.world import World
from cpis.conformance.furnish import Furnished, Wanted
from cpis.conformance.keys import login
from cpis.contract import Network
from cpis.registry import load

__all__ = ["PROJECT", "Fault", "GcpStandIn", "rate_limit", "start"]

PROJECT = "fake-project"
_ZONE = "us-central1-a"
_OTHER_ZONE = "us-central1-b"
_CLOUD_CONFIG = """\
azs:
- name: z1
  cloud_properties: {zone: us-central1-a}
- name: z2
  cloud_properties: {zone: us-central1-b}
- name: z3
  cloud_properties: {zone: us-central1-c}
vm_types:
- name: small
  cloud_properties: {machine_type: e2-small}
- name: medium
  cloud_properties: {machine_type: e2-medium}
- name: compilation
  cloud_properties: {machine_type: e2-standard-2}
vm_extensions:
- name: privileged
disk_types:
- name: small
  disk_size: 10240
- name: medium
  disk_size: 20480
networks:
- name: default
  type: manual
  subnets:
  - range: 10.244.16.0/24
    gateway: 10.244.16.1
    azs: [z1, z2, z3]
    reserved: [10.244.16.2-10.244.16.9]
    static: [10.244.16.10-10.244.16.59]
    cloud_properties: {network_name: caisson, subnetwork_name: foundation}
compilation:
  workers: 2
  az: z1
  vm_type: compilation
  network: default
  reuse_compilation_vms: true
"""


class GcpStandIn:
    """Implements `cpis.conformance.standin.StandIn`. `cloud` has the switches: `faults`, `denied`, `expire_tokens()`, `world.limits` ..."""

    name = "gcp"
    cpi_type = "gcp"

    def __init__(self, latency: float) -> None:
        world = World(PROJECT, latency)
        fill(world)
        self.cloud = Cloud(world)
        self._server = Server(self.cloud)
        self.endpoint = self._server.url

    @property
    def world(self) -> World:
        return self.cloud.world

    @property
    def config(self) -> Mapping[str, Any]:
        return self.config_for(self.endpoint)

    def config_for(self, url: str) -> Mapping[str, Any]:
        """With the API at `url`; tokens come from the fake itself in any case."""
        key = {
            "type": "service_account", "project_id": PROJECT, "private_key_id": "1", "private_key": key_pair()[1], "client_email": EMAIL,
            "token_uri": f"{self.endpoint}/token",
        }
        return {"project": PROJECT, "json_key": key, "zone": _ZONE, "endpoint": url, "director": "conformance"}

    def site(self) -> Site:
        size = {"machine_type": "e2-small"}
        return Site(
            networks=lambda number: (_default(number),), several=lambda number: (_second(number), _default(number)),
            dynamic=lambda number: (Network(
                "dynamic", "dynamic", default=("dns", "gateway"),
                cloud_properties={"network_name": "caisson", "subnetwork_name": "caisson"}),),
            vip=lambda number: (_default(number), Network("vip", "vip", ip=PUBLIC_ADDRESSES[0])),
            login=login()[0], vm_properties={**size, "zone": _ZONE}, place={"zone": _ZONE}, disk_mib=10240,
            stemcell_properties={"image_url": "projects/debian-cloud/global/images/family/debian-12"},
            other_zone=OtherZone(_ZONE, _OTHER_ZONE, {**size, "zone": _OTHER_ZONE}, lambda number: (_default(number),)),
            user_data_limit=262_144, again=lambda: load(self.cpi_type, self.config),
            unreachable=lambda: load(self.cpi_type, self.config_for("http://127.0.0.1:9"), sleep=lambda seconds: None))

    def cloud_config(self) -> str:
        return _CLOUD_CONFIG

    def furnish(self, wanted: Wanted) -> Furnished:
        return furnish(self, wanted)

    def resources(self) -> Sequence[tuple[str, str]]:
        with self.world.lock:
            self.world.settle()
            made = [(path.rsplit("/", 2)[-2], path) for path in self.world.things if path not in self.world.born]
            buckets = [("buckets", name) for name in self.world.buckets]
            members = [
                ("members", f"{path}: {link}") for path in self.world.born
                for key in ("instances", "_members") for link in self.world.things[path].get(key, ())]
            return [*made, *buckets, *members]

    def requests(self) -> Sequence[tuple[str, str]]:
        with self.world.lock:
            return list(self.cloud.seen)

    def forget_requests(self) -> None:
        with self.world.lock:
            self.cloud.seen.clear()

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> GcpStandIn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _default(number: int) -> Network:
    return Network(
        "default", ip=f"10.0.0.{10 + number}", prefix_length=24, gateway="10.0.0.1", default=("dns", "gateway"),
        cloud_properties={"network_name": "caisson", "subnetwork_name": "caisson"})


def _second(number: int) -> Network:
    return Network(
        "second", ip=f"10.1.0.{10 + number}", prefix_length=24, gateway="10.1.0.1",
        cloud_properties={"network_name": "second", "subnetwork_name": "second"})


def start(workdir: Path, *, latency: float = 0.0) -> GcpStandIn:
    """A fresh cloud whose operations take `latency` seconds. It keeps nothing in `workdir`."""
    return GcpStandIn(latency)
