"""Events: who did what to what, when, and how it ended."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.events
PAGE = 200
KEPT = 10_000


@dataclasses.dataclass(frozen=True)
class EventRow:
    """The end of an operation is an event of its own whose `parent_id` is that of its beginning. `task` is the task's id as text."""

    id: int
    parent_id: int | None
    timestamp: float
    user: str
    action: str
    object_type: str
    object_name: str
    error: str
    task: str
    deployment: str
    instance: str
    context: dict[str, Any]


class Events(database.Repository):
    """Source: planning contract, section 25; API contract, 6.11."""

    def add(
        self, action: str, object_type: str, object_name: str = "", *, user: str = "", task: str | int = "", deployment: str = "",
        instance: str = "", parent_id: int | None = None, error: str = "", context: dict[str, Any] | None = None,
        timestamp: float | None = None,
    ) -> int:
        """Record an event; answers its id, for the `parent_id` of the event that ends it. `instance` is `GROUP/UUID`."""
        return self._insert(_table, {
            "parent_id": parent_id, "timestamp": self._db.clock() if timestamp is None else timestamp, "user": user, "action": action,
            "object_type": object_type, "object_name": object_name, "error": error, "task": str(task), "deployment": deployment,
            "instance": instance, "context": context or {},
        })

    def get(self, id: int) -> EventRow:
        """Raises NotFoundError."""
        found = self._one(EventRow, sa.select(_table).where(_table.c.id == id))
        if found is None:
            raise errors.NotFoundError("Event not found")
        return found

    def select(
        self, *, before_id: int | None = None, before_time: float | None = None, after_time: float | None = None, task: str = "",
        deployment: str = "", instance: str = "", user: str = "", action: str = "", object_type: str = "", object_name: str = "",
        limit: int = PAGE,
    ) -> list[EventRow]:
        """Newest first; empty filters let everything through. Times are exclusive, of `after_time` the whole second."""
        query = sa.select(_table).order_by(_table.c.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(_table.c.id < before_id)
        if before_time is not None:
            query = query.where(_table.c.timestamp < before_time)
        if after_time is not None:
            query = query.where(_table.c.timestamp >= after_time + 1)
        filters = {
            "task": task, "deployment": deployment, "instance": instance, "user": user, "action": action, "object_type": object_type,
            "object_name": object_name}
        for name, value in filters.items():
            if value:
                query = query.where(_table.c[name] == value)
        return self._many(EventRow, query)

    def trim(self, keep: int = KEPT) -> int:
        """Delete all but the `keep` newest."""
        newest = self._value(sa.select(sa.func.max(_table.c.id))) or 0
        return self._delete(_table, _table.c.id <= newest - keep)
