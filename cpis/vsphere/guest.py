"""What the guest reads at its first start, from `guestinfo` options: user, keys, host name and static addresses.

cloud-init's VMware data source reads them; it takes the user data with its keys away once it has read it (`cleanup-guestinfo`), since
everybody who may look at the machine in vCenter can read options. Source: CPI contract, section 10.3.
"""

from __future__ import annotations

import base64
import gzip
import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from cpis.cloud.userdata import cloud_config, fit
from cpis.contract import Invalid, Login, Network, NotSupported

LIMIT_BYTES = 65_536
"""The longest value that a guest can read at once."""


def data(cid: str, login: Login, networks: Sequence[Network], macs: Sequence[str]) -> dict[str, str]:
    """The options for a machine whose NICs are on `networks` in this order, with these MAC addresses. Raises Invalid when too long."""
    if login.agent_settings:
        user = base64.b64encode(with_macs(login.agent_settings, networks, macs).encode()).decode()
        encoding = "base64"
    else:
        user = _packed(cloud_config(login, cid))
        encoding = "gzip+base64"
    metadata: dict[str, Any] = {
        "instance-id": cid, "local-hostname": cid, "network": network_config(networks, macs), "cleanup-guestinfo": ["userdata"],
    }
    meta = _packed(json.dumps(metadata))
    for text in (user, meta):
        fit(text, LIMIT_BYTES, "vSphere")
    return {
        "guestinfo.userdata": user, "guestinfo.userdata.encoding": encoding,
        "guestinfo.metadata": meta, "guestinfo.metadata.encoding": "gzip+base64",
    }


def with_macs(settings: str, networks: Sequence[Network], macs: Sequence[str]) -> str:
    """Settings of a BOSH agent with the MAC of each network, by which it finds its interface."""
    tree = json.loads(settings)
    for network, mac in zip(networks, macs, strict=True):
        if network.name in tree["networks"]:
            tree["networks"][network.name]["mac"] = mac.lower()
    return json.dumps(tree)


def network_config(networks: Sequence[Network], macs: Sequence[str]) -> dict[str, Any]:
    """cloud-init's network configuration, version 2: each NIC by its MAC. Only the gateway network gets the default route (row 17)."""
    gateways = [network for network in networks if "gateway" in network.default] or list(networks[:1])
    resolvers = [network for network in networks if "dns" in network.default] or list(networks)
    nics: dict[str, Any] = {}
    for number, (network, mac) in enumerate(zip(networks, macs, strict=True)):
        nic: dict[str, Any] = {
            "match": {"macaddress": mac.lower()}, "dhcp4": False, "dhcp6": False, "addresses": [f"{network.ip}/{network.prefix_length}"],
        }
        if network in gateways and network.gateway:
            everywhere = "::/0" if ipaddress.ip_address(network.gateway).version == 6 else "0.0.0.0/0"
            nic["routes"] = [{"to": everywhere, "via": network.gateway}]
        if network in resolvers and network.dns:
            nic["nameservers"] = {"addresses": list(network.dns)}
        nics[f"nic{number}"] = nic
    return {"version": 2, "ethernets": nics}


def check_networks(networks: Sequence[Network]) -> tuple[Network, ...]:
    """Those that get a NIC. Raises NotSupported for dynamic and vip networks, Invalid for addresses that are none."""
    for network in networks:
        if network.type != "manual":
            raise NotSupported(
                f"network '{network.name}' is {network.type}: on vSphere nothing gives addresses, so that only manual networks work",
                suggestion="Make it a manual network, with the range that the port group has.")
        try:
            subnet = ipaddress.ip_interface(f"{network.ip}/{network.prefix_length}").network
            outside = network.gateway and ipaddress.ip_address(network.gateway) not in subnet
        except ValueError as error:
            raise Invalid(f"network '{network.name}': '{network.ip}/{network.prefix_length}' is no address") from error
        if outside:
            raise Invalid(f"network '{network.name}': the gateway {network.gateway} is not in {subnet}, the subnet of {network.ip}")
    if not networks:
        raise Invalid("a machine needs a manual network")
    return tuple(networks)


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
