"""Cloud, runtime, CPI and other configs: versions that never change, with increasing ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.configs


@dataclasses.dataclass(frozen=True)
class ConfigRow:
    """`current` is true for the newest visible version of its type and name."""

    id: int
    type: str
    name: str
    content: str = dataclasses.field(repr=False)
    team: str
    deleted: bool
    created_at: float
    current: bool = False


class ConfigMoved(errors.ConflictError):
    """Someone else updated the config. `latest_id` and `expected_latest_id` are for the API's answer (412)."""

    def __init__(self, latest_id: int, expected_latest_id: str) -> None:
        super().__init__(
            f"Latest Id: '{latest_id}' does not match expected latest id",
            suggestion="Look at the newer version and send the update again.")
        self.latest_id = latest_id
        self.expected_latest_id = expected_latest_id


class Configs(database.Repository):
    """Source: API contract, 6.9; manifest contract, section 18. An empty `name` means `default`."""

    def save(self, type: str, name: str, content: str, *, team: str = "", expected_latest_id: str | int | None = None) -> ConfigRow:
        """The new version, or the newest one when its content is the same. Raises ConfigMoved; 0 is expected when there is none."""
        name = name or "default"
        with self._db.write():
            latest = self.latest(type, name)
            latest_id = latest.id if latest else 0
            if expected_latest_id is not None and str(expected_latest_id) != str(latest_id):
                raise ConfigMoved(latest_id, str(expected_latest_id))
            if latest is not None and latest.content == content:
                return latest
            number = self._insert(_table, {
                "type": type, "name": name, "content": content, "team": team, "deleted": False, "created_at": self._db.clock()})
        return self.get(number)

    def latest(self, type: str, name: str = "default") -> ConfigRow | None:
        """The current version."""
        found = self.select(type=type, name=name or "default", limit=1)
        return found[0] if found else None

    def current(self, type: str) -> list[ConfigRow]:
        """The current version of each name, `default` first: what a deploy uses."""
        return self.select(type=type, limit=1)

    def select(self, *, type: str | None = None, name: str | None = None, limit: int | None = 1) -> list[ConfigRow]:
        """Visible versions: the `limit` newest per (type, name), None for all. By type, then `default` first, then name, newest first."""
        query = sa.select(_table).where(~_table.c.deleted)
        if type is not None:
            query = query.where(_table.c.type == type)
        if name is not None:
            query = query.where(_table.c.name == name)
        query = query.order_by(_table.c.type, sa.case((_table.c.name == "default", 0), else_=1), _table.c.name, _table.c.id.desc())
        found: list[ConfigRow] = []
        seen: dict[tuple[str, str], int] = {}
        for config in self._many(_Stored, query):
            count = seen[config.type, config.name] = seen.get((config.type, config.name), 0) + 1
            if limit is None or count <= limit:
                found.append(config.with_current(count == 1))
        return found

    def find(self, id: int) -> ConfigRow | None:
        """A visible version."""
        with self._db.read():
            row = self._one(_Stored, sa.select(_table).where(_table.c.id == id, ~_table.c.deleted))
            if row is None:
                return None
            newest = self._value(sa.select(sa.func.max(_table.c.id)).where(
                _table.c.type == row.type, _table.c.name == row.name, ~_table.c.deleted))
            return row.with_current(newest == id)

    def get(self, id: int) -> ConfigRow:
        """Raises NotFoundError (440012) when unknown or deleted."""
        found = self.find(id)
        if found is None:
            raise errors.NotFoundError(f"Config {id} not found", code=440012)
        return found

    def with_ids(self, ids: Iterable[int]) -> dict[int, ConfigRow]:
        """Versions by id, deleted ones too, since deployments hold on to what they used. `current` is not filled in."""
        return {row.id: row.with_current(False) for row in self._many_in(_Stored, sa.select(_table), _table.c.id, [*ids])}

    def delete(self, type: str, name: str) -> int:
        """Hide all versions of a config; answers how many there were."""
        where = (_table.c.type == type) & (_table.c.name == (name or "default")) & ~_table.c.deleted
        return self._change(_table, where, {"deleted": True})

    def delete_version(self, id: int) -> bool:
        """Hide one version, so that the one before is current again; whether it was visible."""
        return self._change(_table, (_table.c.id == id) & ~_table.c.deleted, {"deleted": True}) > 0


@dataclasses.dataclass(frozen=True)
class _Stored:
    id: int
    type: str
    name: str
    content: str
    team: str
    deleted: bool
    created_at: float

    def with_current(self, current: bool) -> ConfigRow:
        fields: dict[str, Any] = database.values_of(self)
        return ConfigRow(**fields, current=current)
