"""A plan for people: what is done to which instance and why, in which order, for how long. Nothing secret is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from director.plan.model import Action, Plan, Reason, Reservation, Wave
from director.plan.outline import WORDS, DiskFate, Entry, ErrandGroup, Expected, Outline, counts, outline, per_az

_LEGEND = {
    Action.CREATE: "create", Action.UPDATE: "update in place", Action.RECREATE: "recreate: new machine, same disk",
    Action.METADATA: "tags or names only", Action.STOP: "stop", Action.DELETE: "delete, disks become orphans"}
_STOPPING = ("restart", "stop")
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")


def explain(plan: Plan | Outline) -> str:
    """The signs, a line per instance that changes with its reasons below it, then what is compiled, the order and totals. Ends with a
    newline."""
    told = plan if isinstance(plan, Outline) else outline(plan)
    parts = [
        [f"Deployment '{told.deployment}'"],
        list(_legend(told)),
        [line for entry in told.changed for line in _entry_lines(entry)],
        list(_waiting(told)),
        list(_compilations(told)),
        list(_errands(told.errands)) if told.changed else [],
        list(_order(told)),
        list(_totals(told)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def reason_text(reason: Reason) -> str:
    """`kind: text (before -> after), FILE:LINE`. Where both are the same, they name what changed and not its value."""
    values = f" ({reason.before or 'nothing'} -> {reason.after or 'nothing'})" if reason.before or reason.after else ""
    if reason.before and reason.before == reason.after:
        values = f" ({reason.before})"
    place = f"{reason.file}:{reason.line}" if reason.file else f"manifest line {reason.line}"
    return _DIGEST.sub(r"\1", f"{reason.kind}: {reason.text}{values}") + (f", {place}" if reason.line is not None else "")


def duration_text(seconds: float) -> str:
    """`less than a second`, `40 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 1:
        return "less than a second"
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _legend(told: Outline) -> Iterator[str]:
    present = {entry.action for entry in told.changed}
    if present:
        yield "  " + "    ".join(f"{action.glyph} {words}" for action, words in _LEGEND.items() if action in present)


def _waiting(told: Outline) -> Iterator[str]:
    waiting = [entry for entry in told.entries if entry.action is Action.KEEP and entry.reasons]
    if waiting:
        yield "Waits until they are started:"
        for entry in waiting:
            yield from _entry_lines(entry)


def _entry_lines(entry: Entry) -> Iterator[str]:
    az = f" in {entry.az}" if entry.az else ""
    disk = "with a persistent disk" if entry.action is Action.CREATE else "with disk change"
    extra = [word for word, holds in (("by hot swap", entry.hot_swap), (disk, entry.disk_change)) if holds]
    state = entry.state if entry.state != "started" else ""
    notes = "".join(f", {word}" for word in (*extra, *([f"stays {state}"] if state and entry.action is not Action.STOP else ())))
    yield f"  {entry.action.glyph} {entry.label}{az}: {WORDS[entry.action]}{notes}"
    if entry.migrated_from:
        yield f"      was in instance group '{entry.migrated_from}'"
    for reason in entry.reasons:
        yield f"      {reason_text(reason)}"
    if entry.effect and entry.processes:
        yield f"      processes {entry.effect}: {', '.join(entry.processes)}"
    for fate in entry.disks:
        if text := _disk_text(fate, entry):
            yield f"      {text}"
    if entry.action in (Action.CREATE, Action.RECREATE) and entry.addresses:
        yield f"      addresses: {_addresses(entry.addresses)}"
    kept = {item.ip for item in entry.addresses}
    gone = [item for item in entry.released if item.ip and item.ip not in kept]
    if gone:
        yield f"      addresses released: {_addresses(gone)}"


def _disk_text(fate: DiskFate, entry: Entry) -> str:
    called = f"disk '{fate.name}'" if fate.name else "disk"
    size = f"{fate.size_mib} MiB"
    return {
        "create": f"a new {called} of {size}",
        "copy": f"{called} {fate.cid} is copied to a new one of {size}, and becomes an orphan",
        "orphan": f"{called} {fate.cid} of {size} becomes an orphan",
        "keep": f"{called} {fate.cid} of {size} is kept" if entry.action is Action.RECREATE or entry.state == "detached" else "",
    }[fate.fate]


def _addresses(items: Iterable[Reservation]) -> str:
    return ", ".join(f"{item.network} {item.ip or 'from the cloud'}" for item in items)


def _compilations(told: Outline) -> Iterator[str]:
    if told.compilations:
        yield f"Compile {_count(len(told.compilations), 'package')}:"
        yield from (f"  + {item.release}/{item.package} for {item.stemcell}" for item in told.compilations)


def _errands(errands: Iterable[ErrandGroup]) -> Iterator[str]:
    for place, errand in enumerate(errands):
        if place == 0:
            yield "Errand groups:"
        if errand.awake:
            yield f"  {errand.group}: has a machine that was kept alive, so all of it is updated; the errand itself does not run"
        else:
            machines = _count(errand.instances, "machine")
            yield f"  {errand.group}: nothing now; {machines} only while the errand runs: caisson run-errand {errand.group}"


def _order(told: Outline) -> Iterator[str]:
    lines = list(_steps(told))
    if lines:
        yield "Order:"
        yield from lines


def _steps(told: Outline) -> Iterator[str]:
    if told.compilations:
        yield f"  compile {_count(len(told.compilations), 'package')}, {min(told.workers, len(told.compilations))} at a time"
    if told.removed_groups:
        yield f"  delete instance groups {', '.join(told.removed_groups)}"
    created = sum(entry.action is Action.CREATE for entry in told.entries)
    if created:
        yield f"  create {_count(created, 'machine')}" + (", all in parallel" if created > 1 else "")
    for run in told.runs:
        for group in run:
            beside = " (beside its neighbours)" if len(run) > 1 else ""
            if group.deletions:
                yield f"  {group.name}{beside}: delete {len(group.deletions)}, {group.delete_parallel} at a time"
            yield from (f"  {group.name}{beside}: {_wave_text(wave)}" for wave in group.waves)


def _wave_text(wave: Wave) -> str:
    count = len(wave.instances)
    kind = ("canary" if count == 1 else "canaries") if wave.canary else "instance" if count == 1 else "instances"
    return f"{count} {kind}" + (f" in {wave.az}" if wave.az else "") + (f", {wave.parallel} at a time" if count > 1 else "")


def _totals(told: Outline) -> Iterator[str]:
    if told.is_empty:
        yield "Nothing to do."
    else:
        numbers = ", ".join(f"{number} to {word}" for word, number in counts(told.entries).items() if word != "unchanged")
        yield f"Total: {numbers}, {sum(entry.action is Action.KEEP for entry in told.entries)} unchanged"
        for az, found in per_az(told.entries).items():
            yield f"  {az or 'no AZ'}: " + ", ".join(f"{number} {word}" for word, number in found.items())
        stopping = [entry for entry in told.changed if entry.effect in _STOPPING]
        if stopping:
            names = sorted({name for entry in stopping for name in entry.processes})
            yield f"Processes stop on {_count(len(stopping), 'running machine')}" + (f": {', '.join(names)}." if names else ".")
        yield from _expected_lines(told.expected)
    yield from (f"Warning: {warning}" for warning in told.warnings)


def _expected_lines(expected: Expected | None) -> Iterator[str]:
    if expected is None:
        return
    if not expected.learned:
        yield "Expected duration: there is no past task to learn from."
        return
    yield f"Expected duration: about {duration_text(expected.seconds)}, learned from past tasks."
    if expected.unknown:
        yield f"  Not counted, since no past task did it: {', '.join(expected.unknown)}."
