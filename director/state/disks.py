"""Persistent disks: those of instances, orphaned ones, and snapshots."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.disks


@dataclasses.dataclass(frozen=True)
class DiskRow:
    """`name` is '' for the one managed disk of an instance. An instance has at most one `active` disk per name; another one is being
    migrated to or from. Orphaned: `instance_id` is None and `orphaned_at`, `orphan_deployment`, `orphan_instance` tell where it was."""

    cid: str
    token: str
    size_mib: int
    cpi: str = ""
    name: str = ""
    cloud_properties: dict[str, Any] = dataclasses.field(default_factory=dict)
    instance_id: str | None = None
    active: bool = False
    az: str = ""
    created_at: float = 0.0
    orphaned_at: float | None = None
    orphan_deployment: str = ""
    orphan_instance: str = ""


class DiskChanges(TypedDict, total=False):
    """What `update` may set; `cid` because a cloud may change a disk by copying it."""

    cid: str
    size_mib: int
    cloud_properties: dict[str, Any]
    active: bool
    az: str
    name: str


@dataclasses.dataclass(frozen=True)
class SnapshotRow:
    """`clean` when it was taken while the instance was stopped."""

    cid: str
    token: str
    disk_cid: str
    clean: bool
    created_at: float = 0.0


class Disks(database.Repository):
    """Source: planning contract, sections 14 and 21."""

    def add(self, disk: DiskRow) -> DiskRow:
        """Record a disk that was just made; `created_at` 0 becomes now. Raises ConflictError when cid or token are recorded already."""
        if not disk.created_at:
            disk = dataclasses.replace(disk, created_at=self._db.clock())
        self._insert(_table, database.values_of(disk))
        return disk

    def find(self, cid: str) -> DiskRow | None:
        return self._one(DiskRow, sa.select(_table).where(_table.c.cid == cid))

    def get(self, cid: str) -> DiskRow:
        """Raises NotFoundError."""
        found = self.find(cid)
        if found is None:
            raise errors.NotFoundError(f"Disk '{cid}' doesn't exist")
        return found

    def by_token(self, token: str) -> DiskRow | None:
        """The disk that the create call with this token made."""
        return self._one(DiskRow, sa.select(_table).where(_table.c.token == token))

    def of(self, deployment: str) -> list[DiskRow]:
        """Disks of the deployment's instances, active or not, oldest first; no orphaned ones."""
        joined = _table.join(tables.instances, tables.instances.c.id == _table.c.instance_id)
        query = sa.select(_table).select_from(joined).where(tables.instances.c.deployment == deployment)
        return self._many(DiskRow, query.order_by(_table.c.created_at, _table.c.cid))

    def of_instance(self, instance_id: str) -> list[DiskRow]:
        """Oldest first."""
        return self._many(DiskRow, sa.select(_table).where(_table.c.instance_id == instance_id).order_by(_table.c.created_at, _table.c.cid))

    def all(self) -> list[DiskRow]:
        """Orphaned ones too."""
        return self._many(DiskRow, sa.select(_table).order_by(_table.c.created_at, _table.c.cid))

    def activate(self, cid: str) -> None:
        """Make it the active one of its instance and name, and others of that name inactive. Raises NotFoundError."""
        with self._db.write():
            disk = self.get(cid)
            rivals = (_table.c.instance_id == disk.instance_id) & (_table.c.name == disk.name) & (_table.c.cid != cid)
            self._change(_table, rivals, {"active": False})
            self._change(_table, _table.c.cid == cid, {"active": True})

    def update(self, cid: str, /, **changes: Unpack[DiskChanges]) -> None:
        """Raises NotFoundError."""
        if changes and not self._change(_table, _table.c.cid == cid, changes):
            raise errors.NotFoundError(f"Disk '{cid}' doesn't exist")

    def orphan(self, cid: str, *, deployment: str, instance: str, at: float | None = None) -> None:
        """Take it from its instance and remember where it was (`instance` is `GROUP/UUID`), from `at` or now on. One that is orphaned
        already stays as it is. Raises NotFoundError."""
        with self._db.write():
            if self.get(cid).orphaned_at is not None:
                return
            self._change(_table, _table.c.cid == cid, {
                "instance_id": None, "active": False, "orphaned_at": self._db.clock() if at is None else at,
                "orphan_deployment": deployment, "orphan_instance": instance,
            })

    def adopt(self, cid: str, instance_id: str, name: str = "") -> None:
        """Give an orphaned disk to an instance, inactive until `activate`. Raises NotFoundError."""
        changed = self._change(_table, _table.c.cid == cid, {
            "instance_id": instance_id, "name": name, "active": False, "orphaned_at": None, "orphan_deployment": "", "orphan_instance": "",
        })
        if not changed:
            raise errors.NotFoundError(f"Disk '{cid}' doesn't exist")

    def orphans(self, *, older_than_seconds: float = 0.0) -> list[DiskRow]:
        """Orphaned disks, oldest first."""
        limit = self._db.clock() - older_than_seconds
        query = sa.select(_table).where(_table.c.orphaned_at.is_not(None), _table.c.orphaned_at <= limit)
        return self._many(DiskRow, query.order_by(_table.c.orphaned_at, _table.c.cid))

    def delete(self, cid: str) -> None:
        """Forget a disk that is gone, and its snapshots."""
        self._delete(_table, _table.c.cid == cid)

    def add_snapshot(self, snapshot: SnapshotRow) -> SnapshotRow:
        """`created_at` 0 becomes now. Raises ConflictError when it is recorded already."""
        if not snapshot.created_at:
            snapshot = dataclasses.replace(snapshot, created_at=self._db.clock())
        self._insert(tables.snapshots, database.values_of(snapshot))
        return snapshot

    def snapshots(self, disk_cid: str | None = None) -> list[SnapshotRow]:
        """Of one disk, or all; oldest first."""
        query = sa.select(tables.snapshots).order_by(tables.snapshots.c.created_at, tables.snapshots.c.cid)
        return self._many(SnapshotRow, query if disk_cid is None else query.where(tables.snapshots.c.disk_cid == disk_cid))

    def delete_snapshot(self, cid: str) -> None:
        """Forget a snapshot that is gone."""
        self._delete(tables.snapshots, tables.snapshots.c.cid == cid)
