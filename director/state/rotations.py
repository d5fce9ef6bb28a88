"""Rotations of certificates that were begun and are not over. `director.variables` seals and opens what they hold."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from director.state import database, tables

_table = tables.rotations


@dataclasses.dataclass(frozen=True)
class RotationRow:
    """`name` is the absolute name of the certificate that is rotated; `stage` is 1 to 3 (see `director.variables.rotation`); `sealed`
    holds the old and new certificates and keys; `versions` tells of each variable version that the rotation made its stage. `facts` has
    `fingerprint` (SHA-256) and `expires_at` of the certificate as it was (`old`) and becomes (`new`)."""

    name: str
    stage: int
    sealed: bytes = dataclasses.field(repr=False)
    versions: dict[str, int]
    user: str
    started_at: float
    changed_at: float
    facts: dict[str, dict[str, Any]]


class Rotations(database.Repository):
    """One at most for each name."""

    def find(self, name: str) -> RotationRow | None:
        return self._one(RotationRow, sa.select(_table).where(_table.c.name == name))

    def all(self) -> list[RotationRow]:
        """Sorted by name."""
        return self._many(RotationRow, sa.select(_table).order_by(_table.c.name))

    def save(self, row: RotationRow) -> None:
        """Begin it, or bring it to another stage."""
        with self._db.write():
            self.delete(row.name)
            self._insert(_table, database.values_of(row))

    def delete(self, name: str) -> None:
        """It is over."""
        self._delete(_table, _table.c.name == name)
