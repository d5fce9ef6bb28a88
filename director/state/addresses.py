"""Addresses. One is reserved at most once over all deployments and orphaned VMs; what a cloud chose itself is only noted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import sqlalchemy as sa

from director import errors
from director.diagnostics import Diagnostic
from director.plan import model as plan_model
from director.state import database, tables

_table = tables.addresses


@dataclasses.dataclass(frozen=True)
class AddressRow:
    """`kind` as in `plan.model.Reservation`: static, dynamic, cloud or vip. Held by an instance, an orphaned VM or,
    when both are None, for what `purpose` tells (`compilation`)."""

    ip: str
    network: str
    kind: str
    deployment: str
    instance_id: str | None = None
    orphaned_vm_cid: str | None = None
    purpose: str = ""
    created_at: float = 0.0


class Addresses(database.Repository):
    """Source: planning contract, section 6."""

    def reserve(self, addresses: Iterable[AddressRow]) -> None:
        """All or none. What the same holder has already is kept. Raises ConflictError (130008), naming who holds each taken one."""
        wanted = [item if item.created_at else dataclasses.replace(item, created_at=self._db.clock()) for item in addresses]
        problems: list[Diagnostic] = []
        with self._db.write():
            holders = {row.ip: row for row in self._many_in(AddressRow, sa.select(_table), _table.c.ip, [item.ip for item in wanted])
                       if row.kind != "cloud"}
            for item in wanted:
                holder = holders.get(item.ip) if item.kind != "cloud" else None
                if holder is None:
                    self._note(item)
                    holders |= {item.ip: item} if item.kind != "cloud" else {}
                elif _same_holder(holder, item):
                    if (holder.network, holder.kind) == (item.network, item.kind):
                        continue
                    ours = (_table.c.ip == item.ip) & (_table.c.kind != "cloud")
                    self._change(_table, ours, {"network": item.network, "kind": item.kind})
                else:
                    by = self._name(holder, full=True)
                    problems.append(Diagnostic(
                        f"Failed to reserve IP '{item.ip}' for {self._name(item)}: already reserved by {by}", code=130008))
            if problems:
                raise errors.ConflictError(*problems)

    def of(self, deployment: str) -> list[AddressRow]:
        """In the order reserved; orphaned VMs' too."""
        return self._many(AddressRow, sa.select(_table).where(_table.c.deployment == deployment).order_by(_table.c.id))

    def of_instance(self, instance_id: str) -> list[AddressRow]:
        """In the order reserved."""
        return self._many(AddressRow, sa.select(_table).where(_table.c.instance_id == instance_id).order_by(_table.c.id))

    def taken(self, deployment: str) -> list[plan_model.TakenAddress]:
        """What others than the deployment's own instances hold: other deployments, orphaned VMs, compilation VMs."""
        mine = (_table.c.deployment == deployment) & _table.c.instance_id.is_not(None)
        with self._db.read():
            rows = self._many(AddressRow, sa.select(_table).where(~mine, _table.c.kind != "cloud").order_by(_table.c.id))
            names = self._names()
        return [plan_model.TakenAddress(network=row.network, ip=row.ip, holder=_holder(row, names, full=True)) for row in rows]

    def release(self, instance_id: str, ips: Iterable[str]) -> int:
        """Give up addresses of an instance; those that others hold are left alone. Answers how many were freed."""
        return self._delete(_table, _table.c.ip.in_(list(ips)) & (_table.c.instance_id == instance_id))

    def release_purpose(self, deployment: str, purpose: str, ips: Iterable[str] | None = None) -> int:
        """Give up what was reserved for a purpose rather than an instance: the given addresses, or all."""
        where = (_table.c.deployment == deployment) & (_table.c.purpose == purpose) & _table.c.instance_id.is_(None)
        return self._delete(_table, where if ips is None else where & _table.c.ip.in_(list(ips)))

    def _note(self, item: AddressRow) -> None:
        """A new row; what the cloud chose may be told twice."""
        same = (_table.c.ip == item.ip) & (_table.c.network == item.network) & (_table.c.instance_id == item.instance_id)
        if item.kind != "cloud" or self._one(AddressRow, sa.select(_table).where(same, _table.c.kind == item.kind)) is None:
            self._insert(_table, database.values_of(item))

    def _names(self) -> dict[str, str]:
        instances, orphans = tables.instances, tables.orphaned_vms
        with self._db.read() as connection:
            rows = connection.execute(sa.select(instances.c.id, instances.c.group))
            names = {id: f"instance '{group}/{id}'" for id, group in rows}
            rows = connection.execute(sa.select(orphans.c.cid, orphans.c.instance_name))
            return names | {cid: f"orphaned instance '{name}'" for cid, name in rows}

    def _name(self, item: AddressRow, *, full: bool = False) -> str:
        if item.instance_id and not full:
            query = sa.select(tables.instances.c.index).where(tables.instances.c.id == item.instance_id)
            return _holder(item, self._names(), full=False)[:-1] + f" ({self._value(query)})'"
        return _holder(item, self._names(), full=full)


def _same_holder(one: AddressRow, other: AddressRow) -> bool:
    return (one.deployment, one.instance_id, one.orphaned_vm_cid, one.purpose) == (
        other.deployment, other.instance_id, other.orphaned_vm_cid, other.purpose)


def _holder(item: AddressRow, names: dict[str, str], *, full: bool) -> str:
    name = names.get(item.orphaned_vm_cid or item.instance_id or "") or item.purpose or "nobody known"
    return f"{name} from deployment '{item.deployment}'" if full else name
