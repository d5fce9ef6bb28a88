"""A plan for people, as JSON, and as a digest. Nothing secret is in any of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator

from director.plan.model import Action, Change, GroupPlan, Plan, Reason, Reservation, Tree

_WORDS = {
    Action.KEEP: "unchanged", Action.CREATE: "create", Action.UPDATE: "update", Action.RECREATE: "recreate", Action.METADATA: "metadata",
    Action.STOP: "stop", Action.DELETE: "delete"}
_STOPS_PROCESSES = (Action.UPDATE, Action.RECREATE, Action.STOP, Action.DELETE)


def explain(plan: Plan) -> str:
    """A line per instance that changes, its reasons below it, then the order and totals. Ends with a newline."""
    lines = [f"Deployment '{plan.deployment}'", ""]
    changed = [change for change in plan.changes if change.action is not Action.KEEP]
    for change in changed:
        lines.extend(_change_lines(change))
    waiting = [change for change in plan.changes if change.action is Action.KEEP and change.reasons]
    if waiting:
        lines.extend(["", "Waits until they are started:"])
        for change in waiting:
            lines.extend(_change_lines(change))
    if plan.compilations:
        lines.extend(["", f"Compile {len(plan.compilations)} packages:"])
        lines.extend(f"  + {item.release}/{item.package} for {item.stemcell}" for item in plan.compilations)
    order = list(_order_lines(plan))
    if order:
        lines.extend(["", "Order:", *order])
    lines.extend(["", *_totals(plan, changed)])
    lines.extend(f"Warning: {warning}" for warning in plan.warnings)
    return "\n".join(lines) + "\n"


def to_json(plan: Plan) -> Tree:
    """The plan as plain data: actions, reasons, addresses, order. Instances that are kept are listed with their action only."""
    return {
        "deployment": plan.deployment,
        "changes": [_change_json(change) for change in plan.changes],
        "removed_groups": list(plan.removed_groups),
        "runs": [[_group_json(group) for group in run] for run in plan.runs],
        "compilations": [
            {"release": f"{item.release}/{item.release_version}", "package": item.package, "fingerprint": item.fingerprint,
             "stemcell": item.stemcell, "key": item.key, "after": list(item.after)} for item in plan.compilations],
        "summary": {"actions": _counts(plan.changes), "azs": _per_az(plan.changes), "empty": plan.is_empty},
        "warnings": list(plan.warnings),
    }


def digest(plan: Plan) -> str:
    """`sha256:HEX`. Equal for plans that do the same for the same reasons to the same specs; manifest lines do not count."""
    shape = to_json(plan)
    for change in shape["changes"]:
        for reason in change.get("reasons", ()):
            reason.pop("line", None)
    shape["specs"] = list(_spec_digests(plan))
    return "sha256:" + hashlib.sha256(json.dumps(shape, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def reason_text(reason: Reason) -> str:
    """`kind: text (before -> after), manifest line N`. Where both are the same, they name what changed and not its value."""
    values = f" ({reason.before or 'nothing'} -> {reason.after or 'nothing'})" if reason.before or reason.after else ""
    if reason.before and reason.before == reason.after:
        values = f" ({reason.before})"
    line = f", manifest line {reason.line}" if reason.line is not None else ""
    return f"{reason.kind}: {reason.text}{values}{line}"


def _change_lines(change: Change) -> Iterator[str]:
    az = f" in {change.az}" if change.az else ""
    disk = "with disk change" if change.observed else "with a persistent disk"
    extra = [word for word, holds in (("by hot swap", change.hot_swap), (disk, change.disk_change)) if holds]
    state = change.spec.state if change.spec and change.spec.state != "started" else ""
    notes = "".join(f", {word}" for word in (*extra, *([f"stays {state}"] if state and change.action is not Action.STOP else ())))
    yield f"  {change.action.glyph} {change.label}{az}: {_WORDS[change.action]}{notes}"
    if change.migrated_from:
        yield f"      was in instance group '{change.migrated_from}'"
    for reason in change.reasons:
        yield f"      {reason_text(reason)}"
    if change.action in (Action.CREATE, Action.RECREATE):
        addresses = ", ".join(_address_text(item) for item in change.reservations)
        if addresses:
            yield f"      addresses: {addresses}"


def _address_text(item: Reservation) -> str:
    return f"{item.network} {item.ip or 'from the cloud'}"


def _order_lines(plan: Plan) -> Iterator[str]:
    if plan.removed_groups:
        yield f"  delete instance groups {', '.join(plan.removed_groups)}"
    created = sum(change.action is Action.CREATE for change in plan.changes)
    if created:
        yield f"  create {created} machines, all in parallel"
    for run in plan.runs:
        for group in run:
            beside = " (beside its neighbours)" if len(run) > 1 else ""
            if group.deletions:
                yield f"  {group.name}{beside}: delete {len(group.deletions)}, {group.delete_parallel} at a time"
            for wave in group.waves:
                count = len(wave.instances)
                kind = ("canary" if count == 1 else "canaries") if wave.canary else "instance" if count == 1 else "instances"
                az = f" in {wave.az}" if wave.az else ""
                yield f"  {group.name}{beside}: {count} {kind}{az}" + (f", {wave.parallel} at a time" if count > 1 else "")


def _totals(plan: Plan, changed: list[Change]) -> Iterator[str]:
    if not changed:
        yield "Nothing to do."
        return
    yield "Total: " + ", ".join(f"{number} to {word}" for word, number in _counts(plan.changes).items() if word != "unchanged") + (
        f", {sum(change.action is Action.KEEP for change in plan.changes)} unchanged")
    for az, numbers in _per_az(plan.changes).items():
        yield f"  {az or 'no AZ'}: " + ", ".join(f"{number} {word}" for word, number in numbers.items())
    stops = sum(change.action in _STOPS_PROCESSES and change.observed is not None and change.observed.vm is not None for change in changed)
    if stops:
        yield f"Processes stop on {stops} running machines."


def _counts(changes: Iterable[Change]) -> dict[str, int]:
    counter = Counter(change.action for change in changes)
    return {_WORDS[action]: counter[action] for action in Action if counter[action]}


def _per_az(changes: Iterable[Change]) -> dict[str, dict[str, int]]:
    """Machines touched in each AZ, by word."""
    zones: dict[str, Counter[str]] = {}
    for change in changes:
        if change.action is not Action.KEEP:
            zones.setdefault(change.az, Counter())[_WORDS[change.action]] += 1
    return {az: dict(sorted(zones[az].items())) for az in sorted(zones)}


def _change_json(change: Change) -> Tree:
    shape: Tree = {
        "action": change.action.value, "instance": change.name, "group": change.group, "id": change.id, "index": change.index,
        "az": change.az or None}
    if change.spec is not None:
        shape["state"] = change.spec.state
    if change.action is Action.KEEP and not change.reasons:
        return shape
    shape["reasons"] = [
        {"kind": item.kind, "text": item.text, "before": item.before, "after": item.after, "line": item.line} for item in change.reasons]
    shape["addresses"] = [_reservation_json(item) for item in change.reservations]
    shape["released"] = [_reservation_json(item) for item in change.released]
    shape["flags"] = [
        name for name, holds in (("hot_swap", change.hot_swap), ("disk_change", change.disk_change)) if holds]
    if change.migrated_from:
        shape["migrated_from"] = change.migrated_from
    if change.configuration_hash:
        shape["configuration_hash"] = change.configuration_hash
    return shape


def _reservation_json(item: Reservation) -> Tree:
    return {"network": item.network, "ip": item.ip, "kind": item.kind}


def _group_json(group: GroupPlan) -> Tree:
    return {
        "group": group.name, "serial": group.serial, "deletions": list(group.deletions), "delete_parallel": group.delete_parallel,
        "waves": [
            {"az": wave.az or None, "canary": wave.canary, "parallel": wave.parallel, "instances": list(wave.instances)}
            for wave in group.waves]}


def _spec_digests(plan: Plan) -> Iterator[str]:
    """What the changed instances should be, with placeholders unresolved: a rotated secret does not show. Jobs are shared by the
    instances of a group, and are digested once for them."""
    jobs: dict[int, str] = {}
    for change in plan.changes:
        if change.action is Action.KEEP or change.spec is None:
            continue
        spec = change.spec
        if id(spec.jobs) not in jobs:
            jobs[id(spec.jobs)] = _sha256([dataclasses.asdict(job) for job in spec.jobs])
        yield _sha256([jobs[id(spec.jobs)], dataclasses.replace(spec, jobs=()).to_dict()])


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str, separators=(",", ":")).encode()).hexdigest()
