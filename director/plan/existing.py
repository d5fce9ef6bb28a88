"""Which recorded instances belong to which wanted group. Source: planning contract, section 2; manifest contract, section 8.7."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from director.diagnostics import Diagnostics
from director.manifest.model import InstanceGroup
from director.plan.model import ObservedInstance

_MIGRATION_INVALID = 190018


@dataclasses.dataclass(frozen=True)
class Existing:
    """A recorded instance as the group sees it: `az` after migration, `migrated_from` its old group when that is another one."""

    observed: ObservedInstance
    az: str
    migrated_from: str = ""

    @property
    def key(self) -> tuple[int, str, str]:
        """Index order; instances of two groups may share an index."""
        return (self.observed.index, self.migrated_from, self.observed.id)


@dataclasses.dataclass(frozen=True)
class Claims:
    """`by_group` lists instances of each wanted group in index order; `removed` are those that no group wants."""

    by_group: Mapping[str, tuple[Existing, ...]]
    removed: tuple[ObservedInstance, ...]


def claim(groups: Iterable[InstanceGroup], observed: Iterable[ObservedInstance], report: Diagnostics) -> Claims:
    """Give every recorded instance to the group that has its name or lists it in `migrated_from`."""
    wanted = {group.name: group for group in groups}
    recorded: dict[str, list[ObservedInstance]] = {}
    for instance in observed:
        recorded.setdefault(instance.group, []).append(instance)
    owner = _owners(wanted, report)
    claimed: dict[str, list[Existing]] = {name: [] for name in wanted}
    removed: list[ObservedInstance] = []
    for old, instances in recorded.items():
        new = owner.get(old, old if old in wanted else None)
        if new is None:
            removed.extend(instances)
            continue
        for instance in instances:
            claimed[new].append(_migrated(wanted[new], instance, report))
    return Claims({name: tuple(sorted(items, key=lambda item: item.key)) for name, items in claimed.items()}, tuple(removed))


def _owners(wanted: Mapping[str, InstanceGroup], report: Diagnostics) -> dict[str, str]:
    owner: dict[str, str] = {}
    for group in wanted.values():
        for entry in group.migrated_from:
            if entry.name != group.name and entry.name in wanted:
                report.add(
                    f"Failed to migrate instance group '{entry.name}' to '{group.name}'. A deployment can not migrate an instance group and"
                    f" also specify it. Please remove instance group '{entry.name}'.", code=_MIGRATION_INVALID)
            elif owner.setdefault(entry.name, group.name) != group.name:
                report.add(
                    f"Failed to migrate instance group '{entry.name}' to '{group.name}'. An instance group may be migrated to only one"
                    " instance group.", code=_MIGRATION_INVALID)
    return owner


def _migrated(group: InstanceGroup, instance: ObservedInstance, report: Diagnostics) -> Existing:
    foreign = instance.group if instance.group != group.name else ""
    entries = [entry for entry in group.migrated_from if entry.name == instance.group]
    if not entries:
        return Existing(instance, instance.az, foreign)
    if not instance.az:
        az = next((entry.az for entry in entries if entry.az), "")
        if not az and group.azs:
            report.add(
                f"Failed to migrate instance group '{instance.group}' to '{group.name}', availability zone of '{instance.group}' is not"
                " specified", code=_MIGRATION_INVALID, suggestion=f"Give 'az' in migrated_from of instance group '{group.name}'.")
        return Existing(instance, az, foreign)
    named = [entry.az for entry in entries if entry.az]
    if named and instance.az not in named and len(entries) == len(named):
        report.add(
            f"Failed to migrate instance group '{instance.group}' to '{group.name}', '{instance.group}' belongs to availability zone"
            f" '{instance.az}' and manifest specifies '{named[0]}'", code=_MIGRATION_INVALID)
    return Existing(instance, instance.az, foreign)
