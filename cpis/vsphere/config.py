"""The CPI config, the AZs' places and the machines' properties as values, checked. Source: CPI contract, section 10.1."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.cloud.schema import Schema
from cpis.contract import Invalid, NotSupported, Properties

SCHEMA = Schema.of("vsphere")
MANAGERS = {
    "nsx": "NSX-V ended in 2022, and its manager's API is not spoken",
    "nsxt": "the NSX manager's own API is not spoken; segments work as networks, and NSX can group machines by segment or by name",
    "device_groups": "vendor device groups are not asked for",
}
"""Keys that are known and refused, with the reason: whoever sets them relies on what they do."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """A DRS rule that keeps machines apart."""

    name: str


@dataclasses.dataclass(frozen=True)
class Place:
    """A cluster for machines: `pool` the resource pool in it, `host_group` the hosts they must (`must`) or should run on."""

    cluster: str
    pool: str = ""
    host_group: str = ""
    must: bool = False
    rules: tuple[Rule, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Which datastores: those whose name, or whose cluster's name, matches. Without either: all."""

    stores: str = ""
    pods: str = ""
    names: tuple[str, ...] = ()
    pod_names: tuple[str, ...] = ()

    def takes(self, name: str, pod: str) -> bool:
        """Whether a datastore of this name in this datastore cluster is one of them."""
        if self.names or self.pod_names:
            return name in self.names or (bool(pod) and pod in self.pod_names)
        if not self.stores and not self.pods:
            return True
        return bool(self.stores and re.search(self.stores, name)) or bool(self.pods and pod and re.search(self.pods, pod))

    def __str__(self) -> str:
        """As in the configuration."""
        if self.names or self.pod_names:
            return f"datastores {', '.join([*self.names, *self.pod_names])}"
        return f"datastore_pattern '{self.stores}'" + (f" or datastore_cluster_pattern '{self.pods}'" if self.pods else "")


@dataclasses.dataclass(frozen=True)
class Config:
    """A CPI config. `values` are its plain keys with their defaults."""

    values: Mapping[str, Any]
    datacenter: str
    vm_folder: str
    template_folder: str
    disk_path: str
    stores: Pattern
    disk_stores: Pattern
    places: tuple[Place, ...]
    director: str

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Config:
        """Raises Invalid with all that is wrong, NotSupported for what this CPI does not do."""
        given = {**config, "host": config.get("host") or config.get("address")}
        values = SCHEMA.check("cpi", given)
        if not values.get("host"):
            raise Invalid("the CPI config (vsphere): 'host' is missing", suggestion="host: the name of the vCenter")
        refuse(values, "the CPI config")
        (one,) = _one(values["datacenters"], "datacenters of the CPI config")
        for key in [key for key in one if key.endswith("_pattern")]:
            _pattern(key, one[key])
        folders = {key: str(one[key]).strip("/") for key in ("vm_folder", "template_folder", "disk_path")}
        if not all(folders.values()):
            raise Invalid("vm_folder, template_folder and disk_path of the CPI config must name folders of their own")
        return cls(
            values, one["name"], folders["vm_folder"], folders["template_folder"], folders["disk_path"],
            Pattern(one.get("datastore_pattern", ""), one.get("datastore_cluster_pattern", "")),
            Pattern(
                one.get("persistent_datastore_pattern") or one.get("datastore_pattern", ""),
                one.get("persistent_datastore_cluster_pattern") or one.get("datastore_cluster_pattern", "")),
            places(one["clusters"], "the CPI config"), str(config.get("director", "caisson")))

    def places_of(self, properties: Properties) -> tuple[Place, ...]:
        """Where a machine with these cloud properties (an AZ's are among them) may go. Raises Invalid."""
        given = properties.get("datacenters")
        if not given:
            return self.places
        (one,) = _one(given, "datacenters")
        if one["name"].strip("/") != self.datacenter.strip("/"):
            raise Invalid(
                f"the datacenter '{one['name']}' is not that of the CPI config, '{self.datacenter}'",
                suggestion="A CPI config has one datacenter: make one for the other, and name it in the AZ.")
        wanted = places(one["clusters"], "the AZ") if one.get("clusters") else self.places
        known = {place.cluster: place for place in self.places}
        return tuple(
            dataclasses.replace(place, pool=place.pool or known[place.cluster].pool) if place.cluster in known else place
            for place in wanted)


def refuse(properties: Properties, where: str) -> None:
    """Raises NotSupported for keys that this CPI knows and does not do."""
    for key, reason in MANAGERS.items():
        if properties.get(key):
            raise NotSupported(f"'{key}' in {where} is not supported: {reason}", suggestion=f"Take '{key}' away.")


def machine(properties: Properties) -> dict[str, Any]:
    """A machine's cloud properties, checked. Raises Invalid with all that is wrong, NotSupported."""
    values = SCHEMA.check("vm_type", properties)
    refuse(values, "cloud properties of a machine")
    for key, least in (("cpu", 1), ("ram", 4), ("disk", 1)):
        if values[key] < least:
            raise Invalid(f"'{key}' must be at least {least}, not {values[key]}")
    if values["ram"] % 4:
        raise Invalid(f"'ram' must be a multiple of 4 MiB, not {values['ram']}", suggestion=f"ram: {values['ram'] + 4 - values['ram'] % 4}")
    return values


def stores(properties: Properties, otherwise: Pattern) -> Pattern:
    """The datastores that cloud properties name, or else those. Raises Invalid."""
    given = properties.get("datastores")
    if not given:
        return otherwise
    names: list[str] = []
    pods: list[str] = []
    for entry in given:
        if isinstance(entry, str):
            names.append(entry)
        elif isinstance(entry, Mapping) and set(entry) == {"clusters"} and isinstance(entry["clusters"], Sequence):
            pods += [name for item in entry["clusters"] for name in (item if isinstance(item, Mapping) else [item])]
        else:
            raise Invalid(
                f"datastores: {entry!r} is neither a name nor 'clusters' with a list", suggestion="[ssd-1, {clusters: [{pod-1: {}}]}]")
    return Pattern(names=tuple(names), pod_names=tuple(pods))


def places(entries: Sequence[Any], where: str) -> tuple[Place, ...]:
    """The clusters of a configuration. Raises Invalid."""
    result = []
    for entry in entries:
        if isinstance(entry, str):
            result.append(Place(entry))
            continue
        if not isinstance(entry, Mapping) or not all(isinstance(value, Mapping | None) for value in entry.values()):
            raise Invalid(f"clusters in {where}: {entry!r} is neither a name nor a hash", suggestion="[{cluster1: {resource_pool: pool1}}]")
        result += [_place(str(name), value or {}, where) for name, value in entry.items()]
    if not result:
        raise Invalid(f"clusters in {where}: there is none")
    return tuple(result)


def _place(name: str, options: Mapping[str, Any], where: str) -> Place:
    unknown = sorted(set(options) - {"resource_pool", "host_group", "drs_rules"})
    if unknown:
        raise Invalid(
            f"cluster '{name}' in {where}: unknown key '{unknown[0]}'", suggestion="known: resource_pool, host_group, drs_rules.")
    group = options.get("host_group") or {}
    group = {"name": group} if isinstance(group, str) else group
    if not isinstance(group, Mapping) or set(group) - {"name", "drs_rule"} or (group and not isinstance(group.get("name"), str)):
        raise Invalid(f"cluster '{name}' in {where}: host_group is a name, or {{name, drs_rule}}")
    if group.get("drs_rule", "SHOULD") not in ("MUST", "SHOULD"):
        raise Invalid(f"cluster '{name}' in {where}: drs_rule is MUST or SHOULD, not {group['drs_rule']!r}")
    rules = options.get("drs_rules") or []
    for rule in rules:
        if not isinstance(rule, Mapping) or set(rule) != {"name", "type"} or rule["type"] != "separate_vms":
            raise Invalid(
                f"cluster '{name}' in {where}: {rule!r} is no DRS rule", suggestion="drs_rules: [{name: apart, type: separate_vms}]")
    return Place(
        name, str(options.get("resource_pool") or ""), group.get("name", ""), group.get("drs_rule") == "MUST",
        tuple(Rule(rule["name"]) for rule in rules))


def _one(entries: Sequence[Any], where: str) -> Sequence[Mapping[str, Any]]:
    if len(entries) != 1:
        raise Invalid(f"{where}: there must be exactly one, not {len(entries)}", suggestion="Each datacenter has a CPI config of its own.")
    return entries


def _pattern(key: str, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise Invalid(f"{key}: '{text}' is no regular expression: {error}") from error
