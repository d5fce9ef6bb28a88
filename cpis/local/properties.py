"""Cloud properties of this computer, read strictly."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable
from typing import Any

from cpis.contract import Invalid, Properties, VmResources
from cpis.local.host import Limits

_SMALLEST_MIB = 64


def nearest(word: str, candidates: Iterable[str]) -> str:
    """A suggestion sentence, or the list of what there is."""
    known = sorted(candidates)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean '{found[0]}'?" if found else f"known: {', '.join(known)}"


@dataclasses.dataclass(frozen=True)
class VmProperties:
    """`memory` and `ephemeral_disk` in MiB, `cpus` in cores; None is no limit."""

    memory: int | None = None
    cpus: float | None = None
    ephemeral_disk: int | None = None
    privileged: bool = False

    @property
    def limits(self) -> Limits:
        return Limits(self.memory, self.cpus, self.privileged)

    @classmethod
    def read(cls, properties: Properties) -> VmProperties:
        """Raises Invalid with everything that is wrong."""
        known = {field.name for field in dataclasses.fields(cls)}
        wrong: list[str] = []
        suggestions: list[str] = []
        for key in properties:
            if key not in known:
                wrong.append(f"unknown key '{key}'")
                suggestions.append(nearest(key, known))
        memory, disk = (_mib(properties, key, wrong) for key in ("memory", "ephemeral_disk"))
        cpus = properties.get("cpus")
        if cpus is not None and (isinstance(cpus, bool) or not isinstance(cpus, (int, float)) or not 0.01 <= cpus <= 4096):
            wrong.append(f"'cpus' must be a number of cores of at least 0.01, not {cpus!r}")
            cpus = None
        privileged = properties.get("privileged", False)
        if not isinstance(privileged, bool):
            wrong.append(f"'privileged' must be true or false, not {privileged!r}")
        if wrong:
            raise Invalid(f"cloud properties of a machine: {'; '.join(wrong)}", suggestion=" ".join(suggestions))
        return cls(memory, None if cpus is None else float(cpus), disk, bool(privileged))


def _mib(properties: Properties, key: str, wrong: list[str]) -> int | None:
    value: Any = properties.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < _SMALLEST_MIB:
        wrong.append(f"'{key}' must be MiB, a whole number of at least {_SMALLEST_MIB}, not {value!r}")
        return None
    return value


def smallest(resources: VmResources) -> dict[str, Any]:
    """Cloud properties of a machine with these resources. Raises Invalid when this computer is too small."""
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    wrong = [
        f"{key} must be more than 0" for key in ("cpu", "ram_mib", "ephemeral_disk_size_mib") if getattr(resources, key) <= 0
    ]
    if resources.cpu > cores:
        wrong.append(f"{resources.cpu} cores are asked for, this computer has {cores}")
    if resources.ram_mib > memory:
        wrong.append(f"{resources.ram_mib} MiB of memory are asked for, this computer has {memory}")
    if wrong:
        raise Invalid("; ".join(wrong))
    return {
        "cpus": float(resources.cpu), "memory": max(resources.ram_mib, _SMALLEST_MIB),
        "ephemeral_disk": max(resources.ephemeral_disk_size_mib, _SMALLEST_MIB),
    }
