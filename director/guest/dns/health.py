"""Who of the matching instances is named. Source: DNS contract, section 4.1.

`Health` is what the rest of the resolver wants of whoever knows how instances are; here is only the one that knows nothing.
"""

from __future__ import annotations

from typing import Callable, Dict, Protocol, Sequence, Tuple

from .grammar import Selection
from .records import Record
from .wire import Labels

RUNNING, FAILING, UNKNOWN, UNCHECKED = "running", "failing", "unknown", "unchecked"
STATES = (RUNNING, FAILING, UNKNOWN, UNCHECKED)
UNHEALTHY_ONLY, HEALTHY_ONLY, EVERYBODY = 1, 3, 4
FILTERS: Dict[int, str] = {UNHEALTHY_ONLY: "unhealthy", HEALTHY_ONLY: "healthy", EVERYBODY: "all"}


class Health(Protocol):
    """What is known of instances. All methods return at once; they are called from the loop's thread only.

    `enabled` False means that every instance counts as running, and nobody is followed.
    """

    enabled: bool

    def state(self, record: Record, group_id: str) -> str:
        """One of STATES. With a group id, the state of that group on the machine counts, if the machine told one."""

    def interested(self, records: Sequence[Record], name: Labels = ()) -> None:
        """These are what `name` stands for, and it is being asked for. Called when an answer is made, and again at least every
        `service.REFRESH` seconds while it is still given; an instance for which that ends may be forgotten."""

    def renewed(self, select: Callable[[Labels], Sequence[Record]]) -> None:
        """The records are others: `select` tells what a name stands for now."""

    def check(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        """Asks after those that are UNCHECKED now. `done` is called once, as soon as none of them is; it may never be called, since who
        waits has a deadline of its own."""

    def subscribe(self, changed: Callable[[], None]) -> None:
        """`changed` is called after every turn in which the state of an instance changed."""


class Off:
    """Without health checks every instance counts as running."""

    enabled = False

    def state(self, record: Record, group_id: str) -> str:
        return RUNNING

    def interested(self, records: Sequence[Record], name: Labels = ()) -> None:
        return None

    def renewed(self, select: Callable[[Labels], Sequence[Record]]) -> None:
        return None

    def check(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        done()

    def subscribe(self, changed: Callable[[], None]) -> None:
        return None


def admitted(selection: Selection, health: Health) -> Tuple[Record, ...]:
    """The records that the selection's filter lets through; every number without a meaning is the smart filter."""
    if selection.status == EVERYBODY:
        return selection.records
    if selection.status == UNHEALTHY_ONLY:
        return _with_state(selection, health, (FAILING,))
    if selection.status == HEALTHY_ONLY:
        return _with_state(selection, health, (RUNNING,))
    # With nobody healthy, everybody: a name that stops resolving would turn a brown-out into an outage.
    return _with_state(selection, health, (RUNNING, UNCHECKED)) or selection.records


def matters(selection: Selection) -> bool:
    """Whether the answer depends on health. A smart question for one instance always names it: nobody asks after it for that."""
    if selection.status == EVERYBODY:
        return False
    return len(selection.records) > 1 or (bool(selection.records) and selection.status in (UNHEALTHY_ONLY, HEALTHY_ONLY))


def _with_state(selection: Selection, health: Health, wanted: Sequence[str]) -> Tuple[Record, ...]:
    if not health.enabled:
        return selection.records if RUNNING in wanted else ()
    return tuple([record for record in selection.records if health.state(record, selection.group_id) in wanted])
