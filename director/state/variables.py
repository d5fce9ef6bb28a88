"""Generated secrets as sealed bytes, in versions, and which version each deployment uses. `director.variables` seals and opens them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from director.state import database, tables

_table, _sets, _pins = tables.variables, tables.variable_sets, tables.variable_pins


@dataclasses.dataclass(frozen=True)
class VariableRow:
    """One version of a variable. `name` is absolute; `number` grows with each version of any variable; `definition_digest` is that of the
    type and options it was made with; `signed_by` is the id of the CA's version for a certificate signed by one, else '';
    `expires_at` is for certificates; `options` are those it was made with, sealed, None when nobody kept them."""

    id: str
    name: str
    type: str
    sealed: bytes = dataclasses.field(repr=False)
    definition_digest: str = ""
    signed_by: str = ""
    expires_at: float | None = None
    created_at: float = 0.0
    options: bytes | None = dataclasses.field(default=None, repr=False)
    number: int = 0


@dataclasses.dataclass(frozen=True)
class PinRow:
    """A version in a set of a deployment."""

    deployment: str
    set_id: int
    name: str
    variable_id: str


@dataclasses.dataclass(frozen=True)
class VariableSetRow:
    """The variables of one deploy. `deployed` once that deploy succeeded."""

    id: int
    deployment: str
    deployed: bool
    created_at: float


class Variables(database.Repository):
    """Source: manifest contract, sections 10 and 11 (pinned versions)."""

    def add(self, row: VariableRow) -> VariableRow:
        """Store a new version; `created_at` 0 becomes now."""
        row = dataclasses.replace(row, created_at=row.created_at or self._db.clock())
        return dataclasses.replace(row, number=self._insert(_table, database.values_of(row, without=("number",))))

    def find(self, id: str) -> VariableRow | None:
        return self._one(VariableRow, sa.select(_table).where(_table.c.id == id))

    def latest(self, name: str) -> VariableRow | None:
        return self._one(VariableRow, sa.select(_table).where(_table.c.name == name).order_by(_table.c.number.desc()))

    def latest_of(self, names: Iterable[str]) -> dict[str, VariableRow]:
        """The newest version of each name that has one."""
        newest = sa.select(sa.func.max(_table.c.number)).group_by(_table.c.name)
        rows = self._many_in(VariableRow, sa.select(_table).where(_table.c.number.in_(newest)), _table.c.name, list(names))
        return {row.name: row for row in rows}

    def with_ids(self, ids: Iterable[str]) -> dict[str, VariableRow]:
        """Versions by id."""
        return {row.id: row for row in self._many_in(VariableRow, sa.select(_table), _table.c.id, list(ids))}

    def versions(self, name: str) -> list[VariableRow]:
        """Newest first."""
        return self._many(VariableRow, sa.select(_table).where(_table.c.name == name).order_by(_table.c.number.desc()))

    def all_latest(self) -> list[VariableRow]:
        """The newest version of every variable, sorted by name."""
        newest = sa.select(sa.func.max(_table.c.number)).group_by(_table.c.name)
        return self._many(VariableRow, sa.select(_table).where(_table.c.number.in_(newest)).order_by(_table.c.name))

    def begin_set(self, deployment: str) -> VariableSetRow:
        """A new, empty set for a deploy."""
        now = self._db.clock()
        number = self._insert(_sets, {"deployment": deployment, "deployed": False, "created_at": now})
        return VariableSetRow(number, deployment, False, now)

    def sets(self, deployment: str) -> list[VariableSetRow]:
        """Newest first."""
        return self._many(VariableSetRow, sa.select(_sets).where(_sets.c.deployment == deployment).order_by(_sets.c.id.desc()))

    def sets_with_ids(self, ids: Iterable[int]) -> list[VariableSetRow]:
        """Those that exist."""
        return self._many_in(VariableSetRow, sa.select(_sets), _sets.c.id, list(ids))

    def last_deployed_set(self, deployment: str) -> VariableSetRow | None:
        """The newest set whose deploy succeeded."""
        query = sa.select(_sets).where(_sets.c.deployment == deployment, _sets.c.deployed).order_by(_sets.c.id.desc())
        return self._one(VariableSetRow, query)

    def mark_deployed(self, set_id: int) -> None:
        """The set's deploy succeeded."""
        self._change(_sets, _sets.c.id == set_id, {"deployed": True})

    def pin(self, set_id: int, pins: Mapping[str, str]) -> None:
        """Fix absolute names to version ids in a set; a name that is pinned there already keeps its version."""
        with self._db.write():
            held = self.pins(set_id)
            for name, variable_id in pins.items():
                if name not in held:
                    self._insert(_pins, {"set_id": set_id, "name": name, "variable_id": variable_id})

    def repin(self, set_id: int, pins: Mapping[str, str]) -> None:
        """As `pin`, but a pinned name moves to the given version: for what is made anew within the deploy."""
        with self._db.write():
            for name, variable_id in pins.items():
                self._delete(_pins, (_pins.c.set_id == set_id) & (_pins.c.name == name))
                self._insert(_pins, {"set_id": set_id, "name": name, "variable_id": variable_id})

    def pins(self, set_id: int) -> dict[str, str]:
        """Name -> version id, sorted by name."""
        with self._db.read() as connection:
            rows = connection.execute(sa.select(_pins.c.name, _pins.c.variable_id).where(_pins.c.set_id == set_id).order_by(_pins.c.name))
            return {row.name: row.variable_id for row in rows}

    def deployments_with(self, name: str) -> list[tuple[str, str]]:
        """(deployment, version id) pairs whose newest deployed set pins the name."""
        newest = sa.select(sa.func.max(_sets.c.id)).where(_sets.c.deployed).group_by(_sets.c.deployment)
        query = (
            sa.select(_sets.c.deployment, _pins.c.variable_id).join(_pins, _pins.c.set_id == _sets.c.id)
            .where(_sets.c.id.in_(newest), _pins.c.name == name).order_by(_sets.c.deployment))
        with self._db.read() as connection:
            return [(deployment, variable_id) for deployment, variable_id in connection.execute(query)]

    def pinned(self, names: Iterable[str]) -> list[PinRow]:
        """Where these names are pinned: in all sets of all deployments, oldest set first."""
        query = sa.select(_sets.c.deployment, _pins.c.set_id, _pins.c.name, _pins.c.variable_id).join(_sets, _pins.c.set_id == _sets.c.id)
        return sorted(self._many_in(PinRow, query, _pins.c.name, list(names)), key=lambda row: (row.set_id, row.name))

    def all_pinned(self) -> list[PinRow]:
        """All pins of all sets, oldest set first."""
        query = sa.select(_sets.c.deployment, _pins.c.set_id, _pins.c.name, _pins.c.variable_id).join(_sets, _pins.c.set_id == _sets.c.id)
        return self._many(PinRow, query.order_by(_pins.c.set_id, _pins.c.name))

    def all(self) -> list[VariableRow]:
        """Every version of every variable, by name, oldest first."""
        return self._many(VariableRow, sa.select(_table).order_by(_table.c.name, _table.c.number))

    def forget_unused(self) -> int:
        """Delete versions that nothing needs: older than the newest of their name, pinned in no set, and not the signer of one that stays.

        Called after sets were deleted. Answers how many were deleted.
        """
        with self._db.write() as connection:
            rows = connection.execute(sa.select(_table.c.id, _table.c.name, _table.c.signed_by).order_by(_table.c.number)).all()
            newest = {row.name: row.id for row in rows}
            if len(newest) == len(rows):
                return 0
            signers = {row.id: row.signed_by for row in rows}
            kept: set[str] = set()
            waiting = [*newest.values(), *connection.execute(sa.select(_pins.c.variable_id).distinct()).scalars()]
            while waiting:
                current = waiting.pop()
                if current in signers and current not in kept:
                    kept.add(current)
                    waiting.append(signers[current])
            doomed = [row.id for row in rows if row.id not in kept]
            for start in range(0, len(doomed), database.CHUNK):
                self._delete(_table, _table.c.id.in_(doomed[start:start + database.CHUNK]))
            return len(doomed)

    def forget_sets(self, deployment: str, keep: Iterable[int]) -> int:
        """Delete the deployment's sets other than `keep`: called after a successful deploy with the sets that instances still use."""
        return self._delete(_sets, (_sets.c.deployment == deployment) & _sets.c.id.not_in(list(keep)))
