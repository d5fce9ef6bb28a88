"""Why rendered templates differ although no property does: which variables have new versions, or what else it can only have been."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from director.plan.model import Change, Plan, Reason
from director.plan.shown import PLACEHOLDER, leaves

DIFFER = "rendered templates differ"


def explained(plan: Plan, rotated: Callable[[str], bool]) -> Plan:
    """The plan, whose reasons `configuration` without properties say what caused them. `rotated` tells of a variable, as it is written in
    the manifest, whether its value is another one than at the last success."""
    finding = _Finding(rotated)
    return dataclasses.replace(plan, changes=tuple(
        dataclasses.replace(change, reasons=tuple(finding.of(change, item) for item in change.reasons))
        if change.has("configuration") else change for change in plan.changes))


class _Finding:
    """Jobs are shared by the instances of a group, so they are looked through once."""

    def __init__(self, rotated: Callable[[str], bool]) -> None:
        self._rotated = rotated
        self._known: dict[int, tuple[str, ...]] = {}

    def of(self, change: Change, reason: Reason) -> Reason:
        if reason.kind != "configuration" or reason.paths or change.spec is None:
            return reason
        variables = self._variables(change)
        if variables:
            names = ", ".join(variables)
            return dataclasses.replace(reason, text=f"{DIFFER}: variables have new values", before=names, after=names)
        others = list(_others(change))
        if others:
            return dataclasses.replace(reason, text=f"{DIFFER}: no property changed, but {' and '.join(others)} did")
        return dataclasses.replace(
            reason, text=f"{DIFFER}: no property, variable, job or address of its own changed, so what its links or its place tell did")

    def _variables(self, change: Change) -> tuple[str, ...]:
        assert change.spec is not None
        if id(change.spec.jobs) not in self._known:
            written = {
                found[2:-2].strip().removeprefix("!").split(".")[0]
                for job in change.spec.jobs for _, value in leaves(job.properties) if isinstance(value, str)
                for found in PLACEHOLDER.findall(value)}
            self._known[id(change.spec.jobs)] = tuple(sorted(name for name in written if name and self._rotated(name)))
        return self._known[id(change.spec.jobs)]


def _others(change: Change) -> Iterator[str]:
    if change.migrated_from:
        yield "the name of its instance group"
    elif change.has("job"):
        yield "its jobs"
    if change.has("network"):
        yield "its networks"
    if change.has("persistent_disk"):
        yield "its disk"
