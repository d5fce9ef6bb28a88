"""The fake of GCP as a cloud config wants it: its zones, networks, machine types and balancers, all under their own names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cpis.conformance.clouds.gcp import catalog
from cpis.conformance.clouds.gcp.world import LINKS, World
from cpis.conformance.furnish import Furnished, Room, Tree, Wanted, names, size, spans

if TYPE_CHECKING:
    from cpis.conformance.clouds.gcp import GcpStandIn

_CUSTOM = re.compile(r"(?:\w+-)?custom-\d+-\d+(?:-ext)?")


def furnish(cloud: GcpStandIn, wanted: Wanted) -> Furnished:
    """Nothing of the cloud config is changed."""
    room = Room(wanted)
    places = [room.zones(), *({"": properties} for _, properties in room.machines())]
    zones = list(dict.fromkeys(str(item["zone"]) for place in places for item in place.values() if item.get("zone")))
    with cloud.world.lock:
        _zones(cloud.world, zones)
        _machines(cloud.world, room, zones)
        _networks(cloud.world, room)
        _balancers(cloud.world, room, zones)
        for number, address in enumerate(wanted.public):
            for region in _by_region(zones):
                cloud.world.seed(f"regions/{region}/addresses/wanted-{number}", {
                    "address": address, "addressType": "EXTERNAL", "status": "RESERVED", "region": cloud.world.link(f"regions/{region}")})
    config = {**cloud.config, **({"zone": zones[0]} if zones else {})}
    return Furnished(room.tree, config, cloud.site().stemcell_properties, room.told)


def _by_region(zones: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for zone in zones:
        found.setdefault(zone.rpartition("-")[0], []).append(zone)
    return found


def _zones(world: World, zones: Sequence[str]) -> None:
    for region, own in _by_region(zones).items():
        catalog.region(world, region, own)
        for zone in own:
            catalog.zone(world, zone)


def _machines(world: World, room: Room, zones: Sequence[str]) -> None:
    for where, properties in room.machines():
        for name in names(properties.get("machine_type")):
            if not _CUSTOM.fullmatch(name):
                found = size(room, "gcp", f"machine_type {name} of {where}", properties)
                for zone in zones:
                    catalog.machine_type(world, zone, name, found.cpu, found.ram_mib)
        for zone in zones:
            for kind in names(properties.get("accelerators"), "type"):
                world.seed(f"zones/{zone}/acceleratorTypes/{kind}", {"maximumCardsPerInstance": 8, "zone": world.link(f"zones/{zone}")})
    for properties in [*room.zones().values(), *(item for _, item in room.machines())]:
        for name in names(properties.get("node_group")):
            for zone in zones:
                world.seed(f"zones/{zone}/nodeGroups/{name}", {"size": 2, "status": "READY", "zone": world.link(f"zones/{zone}")})


def _networks(world: World, room: Room) -> None:
    regions = {name: str(properties.get("zone", "")).rpartition("-")[0] for name, properties in room.zones().items()}

    def key(properties: Tree, zone: str) -> tuple[str, str, str, str]:
        network = str(properties.get("network_name") or "default")
        return str(properties.get("xpn_host_project_id") or ""), network, str(properties.get("subnetwork_name") or ""), regions[zone]

    for (host, network, subnet, region), span in spans(room, key).items():
        base = f"{LINKS}/{host or world.project}"
        path, at = f"global/networks/{network}", f"regions/{region}/subnetworks/{subnet or 'default'}"
        of_network = {"autoCreateSubnetworks": not subnet, "subnetworks": []}
        of_subnet = {
            "network": f"{base}/{path}", "ipCidrRange": span, "gatewayAddress": span.split("/")[0].rpartition(".")[0] + ".1",
            "region": f"{base}/regions/{region}", "privateIpGoogleAccess": True}
        if host:
            world.foreign[f"{host}/{path}"] = {"kind": "compute#network", "name": network, "selfLink": f"{base}/{path}", **of_network}
            world.foreign[f"{host}/{at}"] = {
                "kind": "compute#subnetwork", "name": subnet or "default", "selfLink": f"{base}/{at}", **of_subnet}
        else:
            world.seed(path, of_network)
            world.seed(at, of_subnet)


def _balancers(world: World, room: Room, zones: Sequence[str]) -> None:
    for _, properties in room.machines():
        for region, own in _by_region(zones).items():
            for name in names(properties.get("target_pool")):
                world.seed(f"regions/{region}/targetPools/{name}", {"instances": [], "region": world.link(f"regions/{region}")})
            service = properties.get("backend_service")
            regional = isinstance(service, dict) and service.get("scheme") == "INTERNAL"
            for name in names(service):
                catalog.backend(world, name, own if regional else zones, regional=regional)
