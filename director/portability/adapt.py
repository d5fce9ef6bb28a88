"""A cloud config for all -> what one deployment uses of it, on a CPI of the rehearsal's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from director.errors import ManifestError
from director.manifest.model import Manifest

Tree = dict[str, Any]


def adapt(given: Mapping[str, Any], deployment: Manifest, *, cpi: str) -> Tree:
    """The cloud config's zones, and of the rest what the deployment and its compilation use, with machines made by the CPI of this name.

    Name servers are left out: they are the cloud's own, and machines of a rehearsal have those of this computer. Raises ManifestError when
    there are no zones to say which CPI makes the machines.
    """
    if not given.get("azs"):
        raise ManifestError(
            "The cloud config has no zones", suggestion="A rehearsal puts them on the cloud's CPI: add azs, to the manifest too.")
    compilation = dict(given.get("compilation") or {})
    groups = deployment.instance_groups
    used: dict[str, set[Any]] = {
        "networks": {network.name for group in groups for network in group.networks} | {compilation.get("network")},
        "vm_types": {group.vm_type for group in groups} | {compilation.get("vm_type")},
        "vm_extensions": {name for group in groups for name in group.vm_extensions} | set(compilation.get("vm_extensions") or ()),
        "disk_types": {disk.type for group in groups for disk in group.disks},
    }
    kept = {section: _named(given.get(section) or (), names) for section, names in used.items()}
    return {
        "azs": [{**az, "cpi": cpi} for az in given["azs"]],
        **kept,
        "networks": [_network(network) for network in kept["networks"]],
        **({"compilation": compilation} if compilation else {}),
    }


def _named(items: Iterable[Mapping[str, Any]], names: set[Any]) -> list[Tree]:
    return [dict(item) for item in items if item["name"] in names]


def _network(network: Tree) -> Tree:
    bare = {key: value for key, value in network.items() if key != "dns"}
    if not network.get("subnets"):
        return bare
    return {**bare, "subnets": [{key: value for key, value in subnet.items() if key != "dns"} for subnet in network["subnets"]]}
