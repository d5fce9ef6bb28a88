"""What rehearsals came to, compared: for a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from director.cli.rehearsing import Came
from director.cli.tables import Cell, Table
from director.cli.ui import Ui


def show(ui: Ui, came: Sequence[Came]) -> None:
    """How often each fact came out on each cloud, how long it took, and how each ended."""
    tried = [item for item in came if not item.absent and not item.failed]
    rows = []
    for fact in dict.fromkeys(fact for item in tried for fact in item.facts()):
        counts = [item.facts().count(fact) for item in tried]
        rows.append((*fact, *(Cell(str(count), "" if count == max(counts) else "bad") for count in counts)))
    if tried:
        ui.table(Table("rehearsal", ("What", "Where", "Came out", *(item.label for item in tried)), tuple(rows), fill_first=False))
    timed = [item for item in came if not item.absent]
    if timed:
        stages = dict.fromkeys(name for item in timed for name in item.stages)
        lines = [(name, *(_seconds(item.stages[name]) if name in item.stages else "" for item in timed)) for name in stages]
        lines.append(("in all", *(_seconds(item.seconds) for item in timed)))
        ui.table(Table("durations", ("Stage", *(item.label for item in timed)), tuple(lines), fill_first=False))
    for item in came:
        _ended(ui, item)
    if len(tried) > 1:
        where = ", ".join(item.label for item in tried)
        same = _same(tried)
        ui.block(f"{'The same' if same else 'Not the same'} came out on {where}\n", "good" if same else "bad", kind="ended")


def _seconds(value: float) -> str:
    return f"{value:.0f} s"


def _ended(ui: Ui, item: Came) -> None:
    if item.absent:
        ui.error(f"{item.label}: not tried: {item.absent}", "warn")
    elif item.failed:
        ui.error(f"{item.label}: failed while {item.failed}\n  {item.suggestion}")
    elif item.left:
        ui.error(f"{item.label}: left behind: {', '.join(item.left)}")
    else:
        made = ", ".join(f"{count} {kind}" for kind, count in item.made.items())
        between = f"; in between the cloud had {made}" if made else ""
        ui.block(f"{item.label}: deployed, looked at and deleted, nothing left{between}\n", "good", kind="ended")
    for sentence in item.told:
        ui.block(f"  {sentence}\n", kind="ended")


def _same(tried: Sequence[Came]) -> bool:
    return len({tuple(sorted(item.facts())) for item in tried}) <= 1


def all_well(came: Sequence[Came], *, strict: bool) -> bool:
    """Whether nothing failed, nothing stayed, no errand failed and the same came out everywhere; strictly: of all clouds."""
    tried = [item for item in came if not item.absent]
    failed = any(item.failed or item.left or "failed" in item.errands.values() for item in tried)
    return not failed and _same(tried) and not (strict and len(tried) < len(came))


def to_json(came: Sequence[Came]) -> list[dict[str, Any]]:
    """Of each cloud all that is known, with `seconds` in all."""
    return [{**dataclasses.asdict(item), "seconds": item.seconds} for item in came]
