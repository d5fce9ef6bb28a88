"""Is all there that a deployment will need? Reads only; the answers of `caisson cloud check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cpis.contract import Check, CheckKind, CpiError, Invalid, Properties, Uses
from cpis.openstack.api import Api
from cpis.openstack.flavors import Flavors
from cpis.openstack.images import Images
from cpis.openstack.networks import Networks
from cpis.openstack.pools import Pools

_SKEW_SECONDS = 60.0
_LEAST_VERSION = (2, 52)
# Roles of Keystone's own that may make machines. Clouds can name theirs otherwise.
_ROLES = ("member", "admin", "manager", "_member_", "Member")
_PROBES: Mapping[str, tuple[str, str]] = {
    "compute": ("Nova", "/flavors"), "image": ("Glance", "/v2/images"), "network": ("Neutron", "/v2.0/networks"),
    "volume": ("Cinder", "/volumes"),
}


class Checks:
    """`run` yields one check after the other."""

    def __init__(self, config: Properties, api: Api, flavors: Flavors, networks: Networks, images: Images) -> None:
        self._config = config
        self._api = api
        self._flavors = flavors
        self._networks = networks
        self._images = images
        self._pools = Pools(api)

    def run(self, uses: Uses) -> Iterator[Check]:
        """Source for the order: `cpis.contract.CloudChecker`."""
        try:
            login = self._api.session.current()
        except CpiError as error:
            name = f"keystone {self._api.account.auth_url}"
            if isinstance(error, Invalid):
                yield Check.failed(name, "configuration", error)
            else:
                yield from Check.not_entered(name, "keystone login", error)
            return
        yield Check("keystone login", "authenticate", True, f"project {login.project}")
        ahead = login.ahead_seconds
        yield Check(
            "clock", "clock", abs(ahead) <= _SKEW_SECONDS, f"this computer is {ahead:+.0f} s from Keystone",
            "" if abs(ahead) <= _SKEW_SECONDS else "Let a time service set this computer's clock.")
        reached = True
        for service, (name, path) in _PROBES.items():
            answer = self._of(name, "reach", lambda service=service, path=path: self._answers(service, path))  # type: ignore[misc]
            reached = reached and bool(answer.ok)
            yield answer
        if not reached:
            return
        yield self._of("Nova's version", "configuration", self._version)
        yield _role(login.roles)
        yield from self._quotas(login.project)
        yield from self._used(uses)

    def _of(self, name: str, kind: CheckKind, look: Callable[[], str]) -> Check:
        """What `look` found, or its error."""
        try:
            return Check(name, kind, True, look())
        except CpiError as error:
            return Check.failed(name, kind, error)

    def _answers(self, service: str, path: str) -> str:
        self._api.get(service, path, lambda answer: None, {"limit": 1})
        return self._api.session.address(service)

    def _version(self) -> str:
        asked = self._api.account.microversion
        if tuple(int(part) for part in asked.split(".")) < _LEAST_VERSION:
            raise Invalid(f"compute_microversion {asked} is too old: tags of new machines need 2.52", suggestion="Leave it out.")
        self._api.get("compute", "/flavors", lambda answer: None, {"limit": 1})
        return f"{asked} is taken"

    def _quotas(self, project: str) -> Iterator[Check]:
        def absolute(service: str) -> Mapping[str, Any]:
            return self._api.get(service, "/limits", lambda answer: dict(answer["limits"]["absolute"]))

        for service, names in (
            ("compute", {"instances": ("maxTotalInstances", "totalInstancesUsed"), "cores": ("maxTotalCores", "totalCoresUsed"),
                         "MiB of memory": ("maxTotalRAMSize", "totalRAMUsed")}),
            ("volume", {"volumes": ("maxTotalVolumes", "totalVolumesUsed"), "GiB of volumes": ("maxTotalVolumeGigabytes",
                                                                                            "totalGigabytesUsed"),
                        "snapshots": ("maxTotalSnapshots", "totalSnapshotsUsed")}),
        ):
            try:
                found = absolute(service)
            except CpiError as error:
                yield Check.failed(f"quota of {service}", "quota", error)
                continue
            for name, (most, used) in names.items():
                yield _quota(name, int(found.get(most, -1)), int(found.get(used, 0)))
        try:
            ports = self._api.get("network", f"/v2.0/quotas/{project}/details", lambda answer: dict(answer["quota"]["port"]))
            yield _quota("ports", int(ports["limit"]), int(ports["used"]))
        except CpiError as error:
            yield Check("quota of ports", "quota", None, error.message)

    def _used(self, uses: Uses) -> Iterator[Check]:
        zones = {str(item.get("availability_zone") or "") for item in [*uses.azs.values(), *uses.vm_types.values()]}
        zones |= {zone for item in uses.vm_types.values() for zone in item.get("availability_zones") or ()}
        for zone in sorted(zones - {""}):
            yield self._of(f"availability zone {zone}", "configuration", lambda zone=zone: self._zone(zone))  # type: ignore[misc]
        for name, properties in uses.networks.items():
            if properties.get("net_id"):
                yield self._of(f"network {name}", "network", lambda item=properties: self._network(item))  # type: ignore[misc]
        default = self._config.get("default_security_groups")
        if default:
            yield self._of("default security groups", "network", lambda: self._groups(list(default)))
        for name, properties in uses.vm_types.items():
            yield self._of(f"vm type {name}", "configuration", lambda item=properties: self._vm_type(item))  # type: ignore[misc]
        for name, properties in uses.disk_types.items():
            kind = properties.get("type") or self._config.get("default_volume_type")
            if kind:
                yield self._of(f"disk type {name}", "storage", lambda kind=kind: self._volume_type(str(kind)))  # type: ignore[misc]
        for cid in uses.stemcell_cids:
            yield self._of(f"stemcell {cid}", "image", lambda cid=cid: self._image(cid))  # type: ignore[misc]

    def _zone(self, name: str) -> str:
        zones = self._api.get("compute", "/os-availability-zone", lambda answer: {
            str(item["zoneName"]): bool(item["zoneState"]["available"]) for item in answer["availabilityZoneInfo"]})
        if not zones.get(name):
            known = ", ".join(sorted(zone for zone, there in zones.items() if there))
            raise Invalid(f"Nova has no available zone '{name}'", suggestion=f"known: {known}")
        return "available"

    def _network(self, properties: Properties) -> str:
        network = self._api.get("network", f"/v2.0/networks/{properties['net_id']}", lambda answer: dict(answer["network"]))
        if properties.get("security_groups"):
            self._groups(list(properties["security_groups"]))
        return f"{network.get('name')}, {network.get('status')}, {len(network.get('subnets') or ())} subnets"

    def _groups(self, names: list[str]) -> str:
        found = self._networks.groups({"security_groups": names}, (), None)
        return ", ".join(found or ())

    def _vm_type(self, properties: Properties) -> str:
        found = []
        if properties.get("instance_type"):
            flavor = self._flavors.named(str(properties["instance_type"]))
            found.append(f"{flavor.cores} cores, {flavor.ram} MiB, {flavor.disk} GiB")
        if properties.get("security_groups"):
            found.append(self._groups(list(properties["security_groups"])))
        key = properties.get("key_name") or self._config.get("default_key_name")
        if key:
            self._api.get("compute", f"/os-keypairs/{key}", lambda answer: None)
        if properties.get("loadbalancer_pools"):
            found += [f"pool {pool}" for pool, _ in self._pools.resolve(properties["loadbalancer_pools"])]
        return "; ".join(found)

    def _volume_type(self, name: str) -> str:
        names = list(self._api.pages("volume", "/types", "volume_types", lambda item: str(item["name"])))
        if name not in names:
            raise Invalid(f"there is no volume type '{name}'", suggestion=f"known: {', '.join(sorted(names))}")
        return "there"

    def _image(self, cid: str) -> str:
        image = self._images.get(cid)
        if image.status != "active":
            raise Invalid(f"the image {image.id} is '{image.status}'", suggestion="Upload the stemcell again.")
        return f"{image.name}, active"


def _role(roles: tuple[str, ...]) -> Check:
    shown = ", ".join(roles) or "none told"
    if set(roles) & set(_ROLES):
        return Check("role in the project", "permission", True, shown)
    return Check(
        "role in the project", "permission", None, f"{shown}: whether that may make machines only trying it would tell",
        "Most clouds want the role `member`.")


def _quota(name: str, most: int, used: int) -> Check:
    if most < 0:
        return Check(f"quota of {name}", "quota", True, f"{used} used, no limit")
    left = most - used
    return Check(
        f"quota of {name}", "quota", left > 0, f"{used} of {most} used, {left} left",
        "" if left > 0 else "Have the project's quota raised, or free something.")
