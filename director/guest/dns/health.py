"""Who of the matching instances is named. Source: DNS contract, section 4.1."""

from __future__ import annotations

from typing import Callable, Sequence, Tuple

from .records import Record, Selection

RUNNING, FAILING, UNKNOWN, UNCHECKED = "running", "failing", "unknown", "unchecked"
UNHEALTHY_ONLY, HEALTHY_ONLY, EVERYBODY = 1, 3, 4

States = Callable[[Record, str], str]
"""(record, group id or "") -> state. The group's own state counts when a question names a group."""


def off(record: Record, group_id: str) -> str:
    """Without health checks every instance counts as running."""
    return RUNNING


def admitted(selection: Selection, states: States) -> Tuple[Record, ...]:
    """The records that the selection's filter lets through; every number without a meaning is the smart filter."""
    if selection.status == EVERYBODY:
        return selection.records
    if selection.status == UNHEALTHY_ONLY:
        return _with_state(selection, states, (FAILING,))
    if selection.status == HEALTHY_ONLY:
        return _with_state(selection, states, (RUNNING,))
    # With nobody healthy, everybody: a name that stops resolving would turn a brown-out into an outage.
    return _with_state(selection, states, (RUNNING, UNCHECKED)) or selection.records


def _with_state(selection: Selection, states: States, wanted: Sequence[str]) -> Tuple[Record, ...]:
    return tuple(record for record in selection.records if states(record, selection.group_id) in wanted)
