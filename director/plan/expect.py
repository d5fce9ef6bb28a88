"""How long a plan may take, from how long such steps took in past tasks. Pure: the past is given."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from director.plan.model import Action, GroupPlan, Wave
from director.plan.outline import Entry, Expected, Outline

COMPILE, CREATE_VM, DELETE = "compile", "create vm", "delete"
_MADE_OF: Mapping[str, tuple[str, ...]] = {"update": ("create",), "recreate": (CREATE_VM, "create")}
PARALLEL = 32
"""Machines made at once when the number is not limited. Source: planning contract, section 1, step 10."""


@dataclasses.dataclass(frozen=True)
class Took:
    """One step of a past task: `step` is compile, `create vm`, or what was done to an instance (create, update, recreate, start, stop,
    restart, delete); `what` the package or the instance group."""

    step: str
    what: str
    seconds: float


def expected(told: Outline, past: Iterable[Took]) -> Outline:
    """The plan with the time it may take: for each step the median of what it took for this group or package. A step that this group
    never did counts as for the other groups; what nobody did is told as unknown."""
    if told.is_empty:
        return told
    adding = _Adding(past)
    seconds = adding.compile(told) + adding.machines(told) + adding.removed(told)
    entries = {entry.id: entry for entry in told.entries}
    for run in told.runs:
        seconds += max(adding.group(group, entries) for group in run)
    unknown = tuple(dict.fromkeys(adding.unknown))
    return dataclasses.replace(told, expected=Expected(round(seconds, 3), unknown, adding.learned or not unknown))


class _Adding:
    def __init__(self, past: Iterable[Took]) -> None:
        self._own: dict[tuple[str, str], list[float]] = {}
        self._all: dict[str, list[float]] = {}
        for took in past:
            self._own.setdefault((took.step, took.what), []).append(took.seconds)
            self._all.setdefault(took.step, []).append(took.seconds)
        self.unknown: list[str] = []
        self.learned = False

    def compile(self, told: Outline) -> float:
        """Dependencies make it longer, machines that compile several packages shorter; the two are left against each other."""
        each = [self._took(COMPILE, item.package, alike=False) for item in told.compilations]
        return sum(each) / max(1, min(told.workers, len(each)))

    def machines(self, told: Outline) -> float:
        return self._side_by_side([self._took(CREATE_VM, entry.group) for entry in told.entries if entry.action is Action.CREATE], PARALLEL)

    def removed(self, told: Outline) -> float:
        gone = [entry for entry in told.entries if entry.action is Action.DELETE and entry.group in told.removed_groups]
        return self._side_by_side([self._took(DELETE, entry.group) for entry in gone], PARALLEL)

    def group(self, group: GroupPlan, entries: Mapping[str, Entry]) -> float:
        deletions = [self._took(DELETE, entries[item].group) for item in group.deletions]
        return self._side_by_side(deletions, group.delete_parallel) + sum(self._wave(wave, entries) for wave in group.waves)

    def _wave(self, wave: Wave, entries: Mapping[str, Entry]) -> float:
        each = [self._took(_step(entries[item]), wave.group) for item in wave.instances if entries[item].action is not Action.METADATA]
        return self._side_by_side(each, wave.parallel)

    @staticmethod
    def _side_by_side(each: Sequence[float], parallel: int) -> float:
        return math.ceil(len(each) / parallel) * max(each) if each else 0.0

    def _took(self, step: str, what: str, *, alike: bool = True) -> float:
        """What was never done to a group in this way is made of what was: to bring jobs to a new machine and start them is an update too,
        with a new machine it is a recreation."""
        found = self._median(step, what, alike)
        if found is None:
            parts = [self._median(part, what, alike) for part in _MADE_OF.get(step, ())]
            known = [part for part in parts if part is not None]
            found = sum(known) if parts and len(known) == len(parts) else None
        if found is None:
            self.unknown.append(f"{step} {what}")
            return 0.0
        self.learned = True
        return found

    def _median(self, step: str, what: str, alike: bool) -> float | None:
        known = self._own.get((step, what)) or (self._all.get(step) if alike else None)
        return statistics.median(known) if known else None


def _step(entry: Entry) -> str:
    """The action of the event that such an update leaves. Source: planning contract, section 25."""
    if entry.action is Action.CREATE:
        return "create"
    return "recreate" if entry.action is Action.RECREATE else "update"
