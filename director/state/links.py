"""Link providers of the last deploys, kept for other deployments when shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from director.plan import model as plan_model
from director.state import database, tables

_table, _consumed = tables.link_providers, tables.consumed_links


@dataclasses.dataclass(frozen=True)
class LinkProviderRow:
    """`name` is the alias (`as`), `original_name` that of the job's spec. `content` as in `plan.model.Provider`."""

    deployment: str
    group: str
    job: str
    name: str
    original_name: str
    type: str
    shared: bool
    content: dict[str, Any]
    id: int = 0


class Links(database.Repository):
    """Source: release contract, 19.1 and 19.3."""

    def replace(self, deployment: str, providers: Iterable[plan_model.Provider]) -> None:
        """Make these the deployment's providers; what is not among them is gone."""
        with self._db.write():
            self._delete(_table, _table.c.deployment == deployment)
            for item in providers:
                row = database.values_of(item, without=("aliases",))
                self._insert(_table, {"deployment": deployment, **row})

    def of(self, deployment: str) -> list[LinkProviderRow]:
        """In the order of the manifest."""
        return self._many(LinkProviderRow, sa.select(_table).where(_table.c.deployment == deployment).order_by(_table.c.id))

    def shared(self, excluding: str = "") -> tuple[plan_model.SharedProvider, ...]:
        """What other deployments than `excluding` share."""
        query = sa.select(_table).where(_table.c.shared, _table.c.deployment != excluding).order_by(_table.c.id)
        return tuple(self._many(plan_model.SharedProvider, query))

    def consume(self, deployment: str, providers: Iterable[plan_model.SharedProvider]) -> None:
        """Remember what the deployment has of others' links now, instead of what it had before."""
        with self._db.write():
            self._delete(_consumed, _consumed.c.consumer == deployment)
            for position, item in enumerate(providers):
                self._insert(_consumed, {"consumer": deployment, "position": position, **database.values_of(item)})

    def consumed(self, deployment: str) -> tuple[plan_model.SharedProvider, ...]:
        """What the deployment had of others' links when it was deployed."""
        query = sa.select(_consumed).where(_consumed.c.consumer == deployment).order_by(_consumed.c.position)
        return tuple(self._many(plan_model.SharedProvider, query))
