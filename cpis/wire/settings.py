"""What a BOSH agent must know at its first start, and whose login the machine has then.

Sources: CPI contract, section 1 ("Full agent settings"); agent contract, section 3.1; each BOSH CPI for the devices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.contract import Login, Network
from cpis.wire import convert

Tree = dict[str, Any]

DEFAULT_USER = "vcap"

_AZURE_EPHEMERAL: Tree = {"lun": "0", "host_device_id": convert.AZURE_HOST_DEVICE}
# Cloud -> devices as its BOSH stemcells expect them. Without an ephemeral one the agent takes the rest of the root disk.
_DEVICES: Mapping[str, Tree] = {
    "aws": {"system": "/dev/xvda", "ephemeral": "/dev/sdb"},
    "azure": {"system": "/dev/sda", "ephemeral": _AZURE_EPHEMERAL},
    "gcp": {"system": "/dev/sda"},
    "openstack": {"system": "/dev/sda"},
    "vsphere": {"system": "0", "ephemeral": "1"},
}
_NO_DHCP = ("vsphere",)


def login_of(
    cloud: str, config: Mapping[str, Any], agent: Mapping[str, Any], *, name: str, agent_id: str, networks: Sequence[Network],
    env: Mapping[str, Any], cloud_properties: Mapping[str, Any],
) -> Login:
    """The login of a machine that a BOSH agent looks after. Nobody else needs in, so there may be no key: `ssh_user` and `ssh_public_key`
    of the configuration (as BOSH's Azure CPI has them) are taken, else `vcap` and the first of `env.bosh.authorized_keys`. The host key is
    the image's."""
    bosh = env.get("bosh")
    keys = bosh.get("authorized_keys") if isinstance(bosh, Mapping) else None
    key = str(config.get("ssh_public_key") or (keys[0] if isinstance(keys, list) and keys else ""))
    settings = agent_settings(
        cloud, config, agent, name=name, agent_id=agent_id, networks=networks, env=env, cloud_properties=cloud_properties)
    return Login(str(config.get("ssh_user") or DEFAULT_USER), key, "", "", agent_settings=json.dumps(settings, sort_keys=True))


def agent_settings(
    cloud: str, config: Mapping[str, Any], agent: Mapping[str, Any], *, name: str, agent_id: str, networks: Sequence[Network],
    env: Mapping[str, Any], cloud_properties: Mapping[str, Any],
) -> Tree:
    """The settings, in the form that agents read. `name` is the machine's, known before there is one."""
    dhcp = cloud not in _NO_DHCP and config.get("use_dhcp") is not False
    servers = next((network.dns for network in networks if "dns" in network.default and network.dns), ())
    servers = servers or next((network.dns for network in networks if network.dns), ())
    settings: Tree = {
        "agent_id": agent_id, "vm": {"name": name}, "server": {"name": name}, "env": dict(env),
        "networks": {
            network.name: {**convert.network_to(network), **({"use_dhcp": True} if dhcp and network.type != "vip" else {})}
            for network in networks
        },
        "disks": {**_devices(cloud, cloud_properties), "persistent": {}}, **agent,
    }
    if servers:
        settings["dns"] = {"nameserver": list(servers)}
    return settings


def _devices(cloud: str, cloud_properties: Mapping[str, Any]) -> Tree:
    devices = dict(_DEVICES.get(cloud, {}))
    ephemeral = cloud_properties.get("ephemeral_disk")
    if isinstance(ephemeral, Mapping) and ephemeral.get("use_root_disk") is True:
        devices.pop("ephemeral", None)
    return devices
