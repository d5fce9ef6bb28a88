"""Indexes and bootstrap. Source: planning contract, section 5."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from director.plan.place import Slot


def assign_indexes(slots: Iterable[Slot], used: Collection[int]) -> list[int]:
    """An index per slot. `used` are those of all recorded instances of that group name, the ones about to be deleted included."""
    free = _free(frozenset(used))
    return [next(free) if slot.existing is None or slot.existing.migrated_from else slot.existing.observed.index for slot in slots]


def bootstrap_of(slots: Sequence[Slot], indexes: Sequence[int]) -> int | None:
    """The position of the bootstrap instance; None when there are no instances."""
    if not slots:
        return None
    flagged = [position for position, slot in enumerate(slots) if slot.existing is not None and slot.existing.observed.bootstrap]
    return flagged[0] if len(flagged) == 1 else min(range(len(slots)), key=indexes.__getitem__)


def _free(used: frozenset[int]) -> Iterator[int]:
    candidate = 0
    while True:
        if candidate not in used:
            yield candidate
        candidate += 1
