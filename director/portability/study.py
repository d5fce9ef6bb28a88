"""Offers -> Report: need by need, what each cloud gives. Pure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cpis.cloud.sizes import MachineType
from cpis.cloud.userdata import cloud_config
from cpis.contract import Login
from cpis.portable import FEATURES
from director.manifest.model import InstanceGroup, NetworkDefinition
from director.portability.model import DIFFERS, MISSING, NOTE, OK, UNKNOWN, Report, Row, Total, Verdict
from director.portability.offer import Offer

_ALIKE = 1.2
"""Sizes within a fifth of each other count as alike."""

# Of the length that a director's are; what they hold does not matter.
_LOGIN = Login("caisson", "ssh-ed25519 " + "A" * 68, "ssh-ed25519 " + "A" * 68, "-" * 400)

Judge = Callable[[Offer], Verdict | None]


def study(name: str, offers: Sequence[Offer]) -> Report:
    """The report on a deployment. Offers whose manifest could not be read have rows of what is wrong with them only."""
    table = _Table(offers)
    _problems(table)
    able = [offer for offer in offers if offer.manifest is not None]
    for group in _groups(able):
        _machines(table, group)
    for az in dict.fromkeys(az for offer in able for group in _own(offer) for az in group.azs):
        table.add("zone", az, functools.partial(_zone, az=az))
    for network in dict.fromkeys(item.network for offer in able for item in offer.addresses):
        table.add("network", _network_need(able, network), functools.partial(_network, name=network))
    for group in _groups(able):
        for place in range(max(len(_group(offer, group).disks) for offer in able if _has(offer, group))):
            _disk(table, able, group, place)
    for extension in dict.fromkeys(item for offer in able for group in _own(offer) for item in group.vm_extensions):
        table.add("extension", extension, functools.partial(_extension, name=extension))
    for feature, needed in _features().items():
        if any(needed(offer) for offer in able):
            table.add("feature", FEATURES[feature], functools.partial(_feature, name=feature, needed=needed))
    _limits(table)
    table.add("stemcell", ", ".join(_stemcells(able)), _stemcell)
    return Report(name, {offer.label: offer.facts.title for offer in offers}, tuple(table.rows), {o.label: _total(o) for o in able})


class _Table:
    """Rows as they come. A judge that answers None has nothing to say of that cloud."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self.offers = offers
        self.rows: list[Row] = []

    def add(self, topic: str, need: str, judge: Judge, *, unread: bool = False) -> None:
        found = {offer.label: judge(offer) for offer in self.offers if unread or offer.manifest is not None}
        verdicts = {label: verdict for label, verdict in found.items() if verdict is not None}
        if verdicts:
            self.rows.append(Row(topic, need, verdicts))


def _own(offer: Offer) -> tuple[InstanceGroup, ...]:
    return offer.manifest.instance_groups if offer.manifest else ()


def _groups(offers: Iterable[Offer]) -> list[str]:
    return list(dict.fromkeys(group.name for offer in offers for group in _own(offer)))


def _has(offer: Offer, name: str) -> bool:
    return offer.manifest is not None and offer.manifest.group(name) is not None


def _group(offer: Offer, name: str) -> InstanceGroup:
    found = offer.manifest.group(name) if offer.manifest else None
    assert found is not None
    return found


def _problems(table: _Table) -> None:
    """What a deploy would refuse: a row for each thing that is wrong, so that it is seen which cloud config has it."""
    for summary in dict.fromkeys(item.summary for offer in table.offers for item in offer.problems):
        def judge(offer: Offer, summary: str = summary) -> Verdict | None:
            found = next((item for item in offer.problems if item.summary == summary), None)
            return Verdict(MISSING, found.sentence, found.suggestion) if found else Verdict(OK)

        table.add("config", summary, judge, unread=True)


# Machines


def _machines(table: _Table, name: str) -> None:
    group = next(_group(offer, name) for offer in table.offers if _has(offer, name))
    what = group.vm_type or "vm_resources"
    zones = f" in {', '.join(group.azs)}" if group.azs else ""
    first, base = next(
        ((offer.label, size) for offer in table.offers if _has(offer, name) and (size := offer.size(_group(offer, name)))), ("", None))

    def judge(offer: Offer) -> Verdict | None:
        if not _has(offer, name):
            return None
        own = _group(offer, name)
        wrong = None if own.vm_resources is not None else offer.wrong("vm_type", offer.properties(own))
        if wrong is not None:
            return Verdict(MISSING, wrong.message, wrong.suggestion)
        if own.vm_resources is not None and "vm_resources" in offer.facts.lacks:
            return None  # said among the features
        size = offer.size(own)
        if size is None:
            chosen = offer.properties(own)
            told = next((str(chosen[key]) for key in ("instance_type", "machine_type") if chosen.get(key)), "")
            return Verdict(UNKNOWN, f"{told}: only the cloud knows its size" if told else "no size is said")
        text = f"{size.name} ({_resources(size)})"
        assert base is not None
        alike = _alike(size.cpu, base.cpu) and _alike(size.ram_mib, base.ram_mib)
        return Verdict(OK, text) if alike else Verdict(DIFFERS, f"{text} where {first} has {_resources(base)}")

    table.add("machine", f"{name}: {group.instances} x {what}{zones}", judge)


def _resources(size: MachineType) -> str:
    return f"{size.cpu} {'core' if size.cpu == 1 else 'cores'}, {_gib(size.ram_mib)}"


def _alike(first: int, second: int) -> bool:
    low, high = sorted((first, second))
    return high <= low * _ALIKE


def _gib(mib: int) -> str:
    return f"{mib / 1024:.3g} GiB"


def _total(offer: Offer) -> Total:
    machines = cores = ram = disk = unknown = 0
    for group in _own(offer):
        size = offer.size(group)
        machines += group.instances
        disk += group.instances * sum(item.size_mib for item in group.disks)
        if size is None:
            unknown += group.instances
        else:
            cores += group.instances * size.cpu
            ram += group.instances * size.ram_mib
    return Total(machines, cores, ram, disk, unknown)


def _zone(offer: Offer, az: str) -> Verdict | None:
    found = offer.cloud.az(az) if offer.cloud else None
    if found is None:
        return None
    wrong = offer.wrong("az", found.cloud_properties)
    if wrong is not None:
        return Verdict(MISSING, wrong.message, wrong.suggestion)
    return Verdict(OK, " ".join(str(value) for value in found.cloud_properties.values() if isinstance(value, str)))


# Networks


def _network_need(offers: Sequence[Offer], name: str) -> str:
    count = max(sum(item.network == name for item in offer.addresses) for offer in offers)
    static = max(
        sum(len(item.static_ips or ()) for group in _own(offer) for item in group.networks if item.name == name) for offer in offers)
    return f"{name}: {count} addresses" + (f", {static} of them chosen" if static else "")


def _network(offer: Offer, name: str) -> Verdict | None:
    definition = offer.cloud.network(name) if offer.cloud else None
    if definition is None:
        return None
    for properties in (subnet.cloud_properties for subnet in definition.subnets) if definition.subnets else (definition.cloud_properties,):
        wrong = offer.wrong("network", properties)
        if wrong is not None:
            return Verdict(MISSING, wrong.message, wrong.suggestion)
    kept = sorted({item.ip for item in offer.addresses if item.network == name and item.ip and offer.kept_by_cloud(name, item.ip)})
    if kept and definition.type == "manual":
        return Verdict(
            MISSING, f"{', '.join(kept)}: {offer.facts.title} keeps these addresses for itself",
            "Put them into 'reserved' of the subnet, and choose other static addresses.")
    split = [subnet.range for subnet in definition.subnets if len(subnet.azs) > 1]
    if split and offer.facts.subnet_per_zone and definition.type == "manual":
        return Verdict(MISSING, f"{split[0]} is for several zones, a subnet lies in one", "Give each zone a subnet of its own.")
    return Verdict(OK, _span(definition))


def _span(definition: NetworkDefinition) -> str:
    ranges = [subnet.range for subnet in definition.subnets if subnet.range]
    return f"{definition.type}, {', '.join(ranges)}" if ranges else definition.type


# Disks


def _disk(table: _Table, offers: Sequence[Offer], name: str, place: int) -> None:
    first, sample = next(
        (offer.label, _group(offer, name)) for offer in offers if _has(offer, name) and len(_group(offer, name).disks) > place)
    base = sample.disks[place]

    def judge(offer: Offer) -> Verdict | None:
        if not _has(offer, name) or len(_group(offer, name).disks) <= place:
            return None
        disk = _group(offer, name).disks[place]
        wrong = offer.wrong("disk_type", disk.cloud_properties)
        if wrong is not None:
            return Verdict(MISSING, wrong.message, wrong.suggestion)
        largest = offer.facts.limits.largest_disk_gib
        if largest is not None and disk.size_mib > largest * 1024:
            return Verdict(MISSING, f"{_gib(disk.size_mib)} is more than the largest disk ({largest} GiB)", "Use several disks.")
        kind = disk.cloud_properties.get("type") or disk.cloud_properties.get("storage_account_type") or ""
        text = " ".join(filter(None, [_gib(disk.size_mib), str(kind)]))
        if not _alike(disk.size_mib, base.size_mib):
            return Verdict(DIFFERS, f"{text} where {first} has {_gib(base.size_mib)}")
        return Verdict(OK, text)

    table.add("disk", f"{name}: {sample.instances} x {base.type or _gib(base.size_mib)}", judge)


def _extension(offer: Offer, name: str) -> Verdict | None:
    found = next((item for item in offer.cloud.vm_extensions if item.name == name), None) if offer.cloud else None
    if found is None or not any(name in group.vm_extensions for group in _own(offer)):
        return None
    if not found.cloud_properties:
        return Verdict(NOTE, "it asks nothing of this cloud")
    return Verdict(OK, ", ".join(found.cloud_properties))


# Features


def _features() -> dict[str, Callable[[Offer], bool]]:
    """Which features a deployment needs, by its own cloud config."""
    return {
        "static_addresses": lambda offer: any(item.static_ips for group in _own(offer) for item in group.networks),
        "dynamic_networks": lambda offer: "dynamic" in _kinds(offer),
        "vip": lambda offer: "vip" in _kinds(offer),
        "several_networks": lambda offer: any(len(_real(offer, group)) > 1 for group in _own(offer)),
        "managed_networks": lambda offer: any(item.managed for item in _networks(offer)),
        "zones": lambda offer: any(len(group.azs) > 1 for group in _own(offer)),
        "persistent_disks": lambda offer: any(group.disks for group in _own(offer)),
        "vm_resources": lambda offer: any(group.vm_resources is not None for group in _own(offer)),
        "ipv6": lambda offer: any(":" in subnet.range for item in _networks(offer) for subnet in item.subnets),
        "nic_groups": lambda offer: any(item.nic_group is not None for group in _own(offer) for item in group.networks),
    }


def _networks(offer: Offer) -> Iterator[NetworkDefinition]:
    used = {item.name for group in _own(offer) for item in group.networks}
    return (item for item in (offer.cloud.networks if offer.cloud else ()) if item.name in used)


def _kinds(offer: Offer) -> set[str]:
    return {item.type for item in _networks(offer)}


def _real(offer: Offer, group: InstanceGroup) -> list[str]:
    kinds = {item.name: item.type for item in _networks(offer)}
    return [item.name for item in group.networks if kinds.get(item.name) != "vip"]


def _feature(offer: Offer, name: str, needed: Callable[[Offer], bool]) -> Verdict | None:
    if not needed(offer):
        return None
    lack = offer.facts.lacks.get(name)
    return Verdict(MISSING, lack.why, lack.instead) if lack else Verdict(OK)


# Limits


def _limits(table: _Table) -> None:
    size = len(cloud_config(_LOGIN, "vm-00000000-0000-0000-0000-000000000000").encode())

    def user_data(offer: Offer) -> Verdict | None:
        return _within(size, offer.facts.limits.user_data_bytes, "bytes")

    def disks(offer: Offer) -> Verdict | None:
        return _within(max((len(group.disks) for group in _own(offer)), default=0), offer.facts.limits.disks_per_machine, "disks")

    def networks(offer: Offer) -> Verdict | None:
        used = max((len(_real(offer, group)) for group in _own(offer)), default=0)
        if "several_networks" in offer.facts.lacks:
            return None  # said among the features
        return _within(used, offer.facts.limits.networks_per_machine, "networks")

    def tags(offer: Offer) -> Verdict | None:
        assert offer.manifest is not None
        limits, own = offer.facts.limits, offer.manifest.tags
        if limits.tags is not None and len(own) + 12 > limits.tags:
            return Verdict(NOTE, f"{len(own)} tags and BOSH's own are more than {limits.tags}: the last are left out")
        long = [key for key, value in own.items() if limits.tag_characters is not None and len(str(value)) > limits.tag_characters]
        return Verdict(NOTE, f"{', '.join(map(str, long))}: cut to {limits.tag_characters} characters") if long else None

    table.add("limit", f"user data: {size} bytes", user_data)
    table.add("limit", "disks of a machine", disks)
    table.add("limit", "networks of a machine", networks)
    table.add("limit", "tags", tags)


def _within(used: int, limit: int | None, word: str) -> Verdict | None:
    if limit is None:
        return Verdict(OK)
    return Verdict(OK, f"{limit:,} {word} at most") if used <= limit else Verdict(MISSING, f"{used} {word}, {limit} at most")


def _stemcells(offers: Sequence[Offer]) -> list[str]:
    return list(dict.fromkeys(item.os or item.name for offer in offers if offer.manifest for item in offer.manifest.stemcells))


def _stemcell(offer: Offer) -> Verdict:
    return Verdict(NOTE, f"upload one of format {' or '.join(offer.facts.stemcell_formats)}")


def with_live(report: Report, found: Mapping[str, Iterable[Mapping[str, Any]]]) -> Report:
    """The report with what the clouds themselves said: per label the checks, as `{name, kind, ok, detail, suggestion}`."""
    states = {True: OK, False: MISSING, None: UNKNOWN}
    rows: dict[tuple[str, str], dict[str, Verdict]] = {}
    for label, checks in found.items():
        for item in checks:
            verdict = Verdict(states[item["ok"]], str(item["detail"]), str(item["suggestion"]))
            rows.setdefault((f"live {item['kind']}", str(item["name"])), {})[label] = verdict
    return dataclasses.replace(report, rows=(*report.rows, *(Row(*key, verdicts) for key, verdicts in rows.items())))
