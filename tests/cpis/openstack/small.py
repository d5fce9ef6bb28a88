"""The FAKE services as a stand-in, for what the real ones are too slow or too large for: a hundred machines at once, each run of the tests.

That the CPI speaks to the real services is proven by `make test-openstack`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpis.conformance.bench import Site
from cpis.contract import Login, Network
from tests.cpis.openstack.fake_services import NETWORK, SECOND, FakeServices

LOGIN = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA", "S3CRET-host-key")


def network(number: int = 10, **changes: Any) -> Network:
    """Of the machine with this number."""
    fields: dict[str, Any] = {
        "name": "default", "ip": f"10.0.0.{number}", "gateway": "10.0.0.1", "default": ("dns", "gateway"),
        "cloud_properties": {"net_id": NETWORK}}
    return Network(**{**fields, **changes})


class Services(FakeServices):
    """Each request that changes something takes `latency` seconds; as many at once as want to."""

    def __init__(self, latency: float) -> None:
        super().__init__()
        self._latency = latency

    def handle(self, method: str, path: str, body: Any, token: str) -> tuple[int, object, Mapping[str, str]] | None:
        if self._latency and method not in ("GET", "HEAD") and not path.startswith("/identity"):
            time.sleep(self._latency)
        return super().handle(method, path, body, token)


class Small:
    """What the fault suite, benches and executables need of a `cpis.conformance.standin.StandIn`: no deployment is made on it, so it has no
    cloud config and is not furnished. `services` has the switches."""

    name = "openstack-fake"
    cpi_type = "openstack"

    def __init__(self, workdir: Path, latency: float = 0.0) -> None:
        self.services = Services(latency)
        self.endpoint = self.services.url
        self._image = workdir / "image"
        workdir.mkdir(parents=True, exist_ok=True)
        self._image.write_bytes(bytes(100_000))

    @property
    def config(self) -> Mapping[str, Any]:
        return self.config_for(self.endpoint)

    def config_for(self, url: str) -> Mapping[str, Any]:
        return moved(self.services.config(wait_resource_poll_interval=0.5), self.endpoint, url)

    def site(self) -> Site:
        return Site(
            lambda number: (network(20 + number),), LOGIN, vm_properties={"instance_type": "small"}, image_path=str(self._image),
            several=lambda number: (
                network(20 + number), network(20 + number, name="second", ip=f"10.1.0.{20 + number}", default=(), cloud_properties={
                    "net_id": SECOND})))

    def resources(self) -> Sequence[tuple[str, str]]:
        found = (item.partition(" ") for item in self.services.left())
        return [(kind, cid) for kind, _, cid in found]

    def requests(self) -> Sequence[tuple[str, str]]:
        with self.services.lock:
            return list(self.services.log)

    def forget_requests(self) -> None:
        with self.services.lock:
            self.services.log.clear()

    def close(self) -> None:
        self.services.close()


def moved(config: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The configuration with another address in the place of the services'."""
    return {
        key: value.replace(old, new) if isinstance(value, str) else moved(value, old, new) if isinstance(value, dict) else value
        for key, value in config.items()}


def start(workdir: Path, latency: float = 0.0) -> Small:
    """As `cpis.conformance.clouds.<name>.start`."""
    return Small(workdir, latency)
