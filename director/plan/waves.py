"""In which order, and how many at once. Source: planning contract, section 8; manifest contract, section 6."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from director.diagnostics import Diagnostic
from director.errors import PlanError
from director.manifest.model import InstanceGroup
from director.plan.model import Action, Change, GroupPlan, InstanceSpec, Options, Wave

_SIZE = re.compile(r"\s*([+-]?\d+)\s*(%?)\s*")


def size_of(text: str, count: int) -> int:
    """`3` is 3, `40%` of 6 is 2: rounded down, never more than `count`. Raises PlanError on other texts."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise PlanError(Diagnostic(
            f"'{text}' cannot be calculated", detail="canaries and max_in_flight are an integer or a percentage.",
            suggestion="Write a number such as 2, or a percentage such as 20%."))
    number = int(match[1])
    return min(number * count // 100, count) if match[2] else number


def canaries_of(text: str, count: int) -> int:
    """How many of `count` changed instances go first."""
    return max(0, min(size_of(text, count), count))


def parallel_of(text: str, count: int) -> int:
    """How many at once; at least one."""
    return max(1, size_of(text, count))


def update_order(specs: Iterable[InstanceSpec]) -> list[InstanceSpec]:
    """The AZ of the bootstrap instance, then those without AZ, then AZs by name; in an AZ bootstrap first, then by `GROUP/UUID`."""
    specs = list(specs)
    first_az = next((spec.az for spec in specs if spec.bootstrap), None)
    return sorted(specs, key=lambda spec: (spec.az != first_az, spec.az != "", spec.az, not spec.bootstrap, spec.name))


def waves_of(group: InstanceGroup, changes: Sequence[Change], *, one_bucket: bool, options: Options) -> tuple[Wave, ...]:
    """Waves for the changes of one group that have a spec; `one_bucket` puts all AZs together."""
    canaries, in_flight = options.canaries or group.update.canaries, options.max_in_flight or group.update.max_in_flight
    buckets: dict[str, list[str]] = {}
    for spec in update_order(change.spec for change in changes if change.spec is not None):
        buckets.setdefault("" if one_bucket else spec.az, []).append(spec.id)
    waves: list[Wave] = []
    for position, (az, ids) in enumerate(buckets.items()):
        parallel = parallel_of(in_flight, len(ids))
        first = canaries_of(canaries, len(ids)) if position == 0 else 0
        if first:
            waves.append(Wave(group.name, az, True, parallel, tuple(ids[:first])))
        if ids[first:]:
            waves.append(Wave(group.name, az, False, parallel, tuple(ids[first:])))
    return tuple(waves)


def group_plans(
    groups: Sequence[InstanceGroup], changes: Mapping[str, Sequence[Change]], *, first_deploy: bool, options: Options,
) -> tuple[tuple[GroupPlan, ...], ...]:
    """Runs of groups: one serial group, or neighbours that are not serial. Groups with nothing to do are left out of their run."""
    runs: list[list[GroupPlan]] = []
    previous_serial = True
    for group in groups:
        plan = _group_plan(group, changes.get(group.name, ()), first_deploy=first_deploy, options=options)
        if group.update.serial or previous_serial:
            runs.append([])
        previous_serial = group.update.serial
        if plan.deletions or plan.waves:
            runs[-1].append(plan)
    return tuple(tuple(run) for run in runs if run)


def _group_plan(group: InstanceGroup, changes: Sequence[Change], *, first_deploy: bool, options: Options) -> GroupPlan:
    deletions = tuple(change.id for change in changes if change.action is Action.DELETE)
    changed = [change for change in changes if change.action not in (Action.KEEP, Action.DELETE)]
    one_bucket = first_deploy and group.update.initial_deploy_az_update_strategy == "parallel"
    return GroupPlan(
        group.name, group.update.serial, deletions,
        parallel_of(options.max_in_flight or group.update.max_in_flight, len(deletions)) if deletions else 1,
        waves_of(group, changed, one_bucket=one_bucket, options=options))
