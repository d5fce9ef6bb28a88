"""The real services as a cloud config wants them: networks, flavors, volume types, groups and keys, made by their own APIs.

Neutron gives networks their ids itself, so that `net_id` is another one.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING

from cpis.conformance.clouds.openstack import seed
from cpis.conformance.clouds.openstack.layout import SECOND_ZONE, ZONE
from cpis.conformance.furnish import Furnished, Room, Wanted, names, size

if TYPE_CHECKING:
    from cpis.conformance.clouds.openstack.lab import Lab

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH0mNlYLbyoPg0iVLRSBwOPIr9bHn5R0L9XW8nxKCdEP"


def furnish(cloud: Lab, wanted: Wanted) -> Furnished:
    """Names stay; ids of networks and zones that there are not become those that there are."""
    room = Room(wanted)
    room.leave_out(["loadbalancer_pools"], "Octavia is not among the services here")
    room.leave_out(["boot_from_volume"], "volumes have no content here")
    room.leave_out(["scheduler_hints"], "ids of groups are those of your cloud")
    _zones(room)
    with contextlib.closing(cloud.admin()) as admin, contextlib.closing(cloud.demo()) as demo:
        subnets = _networks(demo, room)
        _sizes(admin, room)
        _names(demo, room)
        _floating(admin, cloud.seeded, subnets, wanted.public)
    return Furnished(room.tree, cloud.config, {"image_id": cloud.seeded.image}, room.told)


def _zones(room: Room) -> None:
    for where, properties in room.named("azs"):
        zone = properties.get("availability_zone")
        if zone and zone not in (ZONE, SECOND_ZONE):
            properties["availability_zone"] = ZONE
            room.tell(f"availability_zone of {where} is '{ZONE}' here, not '{zone}'")
    for where, properties in room.machines():
        others = [zone for zone in names(properties.get("availability_zones")) if zone not in (ZONE, SECOND_ZONE)]
        if others:
            properties["availability_zones"] = [ZONE]
            room.tell(f"availability_zones of {where} is '{ZONE}' here, not {', '.join(others)}")


def _networks(demo: seed.Api, room: Room) -> list[str]:
    """Ids of the subnets made."""
    made: dict[str, str] = {}
    ranges: dict[tuple[str, str], str] = {}
    for name, subnet, properties in room.subnets():
        wanted = str(properties.get("net_id") or name)
        if wanted not in made:
            made[wanted] = demo("POST", "neutron", "/v2.0/networks", {"network": {"name": name}})["network"]["id"]
            room.tell(f"net_id of the network '{name}' is the one that Neutron gave it here")
        span = str(subnet.get("range") or f"10.201.{len(made)}.0/24")
        if (wanted, span) not in ranges:
            gateway = {"gateway_ip": subnet["gateway"]} if subnet.get("gateway") else {}
            ranges[wanted, span] = demo("POST", "neutron", "/v2.0/subnets", {"subnet": {
                "network_id": made[wanted], "name": name, "ip_version": 4, "cidr": span,
                **gateway}})["subnet"]["id"]
        properties["net_id"] = made[wanted]
    return list(ranges.values())


def _sizes(admin: seed.Api, room: Room) -> None:
    flavors = {item["name"] for item in admin("GET", "nova", "/flavors")["flavors"]}
    for where, properties in room.machines():
        for name in set(names(properties.get("instance_type"))) - flavors:
            found = size(room, "openstack", f"instance_type {name} of {where}", properties)
            admin("POST", "nova", "/flavors", {"flavor": {"name": name, "vcpus": found.cpu, "ram": found.ram_mib, "disk": 20}})
            flavors.add(name)
    kinds = {item["name"] for item in admin("GET", "cinder", "/types")["volume_types"]}
    disks = [properties for _, properties in room.named("disk_types")]
    roots = [root for _, properties in room.machines() if isinstance(root := properties.get("root_disk"), dict)]
    for name in {name for properties in [*disks, *roots] for name in names(properties.get("type"))} - kinds:
        admin("POST", "cinder", "/types", {"volume_type": {"name": name, "extra_specs": {"volume_backend_name": "fake"}}})


def _names(demo: seed.Api, room: Room) -> None:
    """Security groups and key pairs; ids of groups become names."""
    there = {item["name"] for item in demo("GET", "neutron", "/v2.0/security-groups")["security_groups"]}
    places = [*(properties for _, properties in room.machines()), *(properties for _, _, properties in room.subnets())]
    for name in {name for properties in places for name in names(properties.get("security_groups"))} - there:
        demo("POST", "neutron", "/v2.0/security-groups", {"security_group": {"name": name}})
    for name in {name for properties in places for name in names(properties.get("key_name"))}:
        demo("POST", "nova", "/os-keypairs", {"keypair": {"name": name, "public_key": _KEY}})


def _floating(admin: seed.Api, seeded: seed.Seeded, subnets: list[str], addresses: tuple[str, ...]) -> None:
    """Public addresses, of ranges made for those that there are none for, and the router between them and the networks."""
    if not addresses:
        return
    known = [ipaddress.ip_network(seed.PUBLIC)]
    for address in addresses:
        if not any(ipaddress.ip_address(address) in span for span in known):
            span = ipaddress.ip_network(f"{address}/28", strict=False)
            known.append(span)
            admin("POST", "neutron", "/v2.0/subnets", {"subnet": {
                "network_id": seeded.public_network, "name": str(span), "ip_version": 4, "cidr": str(span), "enable_dhcp": False}})
        admin("POST", "neutron", "/v2.0/floatingips", {"floatingip": {
            "floating_network_id": seeded.public_network, "project_id": seeded.project, "floating_ip_address": address}})
    router = admin("GET", "neutron", "/v2.0/routers?name=router")["routers"][0]["id"]
    for subnet in subnets:
        admin("PUT", "neutron", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
