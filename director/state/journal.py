"""The journal: a row before each effect outside the database, so that a new director knows what may exist.

    row = store.journal.begin(...)             on disk before the call is made
    vm = cpi.create_vm(token=row.token, ...)
    with store.transaction():
        store.vms.add(...)
        store.journal.done(row.id, {"cid": vm.cid})
"""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.journal
INTENT, DONE, FAILED, UNDONE = "intent", "done", "failed", "undone"


@dataclasses.dataclass(frozen=True)
class JournalRow:
    """`effect` names what was to be done (`create_vm`), `token` finds it in the cloud. `state`: intent (its outcome is unknown), done,
    failed (certainly nothing is left), undone (it was taken back)."""

    id: int
    task_id: int | None
    deployment: str
    effect: str
    token: str
    arguments: dict[str, Any] = dataclasses.field(repr=False)
    state: str
    result: dict[str, Any]
    error: str
    created_at: float
    ended_at: float | None


class Journal(database.Repository):
    """Source: CPI contract, 4.1 (never leak)."""

    def begin(
        self, effect: str, token: str, *, task_id: int | None = None, deployment: str = "", arguments: dict[str, Any] | None = None,
    ) -> JournalRow:
        """Write down what will be done; it survives the loss of power. An open row of that token is answered as it is: the effect is taken
        up again, with the arguments written down first. Raises ConflictError when the token's effect has ended."""
        now = self._db.clock()
        with self._db.write(durable=True):
            found = self.find(token)
            if found is not None and found.state == INTENT:
                return found
            number = self._insert(_table, {
                "task_id": task_id, "deployment": deployment, "effect": effect, "token": token, "arguments": arguments or {},
                "state": INTENT, "result": {}, "error": "", "created_at": now, "ended_at": None})
        return JournalRow(number, task_id, deployment, effect, token, arguments or {}, INTENT, {}, "", now, None)

    def done(self, id: int, result: dict[str, Any] | None = None) -> None:
        """It worked. In one transaction with the record of what was made."""
        self._end(id, DONE, result=result or {})

    def failed(self, id: int, error: str) -> None:
        """It failed, and nothing of it is left."""
        self._end(id, FAILED, error=error)

    def undone(self, id: int, error: str = "") -> None:
        """What it made was taken back, or looked for and not found."""
        self._end(id, UNDONE, error=error)

    def get(self, id: int) -> JournalRow:
        """Raises NotFoundError."""
        found = self._one(JournalRow, sa.select(_table).where(_table.c.id == id))
        if found is None:
            raise errors.NotFoundError(f"Journal row {id} doesn't exist")
        return found

    def find(self, token: str) -> JournalRow | None:
        return self._one(JournalRow, sa.select(_table).where(_table.c.token == token))

    def open(self, *, task_id: int | None = None, deployment: str | None = None) -> list[JournalRow]:
        """Intents without outcome, oldest first."""
        return self._rows(_table.c.state == INTENT, task_id, deployment)

    def all(self, *, task_id: int | None = None, deployment: str | None = None) -> list[JournalRow]:
        """Oldest first."""
        return self._rows(sa.true(), task_id, deployment)

    def forget(self, *, older_than_seconds: float) -> int:
        """Delete ended rows of that age."""
        return self._delete(_table, (_table.c.state != INTENT) & (_table.c.ended_at < self._db.clock() - older_than_seconds))

    def _rows(self, where: sa.ColumnElement[bool], task_id: int | None, deployment: str | None) -> list[JournalRow]:
        query = sa.select(_table).where(where).order_by(_table.c.id)
        if task_id is not None:
            query = query.where(_table.c.task_id == task_id)
        if deployment is not None:
            query = query.where(_table.c.deployment == deployment)
        return self._many(JournalRow, query)

    def _end(self, id: int, state: str, *, result: dict[str, Any] | None = None, error: str = "") -> None:
        values = {"state": state, "result": result or {}, "error": error, "ended_at": self._db.clock()}
        if not self._change(_table, _table.c.id == id, values):
            raise errors.NotFoundError(f"Journal row {id} doesn't exist")
