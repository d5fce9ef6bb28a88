"""Instances over AZs when no address is static. Source: planning contract, section 3."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from director.diagnostics import Diagnostics, Where
from director.manifest.model import InstanceGroup
from director.plan.existing import Existing
from director.plan.model import ObservedInstance

IGNORED_CHANGED = 190020


@dataclasses.dataclass(frozen=True)
class Slot:
    """A wanted instance: what is kept (or None), its AZ, and its static addresses by network name."""

    existing: Existing | None
    az: str
    static_ips: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Placement:
    """Kept instances in index order, then new ones in the order they were placed."""

    slots: tuple[Slot, ...]
    obsolete: tuple[ObservedInstance, ...]


def place(group: InstanceGroup, existing: Sequence[Existing], report: Diagnostics, *, seed: str = "") -> Placement:
    """Choose AZs. `existing` comes in index order; with a `seed` ties between AZs are broken by it instead of by name."""
    check_ignored(group, existing, report)
    balance = _Balance(group.azs, existing, seed)
    wanted = group.instances
    chosen: list[Existing] = []
    for item in existing:
        if item.observed.ignored and len(chosen) < wanted:
            balance.take(item)
            chosen.append(item)
    if group.azs:
        for item in existing:
            if len(chosen) < wanted and item.observed.disks and not item.observed.ignored and balance.serves(item.az):
                balance.take(item)
                chosen.append(item)
    fresh: list[Slot] = []
    for _ in range(wanted - len(chosen)):
        az, item_or_none = balance.pick()
        if item_or_none is None:
            fresh.append(Slot(None, az))
        else:
            chosen.append(item_or_none)
    kept = {item.observed.id for item in chosen}
    slots = [Slot(item, item.az) for item in existing if item.observed.id in kept]
    return Placement((*slots, *fresh), tuple(item.observed for item in existing if item.observed.id not in kept))


class _Balance:
    """Counts of placements per AZ, and the existing instances that nobody claimed yet."""

    def __init__(self, azs: Sequence[str], existing: Iterable[Existing], seed: str) -> None:
        self._count = dict.fromkeys(azs or ("",), 0)
        self._unclaimed: dict[str, deque[Existing]] = {az: deque() for az in self._count}
        self._taken: set[str] = set()
        self._seed = seed
        self._picks = 0
        for item in existing:
            if item.az in self._unclaimed:
                self._unclaimed[item.az].append(item)
        self._left = {az: len(items) for az, items in self._unclaimed.items()}
        # sorted is stable: AZs with equally many instances stay in listed order.
        self._order = sorted(self._count, key=lambda az: -self._left[az])

    def serves(self, az: str) -> bool:
        return az in self._count

    def take(self, item: Existing) -> None:
        self._taken.add(item.observed.id)
        if item.az in self._count:
            self._count[item.az] += 1
            self._left[item.az] -= 1

    def pick(self) -> tuple[str, Existing | None]:
        """The AZ with the fewest placements, and the existing instance there that is kept by this pick, if there is one."""
        fewest = min(self._count.values())
        tied = [az for az in self._order if self._count[az] == fewest]
        az = next((az for az in tied if self._left[az]), None)
        if az is None:
            az = min(tied, key=self._tie_break)
        self._picks += 1
        item = self._next(az)
        if item is None:
            self._count[az] += 1
        else:
            self.take(item)
        return az, item

    def _next(self, az: str) -> Existing | None:
        queue = self._unclaimed[az]
        while queue:
            item = queue.popleft()
            if item.observed.id not in self._taken:
                return item
        return None

    def _tie_break(self, az: str) -> str:
        return hashlib.sha256(f"{self._seed}/{self._picks}/{az}".encode()).hexdigest() if self._seed else az


def _networks_of(observed: ObservedInstance) -> set[str]:
    from_cloud = (item["network"] for item in observed.applied.get("networks", ()) if item["type"] == "dynamic")
    return {*(item.network for item in observed.reservations), *from_cloud}


def check_ignored(group: InstanceGroup, existing: Sequence[Existing], report: Diagnostics) -> None:
    """Ignored instances may be neither moved, nor deleted, nor have their networks changed."""
    ignored = [item for item in existing if item.observed.ignored]
    if not ignored:
        return
    where = Where(line=group.line, path=f"instance_groups/{group.name}")
    names = {network.name for network in group.networks}
    if any(_networks_of(one.observed) != names for one in ignored):
        report.add(
            f"In instance group '{group.name}', which contains ignored vms, an attempt was made to modify the networks."
            " This operation is not allowed.", where=where, code=IGNORED_CHANGED)
    if len(ignored) > group.instances:
        report.add(
            f"Instance Group '{group.name}' has {len(ignored)} ignored instance(s). {group.instances} instance(s) of that instance group"
            " were requested. Deleting ignored instances is not allowed.", where=where, code=IGNORED_CHANGED)
    lost = sorted({one.az for one in ignored if (one.az or group.azs) and one.az not in group.azs})
    if lost:
        listed = ", ".join(f'"{az}"' for az in lost)
        report.add(
            f"Instance Group '{group.name}' no longer contains AZs [{listed}] where ignored instance(s) exist.",
            where=where, code=IGNORED_CHANGED)
