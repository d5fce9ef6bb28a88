"""Networks, disk hints, logins and found things: from the wire's form to ours, and back. Source: CPI contract, sections 2 and 12.1."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from cpis.contract import DiskHint, Found, Login, Network

Tree = dict[str, Any]

AZURE_HOST_DEVICE = "{f8b3781b-1e82-4818-a1c3-63d806ec15bb}"
"""The SCSI controller of data disks on Azure; a BOSH agent finds a LUN with it."""


def networks_from(spec: Any) -> tuple[Network, ...]:
    """The `networks` argument of create_vm. Raises ValueError naming the network and what is wrong with it."""
    if not isinstance(spec, Mapping):
        raise ValueError("networks must be a hash")
    return tuple(_network(str(name), entry) for name, entry in spec.items())


def _network(name: str, entry: Any) -> Network:
    if not isinstance(entry, Mapping):
        raise ValueError(f"network '{name}' must be a hash")
    ip = str(entry.get("ip") or "")
    for key in ("dns", "default"):
        if not isinstance(entry.get(key) or [], list):
            raise ValueError(f"network '{name}': {key} must be an array")
    return Network(
        name, str(entry.get("type") or "manual"), ip, _prefix_length(name, entry, ip), str(entry.get("gateway") or ""),
        tuple(map(str, entry.get("dns") or ())), tuple(map(str, entry.get("default") or ())), dict(entry.get("cloud_properties") or {}),
        _nic_group(name, entry.get("nic_group")),
    )


def _nic_group(name: str, value: Any) -> int | None:
    """Directors send a number, some as text."""
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not str(value).isdecimal():
        raise ValueError(f"network '{name}': nic_group '{value}' is no number")
    return int(value)


def _prefix_length(name: str, entry: Mapping[str, Any], ip: str) -> int:
    """Of the subnet. `prefix` of newer directors says how many addresses are the machine's own, so the netmask is asked first."""
    try:
        six = bool(ip) and ip_address(ip).version == 6
    except ValueError as error:
        raise ValueError(f"network '{name}': '{ip}' is no address") from error
    text = str(entry.get("netmask") or entry.get("prefix") or (128 if six else 24))
    try:
        if six and ":" in text:
            return int(ip_address(text)).bit_count()
        return ip_network(f"{'::' if six else '0.0.0.0'}/{text}").prefixlen
    except ValueError as error:
        raise ValueError(f"network '{name}': '{text}' is no netmask") from error


def network_to(network: Network) -> Tree:
    """A network as it is sent and answered; what is not known is left out."""
    entry: Tree = {"type": network.type, "cloud_properties": dict(network.cloud_properties)}
    if network.ip:
        entry["ip"] = network.ip
    if network.ip and network.type != "vip":
        subnet = ip_network(f"{network.ip}/{network.prefix_length}", strict=False)
        entry["netmask"] = str(subnet.netmask)
        entry["prefix"] = str(subnet.max_prefixlen)
    if network.gateway:
        entry["gateway"] = network.gateway
    if network.type != "vip":
        entry |= {"dns": list(network.dns), "default": list(network.default)}
    if network.nic_group is not None:
        entry["nic_group"] = network.nic_group
    return entry


def hint_to(hint: DiskHint, cloud: str = "") -> str | Tree:
    """The disk hint as BOSH's CPI of that cloud answers it: a path alone as a string, else a hash."""
    parts = {key: value for key, value in dataclasses.asdict(hint).items() if value}
    if cloud == "azure" and hint.lun:
        return {"lun": hint.lun, "host_device_id": AZURE_HOST_DEVICE}
    if hint.path:
        return hint.path
    return parts


def hint_from(value: Any) -> DiskHint | None:
    """The hint that a CPI answers; None when it says nothing, as CPIs of version 1 do."""
    if isinstance(value, str) and value:
        return DiskHint(path=value) if value.startswith("/") else DiskHint(lun=value) if value.isdigit() else DiskHint(id=value)
    if isinstance(value, Mapping):
        hint = DiskHint(str(value.get("path") or ""), str(value.get("lun") or ""), str(value.get("id") or value.get("volume_id") or ""))
        return hint if hint != DiskHint() else None
    return None


def found_to(found: Found) -> Tree:
    return dataclasses.asdict(found)


def login_to(login: Login) -> Tree:
    return {key: value for key, value in dataclasses.asdict(login).items() if value}


def login_from(tree: Mapping[str, Any]) -> Login:
    keys = ("user", "public_key", "host_public_key", "host_private_key")
    return Login(*(str(tree.get(key) or "") for key in keys))
