"""Instances: one row per place of an instance group, whether it has a VM or not."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.instances
_UUID = re.compile(r"\A[A-Fa-f0-9]{8}-[A-Fa-f0-9-]{27}\Z")


@dataclasses.dataclass(frozen=True)
class InstanceRow:
    """`state` is the wanted one: started, stopped (soft) or detached (no VM). `dirty`: an update began and is not complete.
    `applied` is `InstanceSpec.to_dict()` of the last successful update, {} before it. `dns_version` is the newest version of the
    DNS records that the machine acknowledged, 0 for none. `variable_set_id` pins the variables it was last rendered with."""

    id: str
    deployment: str
    group: str
    index: int
    az: str = ""
    lifecycle: str = "service"
    bootstrap: bool = False
    ignored: bool = False
    state: str = "started"
    dirty: bool = False
    applied: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    variable_set_id: int | None = None
    dns_version: int = 0
    created_at: float = 0.0

    @property
    def name(self) -> str:
        """`GROUP/UUID`."""
        return f"{self.group}/{self.id}"

    @property
    def label(self) -> str:
        """`GROUP/UUID (INDEX)`."""
        return f"{self.group}/{self.id} ({self.index})"

    @property
    def expects_vm(self) -> bool:
        """Source: API contract, 6.2."""
        return self.lifecycle == "service" and self.state in ("started", "stopped")


class InstanceChanges(TypedDict, total=False):
    """What `update` may set."""

    group: str
    index: int
    az: str
    lifecycle: str
    bootstrap: bool
    ignored: bool
    state: str
    dirty: bool
    applied: dict[str, Any]
    variable_set_id: int | None
    dns_version: int


class Instances(database.Repository):
    """Source: planning contract, sections 2 and 5."""

    def add(self, instance: InstanceRow) -> InstanceRow:
        """`created_at` 0 becomes now. Raises ConflictError when id or deployment/group/index is taken, or there is no such deployment."""
        if not instance.created_at:
            instance = dataclasses.replace(instance, created_at=self._db.clock())
        self._insert(_table, database.values_of(instance))
        return instance

    def find(self, id: str) -> InstanceRow | None:
        return self._one(InstanceRow, sa.select(_table).where(_table.c.id == id))

    def get(self, id: str) -> InstanceRow:
        """Raises NotFoundError (70001)."""
        found = self.find(id)
        if found is None:
            raise errors.NotFoundError(f"Instance '{id}' doesn't exist", code=70001)
        return found

    def at(self, deployment: str, group: str, index_or_id: str | int) -> InstanceRow:
        """By index or uuid as users write it. Raises NotFoundError (70001), UsageError (70002) when the text is neither."""
        text = str(index_or_id)
        if re.fullmatch(r"\d{1,9}", text):
            chosen = _table.c.index == int(text)
        elif _UUID.match(text):
            chosen = _table.c.id == text
        else:
            raise errors.UsageError(f"Invalid instance index or id '{text}'", code=70002)
        found = self._one(InstanceRow, sa.select(_table).where(_table.c.deployment == deployment, _table.c.group == group, chosen))
        if found is None:
            raise errors.NotFoundError(f"'{deployment}/{group}/{text}' doesn't exist", code=70001)
        return found

    def of(self, deployment: str, group: str | None = None) -> list[InstanceRow]:
        """Sorted by group, then index."""
        query = sa.select(_table).where(_table.c.deployment == deployment).order_by(_table.c.group, _table.c.index)
        return self._many(InstanceRow, query if group is None else query.where(_table.c.group == group))

    def all(self) -> list[InstanceRow]:
        """Of all deployments, sorted by deployment, group, index."""
        return self._many(InstanceRow, sa.select(_table).order_by(_table.c.deployment, _table.c.group, _table.c.index))

    def update(self, id: str, **changes: Unpack[InstanceChanges]) -> None:
        """Raises NotFoundError (70001); ConflictError when the new group/index is taken."""
        if changes and not self._change(_table, _table.c.id == id, changes):
            raise errors.NotFoundError(f"Instance '{id}' doesn't exist", code=70001)

    def pin(self, ids: Sequence[str], variable_set_id: int | None) -> None:
        """All of them were rendered with that set of variables."""
        with self._db.write():
            for start in range(0, len(ids), database.CHUNK):
                self._change(_table, _table.c.id.in_(ids[start:start + database.CHUNK]), {"variable_set_id": variable_set_id})

    def delete(self, id: str) -> None:
        """Forget it, and give up its addresses. Raises ConflictError while VMs or disks are recorded for it."""
        self._delete(_table, _table.c.id == id)
