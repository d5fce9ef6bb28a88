"""Sizes: MiB of the contract, GiB of the clouds, and the smallest machine that is large enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from cpis.contract import Invalid, VmResources


def gib(mib: int) -> int:
    """Whole GiB that hold so many MiB. Source: CPI contract, section 2."""
    return -(-mib // 1024)


@dataclasses.dataclass(frozen=True)
class MachineType:
    """A size that a cloud sells: cores, memory and own (ephemeral) disk in MiB; `ephemeral_mib` 0 when the disk is chosen apart."""

    name: str
    cpu: int
    ram_mib: int
    ephemeral_mib: int = 0


def smallest(types: Iterable[MachineType], resources: VmResources) -> MachineType:
    """The type with the fewest cores, then the least memory, that has all that is asked. Raises Invalid, naming the largest."""
    for key, value in dataclasses.asdict(resources).items():
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise Invalid(f"{key} must be a whole number above 0, not {value!r}")
    known = list(types)
    if not known:
        raise Invalid("the cloud names no machine type")
    enough = [
        kind for kind in known
        if kind.cpu >= resources.cpu and kind.ram_mib >= resources.ram_mib
        and (not kind.ephemeral_mib or kind.ephemeral_mib >= resources.ephemeral_disk_size_mib)
    ]
    if not enough:
        largest = max(known, key=lambda kind: (kind.cpu, kind.ram_mib))
        asked = f"{resources.cpu} cores, {resources.ram_mib} MiB of memory and {resources.ephemeral_disk_size_mib} MiB of disk"
        raise Invalid(
            f"no machine type has {asked}",
            suggestion=f"the largest is {largest.name} with {largest.cpu} cores and {largest.ram_mib} MiB")
    return min(enough, key=lambda kind: (kind.cpu, kind.ram_mib, kind.ephemeral_mib, kind.name))
