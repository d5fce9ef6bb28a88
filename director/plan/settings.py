"""What one instance is given: network settings, cloud properties, env, metadata. Source: manifest contract, 8.3, 8.8, 12, 13.2."""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
from collections.abc import Mapping, Sequence

from director.manifest.model import CloudConfig, Features, GroupNetwork, InstanceGroup
from director.plan.addresses import NetworkPool, Pools, number_of
from director.plan.model import InstanceSpec, NetworkSettings, Reservation, Tree
from director.plan.names import canonical, instance_name

_DEFAULTS = ("dns", "gateway")
UNKNOWN_IP = "127.0.0.1"


def cloud_properties(cloud: CloudConfig, group: InstanceGroup, az: str) -> Tree:
    """AZ < vm_type < vm_extensions in listed order; nested maps are replaced, not merged."""
    merged: Tree = {}
    zone = cloud.az(az) if az else None
    if zone is not None:
        merged.update(zone.cloud_properties)
    for item in cloud.vm_types:
        if item.name == group.vm_type:
            merged.update(item.cloud_properties)
    extensions = {item.name: item for item in cloud.vm_extensions}
    for name in group.vm_extensions:
        if name in extensions:
            merged.update(extensions[name].cloud_properties)
    return merged


def group_env(env: Tree, features: Features) -> Tree:
    """The group's env with what `use_tmpfs_config` adds where the group says nothing. Placeholders stay."""
    if features.use_tmpfs_config is None:
        return env
    filled = copy.deepcopy(env)
    bosh = _child(filled, "bosh")
    if bosh is not None:
        for path in (("job_dir",), ("agent", "settings")):
            target: Tree | None = bosh
            for key in path:
                target = _child(target, key) if target is not None else None
            if target is not None:
                target.setdefault("tmpfs", features.use_tmpfs_config)
    return filled


def vm_env(spec: InstanceSpec, director_name: str) -> Tree:
    """The env `create_vm` gets: `spec.env` and, under `bosh`, group, groups and tags. Not compared: it follows from the rest."""
    env = copy.deepcopy(spec.env)
    director, deployment, group = canonical(director_name), canonical(spec.deployment), canonical(spec.group)
    full = f"{director}-{deployment}-{group}"
    groups = [director, deployment, group, f"{director}-{deployment}", f"{deployment}-{group}", full]
    bosh = dict(env.get("bosh") or {})
    env["bosh"] = {**bosh, "group": full, "groups": groups, "tags": {**spec.tags, **spec.group_tags}}
    return env


def vm_metadata(spec: InstanceSpec, director_name: str, created_at: str, *, creating: bool) -> dict[str, str]:
    """Tags for the cloud. Group tags count at creation only; the fixed keys win. `created_at` is UTC, `YYYY-MM-DDTHH:MM:SSZ`."""
    tags = {**spec.tags, **(spec.group_tags if creating else {})}
    fixed = {
        "director": director_name, "deployment": spec.deployment, "id": spec.id, "job": spec.group, "instance_group": spec.group,
        "index": str(spec.index), "name": spec.name, "created_at": created_at,
    }
    return {**{str(key): str(value) for key, value in tags.items()}, **fixed}


def disk_metadata(spec: InstanceSpec, director_name: str, attached_at: str) -> dict[str, str]:
    """Tags for a persistent disk, as `vm_metadata`."""
    fixed = {
        "director": director_name, "deployment": spec.deployment, "instance_id": spec.id, "instance_index": str(spec.index),
        "instance_group": spec.group, "attached_at": attached_at,
    }
    return {**{str(key): str(value) for key, value in spec.tags.items()}, **fixed}


def network_settings(
    deployment: str, group: InstanceGroup, index: int, az: str, domain: str, reservations: Mapping[str, Reservation], pools: Pools,
    chosen: Mapping[str, Tree],
) -> tuple[NetworkSettings, ...]:
    """Settings on each of the group's networks, in its order. Those without a reservation (an error told elsewhere) are left out.

    `chosen` is what the cloud chose on dynamic networks, as in `ObservedVm.networks`.
    """
    settings = []
    for wanted in group.networks:
        pool, reservation = pools.network(wanted.name), reservations.get(wanted.name)
        if pool is None or reservation is None:
            continue
        name = instance_name(str(index), group.name, wanted.name, deployment, domain)
        default = tuple(sorted(wanted.default or (_DEFAULTS if len(group.networks) == 1 else ())))
        settings.append(_on_network(wanted, pool, reservation, az, default, name))
    return with_chosen(settings, chosen)


def with_chosen(networks: Sequence[NetworkSettings], chosen: Mapping[str, Tree]) -> tuple[NetworkSettings, ...]:
    """The settings, with what the cloud chose on dynamic networks. Source: planning contract, section 10."""
    return tuple(
        dataclasses.replace(
            item, ip=str(found["ip"]), prefix_length=int(found["prefix_length"]), netmask=netmask(str(found["ip"]), found["prefix_length"]),
            gateway=str(found["gateway"]))
        if (found := chosen.get(item.network)) and item.type == "dynamic" and found["ip"] else item
        for item in networks)


def netmask(ip: str, prefix_length: int) -> str:
    """`255.255.255.0` of 24."""
    return str(ipaddress.ip_network(f"{ip}/{prefix_length}", strict=False).netmask)


def _on_network(
    wanted: GroupNetwork, pool: NetworkPool, reservation: Reservation, az: str, default: tuple[str, ...], name: str,
) -> NetworkSettings:
    definition = pool.definition
    if definition.type == "vip":
        return NetworkSettings(
            wanted.name, "vip", reservation.ip, 32, "255.255.255.255", "", (), (), definition.cloud_properties, name, reservation.kind,
            wanted.nic_group)
    subnet = pool.subnet_for(az) if definition.type == "dynamic" or not reservation.ip else pool.subnet_of(number_of(reservation.ip))
    if subnet is None:
        return NetworkSettings(
            wanted.name, definition.type, reservation.ip, 32, "", "", (), default, {}, name, reservation.kind, wanted.nic_group)
    if definition.type == "dynamic":
        return NetworkSettings(
            wanted.name, "dynamic", reservation.ip, 32, UNKNOWN_IP, UNKNOWN_IP, subnet.subnet.dns, default, subnet.subnet.cloud_properties,
            name, reservation.kind, wanted.nic_group)
    return NetworkSettings(
        wanted.name, "manual", reservation.ip, subnet.prefix_length, subnet.netmask, subnet.subnet.gateway, subnet.subnet.dns, default,
        subnet.subnet.cloud_properties, name, reservation.kind, wanted.nic_group)


def default_network(networks: Sequence[NetworkSettings]) -> NetworkSettings | None:
    """The network of `spec.ip` and `spec.address`: the addressable one, else the gateway's, else the first."""
    for wanted in ("addressable", "gateway"):
        for item in networks:
            if wanted in item.default:
                return item
    return networks[0] if networks else None


def _child(tree: Tree, key: str) -> Tree | None:
    """The map below `key`, made when absent; None when something else is there, which stays as written."""
    value = tree.setdefault(key, {})
    return value if isinstance(value, dict) else None
