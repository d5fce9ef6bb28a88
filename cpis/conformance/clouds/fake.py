"""The cloud in memory as a stand-in for itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpis.conformance.bench import Site
from cpis.conformance.furnish import Furnished, Wanted
from cpis.conformance.keys import login
from cpis.contract import Network
from cpis.fake import FakeCpi


class Fake:
    """`config` keeps the cloud in a file of the work folder, so that a second CPI finds it."""

    name = cpi_type = "fake"
    endpoint = ""

    def __init__(self, workdir: Path, latency: float) -> None:
        self.config: Mapping[str, Any] = {"state_file": str(workdir / "cloud.json"), "latency": {"default": latency}}

    def config_for(self, url: str) -> Mapping[str, Any]:
        """There is no server that a proxy could stand before."""
        return self.config

    def site(self) -> Site:
        def network(name: str, number: int, **more: Any) -> Network:
            return Network(name, ip=f"10.{len(name)}.0.{10 + number}", gateway=f"10.{len(name)}.0.1", **more)

        def default(number: int) -> Network:
            return network("default", number, default=("dns", "gateway"))

        return Site(
            networks=lambda number: (default(number),), several=lambda number: (network("b", number), default(number)),
            dynamic=lambda number: (Network("dynamic", "dynamic", default=("dns", "gateway")),),
            vip=lambda number: (default(number), Network("vip", "vip", ip="192.0.2.1")),
            login=login()[0], vm_properties={"cpu": 1, "ram": 512}, again=lambda: FakeCpi(self.config),
            unreachable=lambda: FakeCpi({"faults": [{"method": "*", "times": 1000}]}),
            skips={"address_outside_its_subnet": "the fake cloud has no subnets"},
        )

    def cloud_config(self) -> str:
        return (
            "azs: [{name: z1}]\n"
            "vm_types: [{name: default, cloud_properties: {cpu: 1, ram: 512}}]\n"
            "disk_types: [{name: default, disk_size: 1024}]\n"
            "networks: [{name: default, type: manual, subnets: [{range: 10.0.0.0/24, gateway: 10.0.0.1, azs: [z1]}]}]\n"
            "compilation: {workers: 1, az: z1, vm_type: default, network: default}\n")

    def furnish(self, wanted: Wanted) -> Furnished:
        """It takes whatever names there are."""
        return Furnished(wanted.cloud_config, self.config, {})

    def resources(self) -> Sequence[tuple[str, str]]:
        """Whoever's they are."""
        file = Path(self.config["state_file"])
        found = json.loads(file.read_text()) if file.exists() else {}
        return [(resource["kind"], cid) for cid, resource in found.items()]

    def requests(self) -> Sequence[tuple[str, str]]:
        return []

    def forget_requests(self) -> None:
        """None are made."""

    def close(self) -> None:
        """Nothing runs."""

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def start(workdir: Path, *, latency: float = 0.0) -> Fake:
    """A fake cloud of its own."""
    workdir.mkdir(parents=True, exist_ok=True)
    return Fake(workdir, latency)
