"""What the fake cloud is born with: two regions, machine and disk types, networks, addresses, images of others, balancers."""

from __future__ import annotations

from collections.abc import Sequence

from cpis.conformance.clouds.gcp.world import World

ZONES = ("us-central1-a", "us-central1-b", "us-central1-c", "europe-west3-a")
REGIONS = ("us-central1", "europe-west3")
HOST_PROJECT = "network-host"
PUBLIC_ADDRESSES = ("203.0.113.10", "203.0.113.11")
_MACHINES = {
    "e2-micro": (2, 1024), "e2-small": (2, 2048), "e2-medium": (2, 4096), "e2-standard-2": (2, 8192), "e2-standard-4": (4, 16384),
    "n1-standard-1": (1, 3840), "n1-standard-2": (2, 7680), "n1-standard-4": (4, 15360), "n2-standard-2": (2, 8192),
    "g2-standard-4": (4, 16384),
}
_DISKS = {
    "pd-standard": ("10GB-65536GB", "500"), "pd-balanced": ("10GB-65536GB", "100"), "pd-ssd": ("10GB-65536GB", "100"),
    "hyperdisk-balanced": ("4GB-65536GB", "100"), "local-ssd": ("375GB-375GB", "375"),
}
_QUOTAS = ("CPUS", "DISKS_TOTAL_GB", "SSD_TOTAL_GB", "INSTANCES", "IN_USE_ADDRESSES", "STATIC_ADDRESSES")


def fill(world: World) -> None:
    """Everything in it is of the cloud's own, and no leak at the end."""
    for name in REGIONS:
        zones = [zone for zone in ZONES if zone.startswith(name)]
        region(world, name, zones)
        _balancers(world, name, zones)
    for name in ZONES:
        zone(world, name)
    _networks(world)
    for number, address in enumerate(PUBLIC_ADDRESSES):
        world.seed(f"regions/us-central1/addresses/vip-{number}", {
            "address": address, "addressType": "EXTERNAL", "status": "RESERVED", "region": world.link("regions/us-central1")})
    for name in ("debian-12-bookworm-v20261101", "debian-12-bookworm-v20261115"):
        world.foreign[f"debian-cloud/global/images/{name}"] = {
            "kind": "compute#image", "id": world.number(), "name": name, "family": "debian-12", "status": "READY", "diskSizeGb": "10",
            "archiveSizeBytes": "1000000", "labelFingerprint": world.fingerprint(),
            "selfLink": f"https://www.googleapis.com/compute/v1/projects/debian-cloud/global/images/{name}",
            "creationTimestamp": "2026-11-01T00:00:00.000-07:00",
        }


def region(world: World, name: str, zones: Sequence[str]) -> None:
    """A region with these zones."""
    quotas = [{"metric": metric, "limit": 1000.0, "usage": 0.0} for metric in _QUOTAS]
    world.seed(f"regions/{name}", {"status": "UP", "zones": [world.link(f"zones/{zone}") for zone in zones], "quotas": quotas})


def zone(world: World, name: str) -> None:
    """A zone with all that machines are made of."""
    link = world.link(f"zones/{name}")
    world.seed(f"zones/{name}", {"status": "UP", "region": world.link(f"regions/{name.rpartition('-')[0]}")})
    for kind, (cpus, memory) in _MACHINES.items():
        machine_type(world, name, kind, cpus, memory)
    for kind, (sizes, default) in _DISKS.items():
        world.seed(f"zones/{name}/diskTypes/{kind}", {"validDiskSize": sizes, "defaultDiskSizeGb": default, "zone": link})
    world.seed(f"zones/{name}/acceleratorTypes/nvidia-tesla-t4", {"maximumCardsPerInstance": 4, "zone": link})
    world.seed(f"zones/{name}/nodeGroups/nodes", {"size": 2, "status": "READY", "zone": link})


def machine_type(world: World, zone: str, name: str, cpus: int, memory_mib: int) -> None:
    """A size of machines in a zone."""
    world.seed(f"zones/{zone}/machineTypes/{name}", {
        "guestCpus": cpus, "memoryMb": memory_mib, "maximumPersistentDisks": 128, "maximumPersistentDisksSizeGb": "263168", "zone": zone})


def backend(world: World, name: str, zones: Sequence[str], *, regional: bool) -> None:
    """A backend service with an instance group in each of these zones, which are of one region."""
    groups = []
    for zone in zones:
        path = f"zones/{zone}/instanceGroups/{name}"
        world.seed(path, {"size": 0, "zone": world.link(f"zones/{zone}"), "_members": []})
        groups.append({"group": world.link(path), "balancingMode": "CONNECTION"})
    where = f"regions/{zones[0].rpartition('-')[0]}" if regional else "global"
    scheme: dict[str, object] = {"loadBalancingScheme": "INTERNAL", "region": world.link(where)} if regional else {
        "loadBalancingScheme": "EXTERNAL"}
    world.seed(f"{where}/backendServices/{name}", {"backends": groups, **scheme})


def _networks(world: World) -> None:
    world.seed("global/networks/default", {"autoCreateSubnetworks": True, "subnetworks": []})
    world.seed("global/networks/caisson", {"autoCreateSubnetworks": False, "subnetworks": []})
    world.seed("global/networks/second", {"autoCreateSubnetworks": False, "subnetworks": []})
    ranges = {
        "us-central1": {"default": "10.128.0.0/20", "caisson": "10.0.0.0/24", "second": "10.1.0.0/24", "foundation": "10.244.16.0/24"},
        "europe-west3": {"default": "10.156.0.0/20", "caisson": "10.2.0.0/24", "second": "10.3.0.0/24"},
    }
    for region, subnets in ranges.items():
        for name, cidr in subnets.items():
            network = "caisson" if name == "foundation" else name
            world.seed(f"regions/{region}/subnetworks/{name}", {
                "network": world.link(f"global/networks/{network}"), "ipCidrRange": cidr, "gatewayAddress": cidr.rsplit(".", 1)[0] + ".1",
                "region": world.link(f"regions/{region}"), "privateIpGoogleAccess": True})
    link = f"https://www.googleapis.com/compute/v1/projects/{HOST_PROJECT}"
    world.foreign[f"{HOST_PROJECT}/global/networks/shared"] = {
        "kind": "compute#network", "name": "shared", "autoCreateSubnetworks": False, "selfLink": f"{link}/global/networks/shared"}
    world.foreign[f"{HOST_PROJECT}/regions/us-central1/subnetworks/shared"] = {
        "kind": "compute#subnetwork", "name": "shared", "network": f"{link}/global/networks/shared", "ipCidrRange": "10.9.0.0/24",
        "gatewayAddress": "10.9.0.1", "region": f"{link}/regions/us-central1", "selfLink": f"{link}/regions/us-central1/subnetworks/shared"}


def _balancers(world: World, region: str, zones: list[str]) -> None:
    world.seed(f"regions/{region}/targetPools/routers", {"instances": [], "region": world.link(f"regions/{region}")})
    groups = []
    for zone in zones[:2]:  # the third zone has no group: a machine there cannot join
        path = f"zones/{zone}/instanceGroups/routers"
        world.seed(path, {"size": 0, "zone": world.link(f"zones/{zone}"), "_members": []})
        groups.append({"group": world.link(path), "balancingMode": "CONNECTION"})
    world.seed(f"regions/{region}/backendServices/internal", {
        "backends": groups, "loadBalancingScheme": "INTERNAL", "region": world.link(f"regions/{region}")})
    if region == REGIONS[0]:
        world.seed("global/backendServices/web", {"backends": groups, "loadBalancingScheme": "EXTERNAL"})
