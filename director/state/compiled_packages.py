"""Compiled packages, by their cache key: one for each (package source, stemcell, compiled dependencies)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import sqlalchemy as sa

from director.state import database, tables

_table = tables.compiled_packages


@dataclasses.dataclass(frozen=True)
class CompiledPackageRow:
    """`key` is the compiled cache key, `dependency_key` the JSON of the release contract, section 9. `build` is numbered from 1 by `add`
    per (name, fingerprint, OS, version); on machines the version is `VERSION.BUILD`. `size` in bytes, `digest` as in `release.model`."""

    key: str
    name: str
    version: str
    fingerprint: str
    stemcell_os: str
    stemcell_version: str
    blob_id: str
    digest: str
    dependency_key: str = "[]"
    size: int = 0
    build: int = 0
    created_at: float = 0.0


class CompiledPackages(database.Repository):
    """Source: release contract, section 9."""

    def add(self, package: CompiledPackageRow) -> CompiledPackageRow:
        """Store it, numbered. When the key is there already (two compiled the same), the stored one is answered, this one's blob unused."""
        with self._db.write():
            found = self.find(package.key)
            if found is not None:
                return found
            same = (
                (_table.c.name == package.name) & (_table.c.fingerprint == package.fingerprint)
                & (_table.c.stemcell_os == package.stemcell_os) & (_table.c.stemcell_version == package.stemcell_version))
            last = self._value(sa.select(sa.func.max(_table.c.build)).where(same)) or 0
            package = dataclasses.replace(package, build=last + 1, created_at=package.created_at or self._db.clock())
            self._insert(_table, database.values_of(package))
            return package

    def replace_blob(self, key: str, blob_id: str, digest: str, size: int) -> None:
        """Another archive of the same package (`--fix`)."""
        self._change(_table, _table.c.key == key, {"blob_id": blob_id, "digest": digest, "size": size})

    def find(self, key: str) -> CompiledPackageRow | None:
        return self._one(CompiledPackageRow, sa.select(_table).where(_table.c.key == key))

    def with_keys(self, keys: Iterable[str]) -> dict[str, CompiledPackageRow]:
        """Those of `keys` that are there."""
        return {row.key: row for row in self._many_in(CompiledPackageRow, sa.select(_table), _table.c.key, list(keys))}

    def keys(self) -> frozenset[str]:
        """All keys: the container that `plan.decide` asks."""
        with self._db.read() as connection:
            return frozenset(key for (key,) in connection.execute(sa.select(_table.c.key)))

    def of_package(self, fingerprint: str) -> list[CompiledPackageRow]:
        """Every compiled form of a package, oldest first."""
        return self._many(CompiledPackageRow, sa.select(_table).where(_table.c.fingerprint == fingerprint).order_by(_table.c.created_at))

    def all(self) -> list[CompiledPackageRow]:
        """Sorted by name, then stemcell."""
        return self._many(CompiledPackageRow, sa.select(_table).order_by(
            _table.c.name, _table.c.stemcell_os, _table.c.stemcell_version, _table.c.build))

    def delete(self, key: str) -> None:
        """Forget it; the caller deletes the blob."""
        self._delete(_table, _table.c.key == key)
