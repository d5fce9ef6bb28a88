"""The fake of Azure as a cloud config wants it: groups, networks, sizes and balancers, all under their own names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cpis.conformance.clouds.azure.compute import sizes
from cpis.conformance.clouds.azure.store import Store
from cpis.conformance.furnish import Furnished, Room, Tree, Wanted, names, size, spans

if TYPE_CHECKING:
    from cpis.conformance.clouds.azure import AzureStandIn

_NETWORK = "Microsoft.Network"
_BALANCERS = {"load_balancer": f"{_NETWORK}/loadBalancers", "application_gateway": f"{_NETWORK}/applicationGateways"}
_GIB = 1024


def furnish(cloud: AzureStandIn, wanted: Wanted) -> Furnished:
    """Nothing of the cloud config is changed. What names no resource group is in that of the CPI config."""
    room = Room(wanted)
    group = str(cloud.config["resource_group_name"])
    with cloud.store.lock:
        rooms = _Groups(cloud.store, cloud.location, group)
        _networks(rooms, room)
        _machines(rooms, room)
        vips = [network.get("cloud_properties") or {} for network in room.tree["networks"] if network.get("type") == "vip"]
        for number, address in enumerate(wanted.public):
            for properties in vips:
                rooms.add(f"{_NETWORK}/publicIPAddresses", f"wanted-{number}", {
                    "ipAddress": address, "publicIPAllocationMethod": "Static"}, _group(properties))
        cloud.settle_in()
    return Furnished(room.tree, cloud.config, cloud.site().stemcell_properties, room.told)


class _Groups:
    """Adds what somebody would have prepared beforehand, with the resource groups that it is in."""

    def __init__(self, store: Store, location: str, own: str) -> None:
        self.store = store
        self._location = location
        self.own = own

    def group(self, name: str) -> None:
        identity = f"/subscriptions/{self.store.subscription}/resourceGroups/{name}"
        if self.store.find(identity) is None:
            made = self.store.put(
                identity, "Microsoft.Resources/resourceGroups", {"location": self._location}, {"provisioningState": "Succeeded"})
            made["_created"] = ""

    def add(self, kind: str, name: str, properties: Tree | None = None, group: str = "") -> None:
        self.group(group or self.own)
        identity = self.store.id_of(group or self.own, kind, name)
        self.store.put(identity, kind, {"location": self._location}, {**(properties or {}), "provisioningState": "Succeeded"})


def _group(properties: Any) -> str:
    return str(properties.get("resource_group_name") or "") if isinstance(properties, dict) else ""


def _networks(rooms: _Groups, room: Room) -> None:
    networks: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def key(properties: Tree, zone: str) -> tuple[str, str, str]:
        return _group(properties), str(properties.get("virtual_network_name") or ""), str(properties.get("subnet_name") or "")

    for (group, network, subnet), span in spans(room, key).items():
        networks.setdefault((group, network), []).append((subnet, span))
    for (group, network), subnets in networks.items():
        rooms.add(f"{_NETWORK}/virtualNetworks", network, {
            "addressSpace": {"addressPrefixes": [span for _, span in subnets]},
            "subnets": [{"name": name, "properties": {"addressPrefix": span}} for name, span in subnets]}, group)
    for _, _, properties in room.subnets():
        _guards(rooms, properties)


def _guards(rooms: _Groups, properties: Tree) -> None:
    guard = properties.get("security_group")
    for name in names(guard):
        rooms.add(f"{_NETWORK}/networkSecurityGroups", name, None, _group(guard))
    for name in names(properties.get("application_security_groups")):
        rooms.add(f"{_NETWORK}/applicationSecurityGroups", name)


def _machines(rooms: _Groups, room: Room) -> None:
    for where, properties in room.machines():
        for name in [*names(properties.get("instance_type")), *names(properties.get("instance_types"))]:
            if name not in sizes(rooms.store):
                found = size(room, "azure", f"instance_type {name} of {where}", {"instance_type": name})
                family = f"standard{name.partition('_')[2].split('_')[0]}Family"
                rooms.store.more_sizes[name] = (found.cpu, found.ram_mib / _GIB, 0, max(4, found.cpu * 2), "123", True, family)
        _guards(rooms, properties)
        if _group(properties):
            rooms.group(_group(properties))
        for key, kind in _BALANCERS.items():
            _pools(rooms, kind, properties.get(key))
        for name in names(properties.get("managed_identity"), "user_assigned_identity_name"):
            rooms.add("Microsoft.ManagedIdentity/userAssignedIdentities", name)
        for name in names(properties.get("capacity_reservation_group")):
            rooms.add("Microsoft.Compute/capacityReservationGroups", name)
        if properties.pop("capacity_reservation_group_id", None):
            room.tell(f"capacity_reservation_group_id of {where} left out: it is of another subscription's making")
    for name in _keys(room):
        rooms.add("Microsoft.Compute/diskEncryptionSets", name)


def _pools(rooms: _Groups, kind: str, value: Any) -> None:
    items = value if isinstance(value, list) else [value] if value else []
    found: dict[tuple[str, str], list[str]] = {}
    for item in items:
        whole = item if isinstance(item, dict) else {"name": item}
        found.setdefault((_group(whole), str(whole["name"])), []).append(str(whole.get("backend_pool_name") or "pool"))
    for (group, name), pools in found.items():
        before = rooms.store.find(rooms.store.id_of(group or rooms.own, kind, name))
        known = [item["name"] for item in before["properties"].get("backendAddressPools") or []] if before else []
        rooms.add(kind, name, {"backendAddressPools": [{"name": pool} for pool in dict.fromkeys([*known, *pools])]}, group)


def _keys(room: Room) -> Iterator[str]:
    """Names of disk encryption sets."""
    for _, properties in [*room.machines(), *room.named("disk_types")]:
        for place in (properties, properties.get("root_disk"), properties.get("ephemeral_disk")):
            yield from names(place.get("disk_encryption_set_name")) if isinstance(place, dict) else ()
