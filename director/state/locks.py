"""Locks as leases: a row names who holds it and until when. An expired lock is free."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from director.state import database, tables

_table = tables.locks


@dataclasses.dataclass(frozen=True)
class LockRow:
    """`name` is `lock:deployment:NAME` and the like, `uid` the holder's own random text, `expires_at` Unix seconds."""

    name: str
    uid: str
    task_id: int | None
    expires_at: float


class Locks(database.Repository):
    """Source: planning contract, section 23."""

    def acquire(self, name: str, uid: str, task_id: int | None, lease_seconds: float) -> LockRow | None:
        """Take the lock when it is free, expired or held by `uid` already. Answers None when taken, else the lock of its present holder."""
        now = self._db.clock()
        with self._db.write():
            holder = self.find(name)
            if holder is not None and holder.uid != uid and holder.expires_at > now:
                return holder
            self._delete(_table, _table.c.name == name)
            self._insert(_table, {"name": name, "uid": uid, "task_id": task_id, "expires_at": now + lease_seconds})
            return None

    def renew(self, name: str, uid: str, lease_seconds: float) -> bool:
        """Prolong the lease; false when the row vanished or another holds it: the lock is lost."""
        return self._change(_table, (_table.c.name == name) & (_table.c.uid == uid), {"expires_at": self._db.clock() + lease_seconds}) > 0

    def release(self, name: str, uid: str) -> bool:
        """Give it back; false when it was lost before."""
        return self._delete(_table, (_table.c.name == name) & (_table.c.uid == uid)) > 0

    def release_of_tasks(self, task_ids: list[int]) -> int:
        """Free what tasks of a dead worker held, so that nobody waits for the lease to end."""
        return self._delete(_table, _table.c.task_id.in_(task_ids))

    def find(self, name: str) -> LockRow | None:
        return self._one(LockRow, sa.select(_table).where(_table.c.name == name))

    def all(self) -> list[LockRow]:
        """Sorted by name; rows expired for more than 60 s are removed first."""
        self._delete(_table, _table.c.expires_at < self._db.clock() - 60.0)
        return self._many(LockRow, sa.select(_table).order_by(_table.c.name))
