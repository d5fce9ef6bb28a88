"""A plan as what is told of it: plain values without secrets, which become JSON and come back the same.

`explain.py` writes it for people, `planfile.py` keeps it, events remember its reasons. FORMAT grows when a field changes its meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from director.diagnostics import Diagnostic
from director.errors import UsageError
from director.manifest.model import InstanceGroup
from director.plan.model import Action, Blueprint, Change, Compile, GroupPlan, Plan, Reason, Reservation, Wave

FORMAT = 1
Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DiskFate:
    """What becomes of a persistent disk: `create`, `copy` (its content goes to a new one, the old one is orphaned), `keep` or `orphan`."""

    fate: str
    size_mib: int
    name: str = ""
    cid: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One instance. `processes` are those that its machine runs now, `effect` what becomes of them: restart, stop, start or ''.
    `state` is the wanted one; a `frozen` instance is ignored or was not selected."""

    action: Action
    group: str
    id: str
    index: int
    az: str = ""
    state: str = ""
    reasons: tuple[Reason, ...] = ()
    addresses: tuple[Reservation, ...] = ()
    released: tuple[Reservation, ...] = ()
    disks: tuple[DiskFate, ...] = ()
    processes: tuple[str, ...] = ()
    effect: str = ""
    hot_swap: bool = False
    disk_change: bool = False
    migrated_from: str = ""
    frozen: bool = False

    @property
    def name(self) -> str:
        return f"{self.group}/{self.id}"

    @property
    def label(self) -> str:
        return f"{self.group}/{self.id} ({self.index})"


@dataclasses.dataclass(frozen=True)
class ErrandGroup:
    """A group whose machines exist only while its errand runs. `awake` when some have a machine now: then a deploy updates all of them."""

    group: str
    instances: int
    awake: bool


@dataclasses.dataclass(frozen=True)
class Expected:
    """How long it may take: `seconds` of what is known from past tasks, `unknown` what no past task has done; `learned` is false when
    nothing at all is known."""

    seconds: float = 0.0
    unknown: tuple[str, ...] = ()
    learned: bool = False


@dataclasses.dataclass(frozen=True)
class Outline:
    """A whole plan. `runs` are in order; groups of one run go beside each other."""

    deployment: str
    entries: tuple[Entry, ...] = ()
    removed_groups: tuple[str, ...] = ()
    runs: tuple[tuple[GroupPlan, ...], ...] = ()
    compilations: tuple[Compile, ...] = ()
    workers: int = 1
    errands: tuple[ErrandGroup, ...] = ()
    warnings: tuple[str, ...] = ()
    expected: Expected | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no machine would be touched."""
        return all(entry.action is Action.KEEP for entry in self.entries)

    @property
    def changed(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.action is not Action.KEEP)


def outline(plan: Plan, blueprint: Blueprint | None = None, warnings: Iterable[str] | None = None) -> Outline:
    """What is told of a plan. `blueprint` adds errand groups and how many machines compile; `warnings` replace the plan's own."""
    request = blueprint.request if blueprint else None
    return Outline(
        plan.deployment, tuple(_entry(change) for change in plan.changes), plan.removed_groups, plan.runs, plan.compilations,
        request.cloud.compilation.workers if request else 1,
        tuple(_errands(request.manifest.instance_groups, plan.changes)) if request else (),
        tuple(plan.warnings if warnings is None else warnings))


def _errands(groups: Iterable[InstanceGroup], changes: tuple[Change, ...]) -> Iterator[ErrandGroup]:
    for group in groups:
        if group.lifecycle == "errand" and group.instances:
            mine = [change for change in changes if change.group == group.name]
            awake = any(change.observed is not None and change.observed.vm is not None for change in mine)
            yield ErrandGroup(group.name, group.instances, awake)


def _entry(change: Change) -> Entry:
    observed = change.observed
    processes = tuple(sorted(observed.vm.processes)) if observed is not None and observed.vm is not None else ()
    told = change.action is not Action.KEEP or bool(change.reasons)
    return Entry(
        change.action, change.group, change.id, change.index, change.az, change.spec.state if change.spec else "",
        tuple(dataclasses.replace(reason, paths=()) for reason in change.reasons),
        change.reservations if told and change.spec else (), change.released if told else (), tuple(_disks(change)) if told else (),
        processes if told else (), _effect(change), change.hot_swap, change.disk_change, change.migrated_from, change.frozen)


def _effect(change: Change) -> str:
    """What its processes feel."""
    runs = change.observed is not None and change.observed.vm is not None
    starts = change.spec is not None and change.spec.state == "started"
    if change.action in (Action.KEEP, Action.METADATA):
        return ""
    if not runs:
        return "start" if starts else ""
    if change.action in (Action.STOP, Action.DELETE) or not starts:
        return "stop"
    return "restart" if change.observed is not None and change.observed.state == "started" else "start"


def _disks(change: Change) -> Iterator[DiskFate]:
    old = {disk.name: disk for disk in change.observed.disks} if change.observed else {}
    if change.spec is None:
        yield from (DiskFate("orphan", disk.size_mib, name, disk.cid) for name, disk in sorted(old.items()))
        return
    new = {disk.name: disk for disk in change.spec.disks}
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield DiskFate("orphan" if change.disk_change else "keep", old[name].size_mib, name, old[name].cid)
        elif name not in old:
            yield DiskFate("create", new[name].size_mib, name)
        elif not change.disk_change:
            yield DiskFate("keep", old[name].size_mib, name, old[name].cid)
        else:
            yield DiskFate("copy", new[name].size_mib, name, old[name].cid)


# JSON


def to_json(told: Outline) -> Tree:
    """Plain data. Of instances that are kept for no reason only who they are is told."""
    return {
        "format": FORMAT,
        "deployment": told.deployment,
        "changes": [_entry_json(entry) for entry in told.entries],
        "removed_groups": list(told.removed_groups),
        "runs": [[_group_json(group) for group in run] for run in told.runs],
        "compilations": [
            {"release": f"{item.release}/{item.release_version}", "package": item.package, "fingerprint": item.fingerprint,
             "stemcell": item.stemcell, "key": item.key, "after": list(item.after)} for item in told.compilations],
        "compilation_workers": told.workers,
        "errands": [dataclasses.asdict(item) for item in told.errands],
        "summary": {"actions": counts(told.entries), "azs": per_az(told.entries), "empty": told.is_empty},
        "expected": None if told.expected is None else {
            "seconds": told.expected.seconds, "unknown": list(told.expected.unknown), "learned": told.expected.learned},
        "warnings": list(told.warnings),
    }


def from_json(tree: Any) -> Outline:
    """What `to_json` was given. Raises UsageError for data that is none of ours, or of a newer format."""
    if isinstance(tree, dict) and isinstance(tree.get("format"), int) and tree["format"] > FORMAT:
        raise UsageError(Diagnostic(
            f"The plan has format {tree['format']}, this is known up to format {FORMAT}",
            suggestion="It was made by a newer version; use that one, or make the plan anew."))
    try:
        return _read(tree)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(Diagnostic(
            "This is no plan", detail=f"{type(error).__name__}: {error}", suggestion="Make it anew: caisson plan MANIFEST.")) from error


def _read(tree: Mapping[str, Any]) -> Outline:
    expected = tree["expected"]
    return Outline(
        tree["deployment"], tuple(_entry_of(item) for item in tree["changes"]), tuple(tree["removed_groups"]),
        tuple(tuple(_group_of(item) for item in run) for run in tree["runs"]),
        tuple(_compile_of(item) for item in tree["compilations"]), tree["compilation_workers"],
        tuple(ErrandGroup(**item) for item in tree["errands"]), tuple(tree["warnings"]),
        None if expected is None else Expected(expected["seconds"], tuple(expected["unknown"]), expected["learned"]))


WORDS = {
    Action.KEEP: "unchanged", Action.CREATE: "create", Action.UPDATE: "update", Action.RECREATE: "recreate", Action.METADATA: "metadata",
    Action.STOP: "stop", Action.DELETE: "delete"}
_FLAGS = ("hot_swap", "disk_change", "frozen")


def counts(entries: Iterable[Entry]) -> dict[str, int]:
    """How many instances of each action, by its word."""
    entries = tuple(entries)
    found = {WORDS[action]: sum(entry.action is action for entry in entries) for action in Action}
    return {word: number for word, number in found.items() if number}


def per_az(entries: Iterable[Entry]) -> dict[str, dict[str, int]]:
    """Machines touched in each AZ, by word."""
    zones: dict[str, dict[str, int]] = {}
    for entry in entries:
        if entry.action is not Action.KEEP:
            zone = zones.setdefault(entry.az, {})
            zone[WORDS[entry.action]] = zone.get(WORDS[entry.action], 0) + 1
    return {az: dict(sorted(zones[az].items())) for az in sorted(zones)}


def reason_json(reason: Reason) -> Tree:
    """Without places that are not there."""
    shape: Tree = {"kind": reason.kind, "text": reason.text, "before": reason.before, "after": reason.after, "line": reason.line}
    return {**shape, "file": reason.file} if reason.file else shape


def reason_of(tree: Mapping[str, Any]) -> Reason:
    """What `reason_json` was given; of an older record what it has."""
    return Reason(
        str(tree["kind"]), str(tree.get("text", "")), str(tree.get("before", "")), str(tree.get("after", "")), tree.get("line"),
        str(tree.get("file", "")))


def _entry_json(entry: Entry) -> Tree:
    shape: Tree = {
        "action": entry.action.value, "instance": entry.name, "group": entry.group, "id": entry.id, "index": entry.index,
        "az": entry.az or None}
    if entry.state:
        shape["state"] = entry.state
    if entry.frozen:
        shape["flags"] = ["frozen"]
    if entry.migrated_from:
        shape["migrated_from"] = entry.migrated_from
    if entry.action is Action.KEEP and not entry.reasons:
        return shape
    return {
        **shape,
        "reasons": [reason_json(item) for item in entry.reasons],
        "addresses": [dataclasses.asdict(item) for item in entry.addresses],
        "released": [dataclasses.asdict(item) for item in entry.released],
        "disks": [dataclasses.asdict(item) for item in entry.disks],
        "processes": list(entry.processes), "effect": entry.effect,
        "flags": [name for name in _FLAGS if getattr(entry, name)],
    }


def _entry_of(tree: Mapping[str, Any]) -> Entry:
    def items(key: str, make: Callable[[Any], Any]) -> tuple[Any, ...]:
        return tuple(make(item) for item in tree.get(key, ()))

    return Entry(
        Action(tree["action"]), tree["group"], tree["id"], tree["index"], tree["az"] or "", tree.get("state", ""),
        items("reasons", reason_of), items("addresses", lambda item: Reservation(**item)),
        items("released", lambda item: Reservation(**item)), items("disks", lambda item: DiskFate(**item)),
        tuple(tree.get("processes", ())), tree.get("effect", ""), migrated_from=tree.get("migrated_from", ""),
        **{name: name in tree.get("flags", ()) for name in _FLAGS})


def _group_json(group: GroupPlan) -> Tree:
    return {
        "group": group.name, "serial": group.serial, "deletions": list(group.deletions), "delete_parallel": group.delete_parallel,
        "waves": [
            {"az": wave.az or None, "canary": wave.canary, "parallel": wave.parallel, "instances": list(wave.instances)}
            for wave in group.waves]}


def _group_of(tree: Mapping[str, Any]) -> GroupPlan:
    return GroupPlan(
        tree["group"], tree["serial"], tuple(tree["deletions"]), tree["delete_parallel"],
        tuple(Wave(tree["group"], item["az"] or "", item["canary"], item["parallel"], tuple(item["instances"])) for item in tree["waves"]))


def _compile_of(tree: Mapping[str, Any]) -> Compile:
    release, _, version = tree["release"].rpartition("/")
    return Compile(release, version, tree["package"], tree["fingerprint"], tree["stemcell"], tree["key"], tuple(tree["after"]))
