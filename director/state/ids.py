"""Small numbers for short DNS names, handed out at first use and never to anything else again."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from director.plan import model as plan_model
from director.state import database, tables

_table = tables.numeric_ids
KINDS = ("az", "network", "group", "instance")


class NumericIds(database.Repository):
    """Source: DNS contract, section 2 (Ids). Numbers begin at 1 per kind; rows are never deleted."""

    def assign(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The number of each (kind, key); those without one get the next, in the order given."""
        wanted = list(dict.fromkeys(wanted))
        with self._db.write() as connection:
            given: dict[tuple[str, str], int] = {}
            last: dict[str, int] = {}
            for kind in {kind for kind, _ in wanted}:
                given |= {(kind, key): number for key, number in self._of(connection, kind)}
                last[kind] = max((number for (owner, _), number in given.items() if owner == kind), default=0)
            for kind, key in wanted:
                if (kind, key) not in given:
                    last[kind] = given[kind, key] = last[kind] + 1
                    connection.execute(sa.insert(_table).values(kind=kind, key=key, number=last[kind]))
        return {pair: given[pair] for pair in wanted}

    def all(self) -> plan_model.NumericIds:
        """Everything given so far, as the planner takes it."""
        with self._db.read() as connection:
            azs, networks, groups, instances = (dict(self._of(connection, kind)) for kind in KINDS)
        return plan_model.NumericIds(azs=azs, networks=networks, groups=groups, instances=instances)

    @staticmethod
    def _of(connection: sa.Connection, kind: str) -> list[tuple[str, int]]:
        rows = connection.execute(sa.select(_table.c.key, _table.c.number).where(_table.c.kind == kind))
        return [(key, number) for key, number in rows]
