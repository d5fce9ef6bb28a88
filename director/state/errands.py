"""With which configuration errands last succeeded, for `run-errand --when-changed`."""

from __future__ import annotations

import sqlalchemy as sa

from director.state import database, tables

_table = tables.errand_runs


class Errands(database.Repository):
    """Source: planning contract, section 17."""

    def succeeded(self, deployment: str, errand: str, instance_id: str, configuration: str) -> None:
        """Remember a digest of what the errand ran with."""
        same = (_table.c.deployment == deployment) & (_table.c.errand == errand) & (_table.c.instance_id == instance_id)
        with self._db.write():
            self._delete(_table, same)
            self._insert(_table, {
                "deployment": deployment, "errand": errand, "instance_id": instance_id, "configuration": configuration,
                "succeeded_at": self._db.clock()})

    def last(self, deployment: str, errand: str) -> dict[str, str]:
        """Instance id -> the digest remembered for it."""
        query = sa.select(_table.c.instance_id, _table.c.configuration).where(_table.c.deployment == deployment, _table.c.errand == errand)
        with self._db.read() as connection:
            return {row.instance_id: row.configuration for row in connection.execute(query)}
