"""Tasks: the queue and the history. `director.tasks` runs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.tasks
RUNNING = ("processing", "cancelling")
UNFINISHED = ("queued", *RUNNING)
FINAL = ("done", "error", "cancelled", "timeout")


@dataclasses.dataclass(frozen=True)
class TaskRow:
    """`state` is queued, processing, cancelling, done, error, cancelled or timeout. `type` is the reference's task type
    (`update_deployment`), `arguments` what its handler is given. `worker` names who runs it, `checkpoint_at` when that one was last seen
    alive; `resumptions` counts how often it was taken up again after a director died. `result` is the short text."""

    id: int
    type: str
    state: str
    description: str
    user: str
    deployment: str
    context_id: str
    arguments: dict[str, Any] = dataclasses.field(repr=False)
    result: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    checkpoint_at: float | None
    worker: str
    resumptions: int


class Tasks(database.Repository):
    """Source: API contract, section 3; planning contract, section 24."""

    def add(
        self, type: str, description: str, *, arguments: dict[str, Any] | None = None, user: str = "", deployment: str = "",
        context_id: str = "",
    ) -> int:
        """Queue a task and answer its id."""
        return self._insert(_table, {
            "type": type, "state": "queued", "description": description, "user": user, "deployment": deployment, "context_id": context_id,
            "arguments": arguments or {}, "result": "", "created_at": self._db.clock(), "worker": "", "resumptions": 0,
        })

    def find(self, id: int) -> TaskRow | None:
        return self._one(TaskRow, sa.select(_table).where(_table.c.id == id))

    def get(self, id: int) -> TaskRow:
        """Raises NotFoundError (10000)."""
        found = self.find(id)
        if found is None:
            raise errors.NotFoundError(f"Task {id} not found", code=10000)
        return found

    def select(
        self, *, states: Iterable[str] = (), types: Iterable[str] = (), deployment: str = "", context_id: str = "",
        limit: int | None = None,
    ) -> list[TaskRow]:
        """Newest first. Empty filters let everything through."""
        query = sa.select(_table).order_by(_table.c.id.desc())
        for column, chosen in ((_table.c.state, [*states]), (_table.c.type, [*types])):
            if chosen:
                query = query.where(column.in_(chosen))
        if deployment:
            query = query.where(_table.c.deployment == deployment)
        if context_id:
            query = query.where(_table.c.context_id == context_id)
        return self._many(TaskRow, query if limit is None else query.limit(limit))

    def claim(self, worker: str, *, only: Iterable[str] = (), without: Iterable[str] = ()) -> TaskRow | None:
        """Give the oldest queued task to `worker`: it is processing from now on. None when there is none.

        `only` limits it to some types, `without` leaves some out.
        """
        waiting = _table.c.state == "queued"
        if chosen := list(only):
            waiting &= _table.c.type.in_(chosen)
        waiting &= _table.c.type.not_in(list(without))
        if not self._value(sa.select(sa.exists().where(waiting))):
            return None  # asked often by idle workers, who shall not keep writers waiting
        now = self._db.clock()
        with self._db.write() as connection:
            query = sa.select(_table.c.id, _table.c.started_at).where(waiting).order_by(_table.c.id)
            row = connection.execute(query.limit(1).with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            self._change(_table, _table.c.id == row.id, {
                "state": "processing", "worker": worker, "started_at": row.started_at or now, "checkpoint_at": now})
            return self.get(row.id)

    def checkpoint(self, ids: Iterable[int]) -> None:
        """These running tasks are alive."""
        self._change(_table, _table.c.id.in_(list(ids)) & _table.c.state.in_(RUNNING), {"checkpoint_at": self._db.clock()})

    def finish(self, id: int, state: str, result: str) -> bool:
        """End a running or queued task; false when it had ended before (a timeout, for example)."""
        return self._change(_table, (_table.c.id == id) & _table.c.state.in_(UNFINISHED), {
            "state": state, "result": result, "finished_at": self._db.clock()}) > 0

    def cancel(self, id: int) -> TaskRow:
        """Ask for the end of a task, which is cancelling from now on; answers it as it was: nobody runs one that was queued, so the caller
        ends it. Raises NotFoundError (10000), UsageError when it is neither queued nor processing."""
        with self._db.write():
            task = self.get(id)
            if task.state not in ("queued", "processing"):
                raise errors.UsageError(f"Cannot cancel task {id}: invalid state ({task.state})")
            self._change(_table, _table.c.id == id, {"state": "cancelling"})
            return task

    def requeue(self, id: int) -> None:
        """Queue a task again whose worker died; it counts as one resumption. One being cancelled is not to be queued again."""
        self._change(_table, (_table.c.id == id) & (_table.c.state == "processing"), {
            "state": "queued", "worker": "", "checkpoint_at": None, "resumptions": _table.c.resumptions + 1})

    def silent(self, seconds: float) -> list[TaskRow]:
        """Running tasks whose worker was not seen for that long."""
        limit = self._db.clock() - seconds
        query = sa.select(_table).where(_table.c.state.in_(RUNNING), _table.c.checkpoint_at <= limit)
        return self._many(TaskRow, query.order_by(_table.c.id))

    def delete_older(self, type: str, keep: int = 2000) -> list[int]:
        """Forget ended tasks of a type beyond the `keep` newest; answers their ids, so that the caller removes their outputs."""
        with self._db.write() as connection:
            ended = (_table.c.type == type) & _table.c.state.in_(FINAL)
            query = sa.select(_table.c.id).where(ended).order_by(_table.c.id.desc())
            ids = [id for (id,) in connection.execute(query)][keep:]
            for start in range(0, len(ids), database.CHUNK):
                connection.execute(sa.delete(_table).where(_table.c.id.in_(ids[start:start + database.CHUNK])))
            return ids
