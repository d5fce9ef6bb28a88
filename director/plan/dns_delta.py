"""What differs between two versions of the records document. Source: DNS contract, section 2; the decision on records in deltas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from director.plan.model import Tree

LISTS = ("records", "record_infos")
Steps = list[list[Any]]


def delta(old: Tree, new: Tree) -> Tree | None:
    """For each list steps of [keep so many, leave out so many, put in these rows]; what is left over at the end is kept. `aliases` is
    there when they differ. None where rows changed their order, or the columns did: then the whole document is to be sent.

    Linear in the documents' size: both lists are sorted by the same key, so rows that stay keep their order.
    """
    if old.get("record_keys") != new.get("record_keys"):
        return None
    found: Tree = {}
    for name in LISTS:
        steps = _steps(old[name], new[name])
        if steps is None:
            return None
        if steps:
            found[name] = steps
    if old.get("aliases") != new.get("aliases"):
        found["aliases"] = new.get("aliases")
    return found


def _steps(old: Sequence[Any], new: Sequence[Any]) -> Steps | None:
    before, after = [json.dumps(row) for row in old], [json.dumps(row) for row in new]
    stay, come = set(after), set(before)
    steps: Steps = []
    i = j = keep = 0
    while i < len(before) or j < len(after):
        if i < len(before) and before[i] not in stay:
            keep = _step(steps, keep, 1, [])
            i += 1
        elif j < len(after) and after[j] not in come:
            keep = _step(steps, keep, 0, [new[j]])
            j += 1
        elif i < len(before) and j < len(after) and before[i] == after[j]:
            keep, i, j = keep + 1, i + 1, j + 1
        else:
            return None
    return steps


def _step(steps: Steps, keep: int, drop: int, rows: list[Any]) -> int:
    """Goes on with the last step where nothing was kept since."""
    if keep or not steps:
        steps.append([keep, drop, rows])
    else:
        steps[-1][1] += drop
        steps[-1][2] += rows
    return 0


def agents(document: Tree) -> set[str]:
    """Ids of the agents that it names, in lower case."""
    place = list(document["record_keys"]).index("agent_id")
    return {str(row[place]).lower() for row in document["record_infos"] if row[place]}
