"""What the director knows of itself: its uuid, switches."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from director.state import database, tables

_table = tables.settings


class Settings(database.Repository):
    """Texts by key."""

    def get(self, key: str) -> str | None:
        value: str | None = self._value(sa.select(_table.c.value).where(_table.c.key == key))
        return value

    def set(self, key: str, value: str) -> None:
        with self._db.write():
            if not self._change(_table, _table.c.key == key, {"value": value}):
                self._insert(_table, {"key": key, "value": value})

    def get_or_make(self, key: str, make: Callable[[], str]) -> str:
        """The stored value; the first time `make()` is stored. For what is drawn once, such as the director's uuid."""
        with self._db.write():
            value = self.get(key)
            if value is None:
                value = make()
                self.set(key, value)
            return value
