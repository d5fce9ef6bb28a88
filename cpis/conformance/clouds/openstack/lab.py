"""One run of the services, as a stand-in."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from cpis import registry
from cpis.conformance.bench import OtherZone, Site
from cpis.conformance.clouds.openstack import databases, packages, seed, settings
from cpis.conformance.clouds.openstack.daemons import Daemons
from cpis.conformance.clouds.openstack.front import Front
from cpis.conformance.clouds.openstack.furnish import furnish
from cpis.conformance.clouds.openstack.layout import PASSWORD, REGION, SECOND_ZONE, ZONE, Layout, Ports
from cpis.conformance.furnish import Furnished, Wanted
from cpis.contract import Cpi, Login, Network

PACKAGES = "CAISSON_OPENSTACK_PACKAGES"
"""Environment variable: the folder that keeps the programs between runs. Default `.state/openstack` in the current folder."""

_SERVICES = ("keystone", "placement", "glance", "nova", "neutron", "cinder")
_WORKERS = ("nova-conductor", "nova-scheduler", "nova-compute", "cinder-scheduler", "cinder-volume")
_START_SECONDS = 300.0

log = logging.getLogger("cpis")

def start(workdir: Path, latency: float = 0.0, packages_folder: Path | None = None) -> Lab:
    """All services up and seeded. Raises Skipped when the packages cannot be had, Failed when a service does not start.

    `workdir` gets a folder of this run, removed at its end. `packages_folder` keeps the programs (see PACKAGES).
    """
    packages.need_daemons()
    folder = (packages_folder or Path(os.environ.get(PACKAGES) or ".state/openstack")).absolute()
    venv = packages.environment(folder)
    layout = Layout(workdir.absolute() / f"openstack-{uuid.uuid4().hex[:8]}", venv, Ports.free())
    daemons = Daemons(layout)
    try:
        layout.make()
        settings.write(layout)
        _start(layout, daemons, folder)
        seeded = seed.resources(layout)
    except BaseException:
        daemons.close()
        _keep_logs(layout)
        raise
    return Lab(layout, daemons, seeded, latency)

def _start(layout: Layout, daemons: Daemons, folder: Path) -> None:
    started = time.monotonic()
    daemons.rabbit()
    databases.prepare(layout, daemons, folder)
    log.info("databases after %.0f s", time.monotonic() - started)
    for name in _SERVICES:
        daemons.web(name)
    daemons.wait("keystone-api", lambda: _answers(layout, "keystone", "/v3"), _START_SECONDS)
    seed.catalog(layout)  # before the workers: a scheduler started without a catalog takes Placement as disabled
    log.info("catalog after %.0f s", time.monotonic() - started)
    for name in _WORKERS:
        daemons.worker(name)
    daemons.worker("nova-compute", second=True)
    for name in _SERVICES:
        daemons.wait(f"{name}-api", lambda name=name: _answers(layout, name, "/"), _START_SECONDS)  # type: ignore[misc]
    for name in ("nova-compute", "nova-compute-2"):
        daemons.wait(name, lambda: seed.workers_up(layout), _START_SECONDS)
    daemons.manage("nova-manage", "--config-file", f"{layout.conf}/nova.conf", "cell_v2", "discover_hosts")
    log.info("all up after %.0f s", time.monotonic() - started)

def _answers(layout: Layout, service: str, path: str) -> bool:
    try:
        return httpx.get(layout.url(service) + path, timeout=10.0, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False

def _keep_logs(layout: Layout) -> None:
    """After a failure the logs stay where the run was; all else goes."""
    for path in layout.home.iterdir():
        if path != layout.log:
            shutil.rmtree(path, ignore_errors=True)

class Lab:
    """Implements `cpis.conformance.standin.StandIn`. `admin()` is for tests that need the cloud's operator."""

    name = "openstack"
    cpi_type = "openstack"

    def __init__(self, layout: Layout, daemons: Daemons, seeded: seed.Seeded, latency: float) -> None:
        self.layout = layout
        self.seeded = seeded
        self._daemons = daemons
        self._front = Front({name: getattr(layout.ports, name) for name in _SERVICES}, latency)
        self._login = _login()
        self._lock = threading.Lock()
        self._api: seed.Api | None = None

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        return self._front.url

    @property
    def config(self) -> Mapping[str, Any]:
        return self.config_for(self.endpoint)

    def config_for(self, url: str) -> Mapping[str, Any]:
        return {
            **self.catalog_config(), "auth_url": f"{url}/keystone/v3", "endpoints": {
                "compute": f"{url}/nova/v2.1", "image": f"{url}/glance", "network": f"{url}/neutron",
                "volume": f"{url}/cinder/v3/{self.seeded.project}"},
        }

    def catalog_config(self) -> dict[str, Any]:
        """A configuration that finds the services by Keystone's catalog, past the front."""
        return {
            "auth_url": f"{self.layout.url('keystone')}/v3", "username": "demo", "api_key": PASSWORD, "project": "demo",
            "domain": "Default", "region": REGION, "wait_resource_poll_interval": 0.5, "lost_answer_wait": 15, "config_drive": "disk",
        }

    def site(self) -> Site:
        place = {"availability_zone": ZONE}
        tiny = {"instance_type": "m1.tiny"}

        def unreachable() -> Cpi:
            with contextlib.closing(socket.socket()) as free:
                free.bind(("127.0.0.1", 0))
                url = f"http://127.0.0.1:{free.getsockname()[1]}"
            return registry.load(self.cpi_type, self.config_for(url))

        return Site(
            lambda number: (self._manual(number),), self._login, vm_properties={**tiny, **place}, place=place,
            stemcell_properties={"image_id": self.seeded.image},
            dynamic=lambda number: (Network("default", "dynamic", cloud_properties={"net_id": self.seeded.network}),),
            several=lambda number: (self._manual(number), self._second(number)),
            vip=lambda number: (self._manual(number), Network("public", "vip", self.seeded.floating_ip)),
            other_zone=OtherZone(ZONE, SECOND_ZONE, {**tiny, "availability_zone": SECOND_ZONE}, lambda number: (self._manual(number),)),
            user_data_limit=65_535, again=lambda: registry.load(self.cpi_type, self.config), unreachable=unreachable)

    def _manual(self, number: int) -> Network:
        return Network(
            "default", "manual", f"10.10.0.{20 + number}", 24, "10.10.0.1", ("10.10.0.2",), ("dns", "gateway"),
            {"net_id": self.seeded.network})

    def _second(self, number: int) -> Network:
        return Network(
            "second", "manual", f"10.11.0.{20 + number}", 24, "10.11.0.1", cloud_properties={"net_id": self.seeded.second_network})

    def cloud_config(self) -> str:
        small: dict[str, Any] = {"instance_type": "m1.tiny"}
        return yaml.safe_dump({
            "azs": [{"name": name, "cloud_properties": {"availability_zone": ZONE}} for name in ("z1", "z2", "z3")],
            "vm_types": [{"name": name, "cloud_properties": small} for name in ("default", "small", "medium", "compilation")],
            "disk_types": [{"name": "small", "disk_size": 1024}, {"name": "medium", "disk_size": 4096}],
            "networks": [{"name": "default", "type": "manual", "subnets": [{
                "range": seed.SUBNET, "gateway": "10.10.0.1", "dns": ["10.10.0.2"], "azs": ["z1", "z2", "z3"],
                "reserved": ["10.10.0.2-10.10.0.9", "10.10.0.200-10.10.0.254"], "static": ["10.10.0.10-10.10.0.59"],
                "cloud_properties": {"net_id": self.seeded.network}}]}, {
                "name": "foundation", "type": "manual", "subnets": [{
                    "range": seed.FOUNDATION_SUBNET, "gateway": "10.244.16.1", "azs": ["z1", "z2", "z3"],
                    "cloud_properties": {"net_id": self.seeded.foundation_network}}]}],
            "compilation": {"workers": 2, "az": "z1", "vm_type": "compilation", "network": "default", "reuse_compilation_vms": True},
        }, sort_keys=False)

    def furnish(self, wanted: Wanted) -> Furnished:
        return furnish(self, wanted)

    def resources(self) -> Sequence[tuple[str, str]]:
        """Of the project: servers, ports of servers, volumes, snapshots, server groups; images beyond the one it began with."""
        with self._lock:
            if self._api is None:
                self._api = self.demo()
            api = self._api
            found = [("vm", entry["id"]) for entry in api("GET", "nova", "/servers")["servers"]]
            found += [("group", entry["id"]) for entry in api("GET", "nova", "/os-server-groups")["server_groups"]]
            found += [
                ("port", entry["id"]) for entry in api("GET", "neutron", "/v2.0/ports")["ports"]
                if not entry["device_owner"].startswith("network:")]
            found += [("disk", entry["id"]) for entry in api("GET", "cinder", "/volumes")["volumes"]]
            found += [("snapshot", entry["id"]) for entry in api("GET", "cinder", "/snapshots")["snapshots"]]
            images = api("GET", "glance", "/v2/images?limit=1000")["images"]
        return [*found, *(("stemcell", entry["id"]) for entry in images if entry["id"] != self.seeded.image)]

    def requests(self) -> Sequence[tuple[str, str]]:
        return self._front.requests()

    def forget_requests(self) -> None:
        self._front.forget()

    def admin(self) -> seed.Api:
        """Requests as the cloud's operator; the caller closes it."""
        return seed.Api(self.layout)

    def demo(self) -> seed.Api:
        """Requests as the CPI's own user, past the CPI; the caller closes it."""
        return seed.Api(self.layout, "demo", "demo")

    def close(self) -> None:
        if self._api is not None:
            self._api.close()
        self._front.close()
        self._daemons.close()
        shutil.rmtree(self.layout.home, ignore_errors=True)

def _login() -> Login:
    """Keys that nobody holds: no machine of this cloud boots."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()
    return Login("caisson", public, public, private)
