"""Whether all is there that machines on Azure will need: only questions, nothing is made. See `cpis.contract.CloudChecker`."""

from __future__ import annotations

import email.utils
import fnmatch
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cpis.azure import bodies
from cpis.azure.arm import Arm, Tree
from cpis.azure.disks import Disks
from cpis.azure.names import ASG, GALLERY, NSG
from cpis.azure.networks import BALANCERS, Networks, listed
from cpis.azure.sizes import Sizes
from cpis.azure.stemcells import Stemcells
from cpis.contract import Check, CheckKind, CpiError, Network, Properties, Uses

_MOST_SKEW_SECONDS = 300.0
_QUOTAS = ("cores", "virtualMachines")

_COMPUTE, _NETWORK = "Microsoft.Compute", "Microsoft.Network"
_THREE = ("read", "write", "delete")
GROUP_ACTIONS: Sequence[str] = (
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    *(f"{_COMPUTE}/virtualMachines/{verb}" for verb in (*_THREE, "start/action", "restart/action", "attachDetachDataDisks/action")),
    *(f"{_COMPUTE}/disks/{verb}" for verb in (*_THREE, "beginGetAccess/action", "endGetAccess/action")),
    *(f"{_COMPUTE}/{kind}/{verb}" for kind in ("snapshots", "images", "availabilitySets") for verb in _THREE),
    *(f"{_NETWORK}/networkInterfaces/{verb}" for verb in (*_THREE, "join/action")),
    *(f"{_NETWORK}/publicIPAddresses/{verb}" for verb in (*_THREE, "join/action")),
)
"""What the role must allow in the resource group of the CPI config."""
NETWORK_ACTIONS: Sequence[str] = (
    f"{_NETWORK}/virtualNetworks/read", f"{_NETWORK}/virtualNetworks/subnets/join/action", f"{_NETWORK}/networkSecurityGroups/join/action",
)
"""What it must allow where the virtual networks are."""


class Checks:
    """`run(uses)` tells one after the other."""

    def __init__(self, arm: Arm, networks: Networks, disks: Disks, stemcells: Stemcells, sizes: Sizes) -> None:
        self._arm = arm
        self._settings = arm.settings
        self._networks = networks
        self._disks = disks
        self._stemcells = stemcells
        self._sizes = sizes

    def run(self, uses: Uses) -> Iterator[Check]:
        """Reach and authenticate first; nothing after one of them failed."""
        well = True
        for check in self._account():
            well = well and check.ok is not False
            yield check
        if not well:
            return
        groups = {str(item.get("resource_group_name") or "") for item in uses.networks.values()} - {""}
        yield from self._permissions(self._settings.group, (*GROUP_ACTIONS, *(() if groups else NETWORK_ACTIONS)))
        for group in sorted(groups):
            yield from self._permissions(group, NETWORK_ACTIONS)
        yield from self._quotas()
        yield from self._of_networks(uses.networks)
        zones = {str(item["availability_zone"]) for item in uses.azs.values() if item.get("availability_zone")}
        yield from self._of_machines(uses.vm_types, zones)
        yield from self._of_images(uses.stemcell_cids)
        for name, properties in uses.disk_types.items():
            yield from self._encryption(f"disk type {name}", properties)

    def _account(self) -> Iterator[Check]:
        path = ""
        try:
            path = f"/subscriptions/{self._settings.subscription}"
            group = self._settings.group
        except CpiError as error:
            yield Check.failed("CPI config", "configuration", error)
            return
        try:
            answer = self._arm.send("GET", path, "the subscription")
        except CpiError as error:
            yield from Check.not_entered(self._settings.place.arm, "credentials", error)
            return
        yield Check(self._settings.place.arm, "reach", True, "answers")
        yield Check("credentials", "authenticate", True, (
            f"{self._arm.drivers.tokens.who()}, subscription {answer.body.get('displayName') or self._settings.subscription}"))
        yield _clock(answer.headers.get("date", ""))
        yield self._asked(f"resource group {group}", "configuration", self._there, f"{path}/resourceGroups/{group}")

    def _asked(self, name: str, kind: CheckKind, ask: Callable[..., str], *arguments: Any) -> Check:
        """The check that a question answers; its answer says what was found."""
        try:
            return Check(name, kind, True, ask(*arguments))
        except CpiError as error:
            return Check.failed(name, kind, error)

    def _permissions(self, group: str, actions: Sequence[str]) -> Iterator[Check]:
        path = f"/subscriptions/{self._settings.subscription}/resourceGroups/{group}/providers/Microsoft.Authorization/permissions"
        try:
            granted = list(self._arm.pages(path, f"permissions in {group}", family="read"))
        except CpiError as error:
            yield Check(f"permissions in {group}", "permission", None, f"they cannot be read: {error}", error.suggestion)
            return
        for action in actions:
            allowed = any(allows(item, action) for item in granted)
            yield Check(action, "permission", allowed, f"in the resource group {group}",
                        "" if allowed else "docs/clouds/azure.md has a role that allows it.")

    def _quotas(self) -> Iterator[Check]:
        try:
            location = self._disks.location()
            path = f"/subscriptions/{self._settings.subscription}/providers/Microsoft.Compute/locations/{location}/usages"
            found = {str(item["name"]["value"]): item for item in self._arm.pages(path, f"quotas in {location}", family="read")}
        except CpiError as error:
            yield Check("quotas", "quota", None, f"they cannot be read: {error}", error.suggestion)
            return
        for name in _QUOTAS:
            if name in found:
                used, limit = int(found[name]["currentValue"]), int(found[name]["limit"])
                yield Check(f"{name} in {location}", "quota", used < limit, f"{used} of {limit} used",
                            "" if used < limit else "Ask for more: Azure portal, Subscriptions, Usage + quotas.")

    def _of_networks(self, networks: Mapping[str, Properties]) -> Iterator[Check]:
        default = self._settings.config.get("default_security_group")
        if default:
            yield self._exists(f"security group {default} (default)", "network", self._settings.id_of(NSG, str(default)))
        for name, properties in networks.items():
            if not properties.get("virtual_network_name"):
                continue  # vip networks need no subnet
            wanted = Network(name, "dynamic", cloud_properties=properties)
            yield self._asked(f"subnet of {name}", "network", self._range, wanted)
            yield from self._groups(f"network {name}", properties, wanted)

    def _groups(self, owner: str, properties: Properties, network: Network) -> Iterator[Check]:
        """Security groups, network's and applications', that somebody names."""
        security = properties.get("security_group")
        if security:
            yield self._asked(f"security group of {owner}", "network", self._security_group, security, network)
        for item in properties.get("application_security_groups") or []:
            yield self._asked(
                f"application security group {item} of {owner}", "network", self._application_group, str(item), network)

    def _range(self, network: Network) -> str:
        found = self._networks.subnet(network)
        return f"{found.range or 'without IPv4 addresses'} in {found.location}"

    def _security_group(self, security: Any, network: Network) -> str:
        return self._there(self._networks.security_group(security, network))

    def _application_group(self, name: str, network: Network) -> str:
        return self._there(self._networks.beside(ASG, name, network))

    def _there(self, path: str) -> str:
        return str(self._arm.get(path, path.rsplit("/", 1)[-1])["id"])

    def _exists(self, name: str, kind: CheckKind, path: str) -> Check:
        return self._asked(name, kind, self._there, path)

    def _of_machines(self, types: Mapping[str, Properties], zones: set[str]) -> Iterator[Check]:
        if not types:
            return
        try:
            known = {item.lower() for item in self._sizes.offered()}
        except CpiError as error:
            yield Check.failed("sizes of machines", "quota", error)
            return
        for name, properties in types.items():
            for size in bodies.sizes(properties):
                sold = size.lower() in known
                absent = self._sizes.missing_zones(size, zones) if sold and not properties.get("availability_set") else []
                detail = f"not in zone {', '.join(absent)}" if absent else "" if sold else "this subscription cannot have it in the region"
                yield Check(f"size {size} of {name}", "quota", sold and not absent, detail,
                            "`az vm list-skus -l REGION --size NAME` tells why." if detail else "")
            for key, (kind, _) in BALANCERS.items():
                for item in listed(properties.get(key)):
                    yield self._asked(f"{key} of {name}", "network", self._networks.pool, kind, item)
            yield from self._groups(f"vm type {name}", properties, Network(name))
            for disk in (properties.get("root_disk"), properties.get("ephemeral_disk")):
                yield from self._encryption(f"vm type {name}", disk or {})
            identity = properties.get("managed_identity") or {}
            named = identity.get("user_assigned_identity_name")
            if named:
                path = self._settings.id_of("Microsoft.ManagedIdentity/userAssignedIdentities", str(named))
                yield self._exists(f"managed identity of {name}", "configuration", path)

    def _encryption(self, owner: str, properties: Mapping[str, Any]) -> Iterator[Check]:
        name = properties.get("disk_encryption_set_name")
        if name:
            path = self._settings.id_of("Microsoft.Compute/diskEncryptionSets", str(name))
            yield self._exists(f"disk encryption set {name} of {owner}", "storage", path)

    def _of_images(self, cids: Sequence[str]) -> Iterator[Check]:
        gallery = self._settings.config.get("compute_gallery_name")
        if gallery:
            yield self._exists(f"gallery {gallery}", "image", self._settings.id_of(GALLERY, str(gallery)))
        for cid in cids:
            yield self._asked(f"stemcell {cid}", "image", self._stemcells.look, cid)


def _clock(date: str) -> Check:
    """The difference between Azure's clock and ours; certificates and signatures fail when it is large."""
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return Check("clock", "clock", None, "Azure did not say what time it is")
    skew = time.time() - theirs
    return Check("clock", "clock", abs(skew) < _MOST_SKEW_SECONDS, f"{skew:+.0f} s from Azure's",
                 "" if abs(skew) < _MOST_SKEW_SECONDS else "Set this computer's clock (NTP).")


def allows(granted: Tree, action: str) -> bool:
    """Whether a role's permission has the action. Source: Azure's documentation of role definitions."""
    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(action.lower(), str(pattern).lower()) for pattern in patterns)
    folded = {str(key).lower(): value for key, value in granted.items()}  # definitions have capitals, answers have not
    return matches(folded.get("actions") or []) and not matches(folded.get("notactions") or [])
