"""VMs that exist in a cloud: those of instances, those that compile, and those left behind to be deleted (orphaned)."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.vms


@dataclasses.dataclass(frozen=True)
class VmRow:
    """`token` is that of the create call. `instance_id` is None for a compilation VM. An instance has at most one `active` VM; others are
    being made or removed (hot swap). `address`, `ssh_port`, `ssh_user` tell where to dial; `host_public_key` is the pinned OpenSSH line,
    `pending_host_public_key` one that the agent may have switched to already ('' for none). `networks` are `cpis.contract.Network`s as
    dicts, with what the cloud assigned. `notes` is the executor's own (which agent was pushed, bootstrap done, ...)."""

    cid: str
    token: str
    deployment: str
    agent_id: str
    instance_id: str | None = None
    cpi: str = ""
    active: bool = False
    az: str = ""
    stemcell_name: str = ""
    stemcell_version: str = ""
    address: str = ""
    ssh_port: int = 22
    ssh_user: str = ""
    host_public_key: str = ""
    pending_host_public_key: str = ""
    networks: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    cloud_properties: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    created_at: float = 0.0

    @property
    def ips(self) -> tuple[str, ...]:
        return tuple(network["ip"] for network in self.networks if network.get("ip"))


class VmChanges(TypedDict, total=False):
    """What `update` may set."""

    instance_id: str | None
    agent_id: str
    active: bool
    address: str
    ssh_port: int
    ssh_user: str
    host_public_key: str
    pending_host_public_key: str
    networks: list[dict[str, Any]]
    cloud_properties: dict[str, Any]
    notes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class OrphanedVmRow:
    """A VM that no instance wants any more. Its addresses stay reserved until it is gone. Source: planning contract, section 21."""

    cid: str
    cpi: str
    az: str
    deployment: str
    instance_name: str
    orphaned_at: float
    ips: tuple[str, ...] = ()


class Vms(database.Repository):
    """Source: API contract, 6.2; planning contract, sections 10 and 15."""

    def add(self, vm: VmRow) -> VmRow:
        """Record a VM that was just made; `created_at` 0 becomes now. Raises ConflictError when cid or token are recorded already."""
        if not vm.created_at:
            vm = dataclasses.replace(vm, created_at=self._db.clock())
        self._insert(_table, database.values_of(vm))
        return vm

    def find(self, cid: str) -> VmRow | None:
        return self._one(VmRow, sa.select(_table).where(_table.c.cid == cid))

    def get(self, cid: str) -> VmRow:
        """Raises NotFoundError."""
        found = self.find(cid)
        if found is None:
            raise errors.NotFoundError(f"VM '{cid}' doesn't exist")
        return found

    def of(self, deployment: str) -> list[VmRow]:
        """Compilation VMs too; oldest first."""
        return self._many(VmRow, self._oldest_first().where(_table.c.deployment == deployment))

    def by_token(self, token: str) -> VmRow | None:
        """The VM that the create call with this token made."""
        return self._one(VmRow, sa.select(_table).where(_table.c.token == token))

    def of_instance(self, instance_id: str) -> list[VmRow]:
        """Oldest first."""
        return self._many(VmRow, self._oldest_first().where(_table.c.instance_id == instance_id))

    def active_of(self, instance_id: str) -> VmRow | None:
        return self._one(VmRow, sa.select(_table).where(_table.c.instance_id == instance_id, _table.c.active))

    def compiling(self, deployment: str) -> list[VmRow]:
        """VMs of the deployment that belong to no instance."""
        return self._many(VmRow, self._oldest_first().where(_table.c.deployment == deployment, _table.c.instance_id.is_(None)))

    def all(self) -> list[VmRow]:
        return self._many(VmRow, self._oldest_first())

    def activate(self, cid: str) -> None:
        """Make it its instance's active VM, and the others inactive. Raises NotFoundError."""
        with self._db.write():
            vm = self.get(cid)
            if vm.instance_id is not None:
                self._change(_table, (_table.c.instance_id == vm.instance_id) & (_table.c.cid != cid), {"active": False})
            self._change(_table, _table.c.cid == cid, {"active": True})

    def update(self, cid: str, **changes: Unpack[VmChanges]) -> None:
        """Raises NotFoundError."""
        if changes and not self._change(_table, _table.c.cid == cid, changes):
            raise errors.NotFoundError(f"VM '{cid}' doesn't exist")

    def delete(self, cid: str) -> None:
        """Forget a VM that is gone. Nothing happens when it was forgotten before."""
        self._delete(_table, _table.c.cid == cid)

    def orphan(self, cid: str, instance_name: str, ips: tuple[str, ...] = ()) -> OrphanedVmRow:
        """Turn a VM into an orphaned one: its row moves, and those of the `ips` that its instance (or compilation) holds are reserved by
        it from now on; what the cloud chose is noted. Raises NotFoundError."""
        with self._db.write():
            vm = self.get(cid)
            row = {
                "cid": cid, "cpi": vm.cpi, "az": vm.az, "deployment": vm.deployment, "instance_name": instance_name,
                "orphaned_at": self._db.clock(),
            }
            self._insert(tables.orphaned_vms, row)
            addresses = tables.addresses
            held = addresses.c.ip.in_(ips) & (addresses.c.deployment == vm.deployment) & (addresses.c.instance_id == vm.instance_id)
            self._change(addresses, held, {"orphaned_vm_cid": cid, "instance_id": None, "purpose": ""})
            for network in vm.networks:
                if network.get("type") == "dynamic" and network["ip"] in ips:
                    self._insert(addresses, {
                        "ip": network["ip"], "network": network["name"], "kind": "cloud", "deployment": vm.deployment,
                        "orphaned_vm_cid": cid, "purpose": "", "created_at": self._db.clock()})
            self.delete(cid)
        return self.orphans_by_cid()[cid]

    def orphans(self) -> list[OrphanedVmRow]:
        """Oldest first, with the addresses that they hold."""
        return list(self.orphans_by_cid().values())

    def orphans_by_cid(self) -> dict[str, OrphanedVmRow]:
        """As `orphans`, by cid."""
        table, held = tables.orphaned_vms, tables.addresses
        ips: dict[str, list[str]] = {}
        with self._db.read() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.orphaned_at, table.c.cid)).mappings().all()
            query = sa.select(held.c.orphaned_vm_cid, held.c.ip).where(held.c.orphaned_vm_cid.is_not(None)).order_by(held.c.id)
            for cid, ip in connection.execute(query):
                ips.setdefault(cid, []).append(ip)
        return {row["cid"]: OrphanedVmRow(**row, ips=tuple(ips.get(row["cid"], ()))) for row in rows}

    def forget_orphan(self, cid: str) -> None:
        """The orphaned VM is gone; its addresses become free."""
        self._delete(tables.orphaned_vms, tables.orphaned_vms.c.cid == cid)

    @staticmethod
    def _oldest_first() -> sa.Select[Any]:
        return sa.select(_table).order_by(_table.c.created_at, _table.c.cid)
