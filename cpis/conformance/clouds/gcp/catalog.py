"""What the fake cloud is born with: two regions, machine and disk types, networks, addresses, images of others, balancers."""

from __future__ import annotations

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
    for region in REGIONS:
        zones = [zone for zone in ZONES if zone.startswith(region)]
        quotas = [{"metric": metric, "limit": 1000.0, "usage": 0.0} for metric in _QUOTAS]
        world.seed(f"regions/{region}", {"status": "UP", "zones": [world.link(f"zones/{zone}") for zone in zones], "quotas": quotas})
        _balancers(world, region, zones)
    for zone in ZONES:
        world.seed(f"zones/{zone}", {"status": "UP", "region": world.link(f"regions/{zone.rpartition('-')[0]}")})
        for name, (cpus, memory) in _MACHINES.items():
            world.seed(f"zones/{zone}/machineTypes/{name}", {
                "guestCpus": cpus, "memoryMb": memory, "maximumPersistentDisks": 128, "maximumPersistentDisksSizeGb": "263168",
                "zone": zone})
        for name, (sizes, default) in _DISKS.items():
            world.seed(f"zones/{zone}/diskTypes/{name}", {
                "validDiskSize": sizes, "defaultDiskSizeGb": default, "zone": world.link(f"zones/{zone}")})
        world.seed(f"zones/{zone}/acceleratorTypes/nvidia-tesla-t4", {"maximumCardsPerInstance": 4, "zone": world.link(f"zones/{zone}")})
        world.seed(f"zones/{zone}/nodeGroups/nodes", {"size": 2, "status": "READY", "zone": world.link(f"zones/{zone}")})
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
