"""Stemcells that clouds have; one row per CPI."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from director import errors
from director.release import model
from director.state import database, tables

_table = tables.stemcells


@dataclasses.dataclass(frozen=True)
class StemcellRow:
    """`cpi` is '' for the only CPI there is. `token` is that of the create call."""

    name: str
    version: str
    os: str
    cid: str
    token: str
    cpi: str = ""
    api_version: int = 3
    cloud_properties: dict[str, Any] = dataclasses.field(default_factory=dict)
    created_at: float = 0.0
    id: int = 0

    @property
    def value(self) -> model.Stemcell:
        """What the planner reads."""
        return model.Stemcell(
            name=self.name, version=self.version, os=self.os, cid=self.cid, cpi=self.cpi, api_version=self.api_version,
            cloud_properties=self.cloud_properties)


class Stemcells(database.Repository):
    """Source: release contract, section 12; API contract, 6.8."""

    def add(self, stemcell: StemcellRow) -> StemcellRow:
        """Record an image; one of the same name, version and CPI is replaced (`--fix`)."""
        with self._db.write():
            self._delete(
                _table, (_table.c.name == stemcell.name) & (_table.c.version == stemcell.version) & (_table.c.cpi == stemcell.cpi))
            stemcell = dataclasses.replace(stemcell, created_at=stemcell.created_at or self._db.clock())
            number = self._insert(_table, database.values_of(stemcell, without=("id",)))
        return dataclasses.replace(stemcell, id=number)

    def find(self, name: str, version: str, cpi: str = "") -> StemcellRow | None:
        return self._one(
            StemcellRow, sa.select(_table).where(_table.c.name == name, _table.c.version == version, _table.c.cpi == cpi))

    def get(self, name: str, version: str, cpi: str = "") -> StemcellRow:
        """Raises NotFoundError (50003)."""
        found = self.find(name, version, cpi)
        if found is None:
            raise errors.NotFoundError(f"Stemcell '{name}/{version}' doesn't exist", code=50003)
        return found

    def on_all_cpis(self, name: str, version: str) -> list[StemcellRow]:
        """A stemcell on each CPI that has it."""
        return self._many(StemcellRow, sa.select(_table).where(_table.c.name == name, _table.c.version == version).order_by(_table.c.cpi))

    def all(self) -> list[StemcellRow]:
        """Sorted by name, then in the order of upload."""
        return self._many(StemcellRow, sa.select(_table).order_by(_table.c.name, _table.c.id))

    def delete(self, id: int) -> None:
        """Forget it on one CPI."""
        self._delete(_table, _table.c.id == id)
