"""What tests of the CPI of GCP work with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from cpis.conformance.clouds.gcp import GcpStandIn
from cpis.contract import DiskRequest, Network, Properties, Vm, VmRequest
from cpis.gcp import GcpCpi


@dataclasses.dataclass
class Bench:
    """The fake (`there`), the CPI, the seconds it slept, and requests with usual contents."""

    there: GcpStandIn
    cpi: GcpCpi
    slept: list[float]
    again: Callable[..., GcpCpi]
    numbers: int = 0

    def token(self, kind: str = "vm") -> str:
        self.numbers += 1
        return f"{kind}-00000000-0000-4000-8000-{self.numbers:012d}"

    def request(self, properties: Properties | None = None, **changes: Any) -> VmRequest:
        site = self.there.site()
        image = "projects/debian-cloud/global/images/debian-12-bookworm-v20261115"
        base = VmRequest(
            self.token(), "agent-1", image, {**site.vm_properties, **(properties or {})}, site.networks(self.numbers), site.login,
            metadata={"director": "conformance", "deployment": "d", "name": "web/0"})
        return dataclasses.replace(base, **changes)

    def vm(self, properties: Properties | None = None, **changes: Any) -> Vm:
        return self.cpi.create_vm(self.request(properties, **changes))

    def disk(self, size_mib: int = 10240, properties: Properties | None = None, **changes: Any) -> str:
        return self.cpi.create_disk(DiskRequest(self.token("disk"), size_mib, properties or {}, **changes))

    def inserted(self) -> dict[str, Any]:
        """The body of the last machine that was asked for."""
        found = [body for method, path, body in self.there.cloud.bodies if method == "POST" and path.endswith("/instances")]
        return dict(found[-1])

    def thing(self, kind: str, name: str) -> dict[str, Any]:
        with self.there.world.lock:
            self.there.world.settle()
            return next(body for path, body in self.there.world.things.items() if f"/{path}".endswith(f"/{kind}/{name}"))

    def count(self, call: Callable[[], Any]) -> list[tuple[str, str]]:
        """The requests that a call makes."""
        self.there.forget_requests()
        call()
        return list(self.there.requests())


def network(name: str = "default", ip: str = "", kind: str = "manual", **properties: Any) -> Network:
    usual = {"network_name": "caisson", "subnetwork_name": "caisson"}
    return Network(name, kind, ip=ip, default=("dns", "gateway"), cloud_properties={**usual, **properties})
