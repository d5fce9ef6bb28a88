"""What stands in for a cloud in tests: the real services, the vendor's simulator, or a fake of ours, with all that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cpis.conformance.bench import Site
from cpis.conformance.furnish import Furnished, Wanted


class Skipped(Exception):
    """The stand-in cannot be had here; the text says why."""


class StandIn(Protocol):
    """A cloud that runs on this computer, made by the `start(workdir, latency=0.0)` of `cpis.conformance.clouds.<name>`.

    `config` is a complete CPI config for `cpis.registry.load(cpi_type, config)`. `endpoint` is the URL that a proxy may stand in front of,
    and `config_for(url)` the configuration that goes there instead.
    """

    name: str
    cpi_type: str
    endpoint: str

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of a CPI for it."""

    def config_for(self, url: str) -> Mapping[str, Any]:
        """The same with another endpoint."""

    def site(self) -> Site:
        """What the suite must know of it."""

    def cloud_config(self) -> str:
        """A cloud config (YAML) for small deployments on it."""

    def furnish(self, wanted: Wanted) -> Furnished:
        """Make what a cloud config names, for a deployment by it. Before anything else is made there. Raises Invalid for what cannot be."""

    def resources(self) -> Sequence[tuple[str, str]]:
        """(kind, id) of everything that exists in it now beyond what it was born with: what leaked, when all is deleted."""

    def requests(self) -> Sequence[tuple[str, str]]:
        """(method, path or action) of the requests since the last `forget_requests`."""

    def forget_requests(self) -> None:
        """Begin to count anew."""

    def close(self) -> None:
        """End it: no process, port or file stays."""
