"""Persistent disks: created, attached, migrated, orphaned. Source: planning contract, section 14."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

from cpis import contract
from director.diagnostics import Diagnostic
from director.errors import MachineError
from director.execute.context import Context
from director.machine.agent import Agent
from director.manifest.model import DiskRef
from director.plan import model, settings
from director.state.disks import DiskRow
from director.state.vms import VmRow

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DiskWish:
    """A disk to make, as plain data. `written_properties` keep placeholders and are what is recorded and compared."""

    deployment: str
    instance_id: str
    az: str
    cpi: str
    vm_cid: str
    name: str
    size_mib: int
    cloud_properties: Tree
    written_properties: Tree
    metadata: dict[str, str]


class Disks:
    """The persistent disks of one instance on its machine. `resolve` fills placeholders in cloud properties."""

    def __init__(self, ctx: Context, agent: Agent, vm: VmRow, spec: model.InstanceSpec, resolve: Callable[[Tree], Tree]) -> None:
        self._ctx, self._agent, self._vm, self._spec, self._resolve = ctx, agent, vm, spec, resolve

    def update(self, *, renew: bool) -> None:
        """Attach what the instance has, make what it lacks, migrate what changed, orphan the rest.

        `renew` forces new disks. An interrupted change is taken up where it stopped.
        """
        rows = self._rows()
        if not rows and not self._spec.disks:
            return
        self._compare(rows)
        active = {row.name: row for row in rows if row.active}
        kept: set[str] = set()
        for disk in self._spec.disks:
            current = active.get(disk.name)
            if current is not None and not renew and _same(current, disk):
                self._attach(current)
                kept.add(current.cid)
            else:
                kept.add(self._replace(disk, current))
        for row in self._rows():
            if row.cid not in kept:
                self._release(row)

    def _rows(self) -> list[DiskRow]:
        return self._ctx.store.disks.of_instance(self._spec.id)

    def _compare(self, rows: list[DiskRow]) -> None:
        strange = [cid for cid in self._agent.list_disk() if cid not in {row.cid for row in rows}]
        if strange:
            recorded = next((row.cid for row in rows if row.active), "none")
            raise MachineError(Diagnostic(
                f"'{self._spec.label}' has invalid disks: agent reports '{strange[0]}' while director record shows '{recorded}'",
                code=400010, suggestion="Look which disk holds the data, then recreate the instance: the recorded one is attached.",
            ))

    def _attach(self, disk: DiskRow) -> None:
        """Attach and, for the managed disk, mount. Mounted before: nothing happens."""
        if not disk.name and disk.cid in self._agent.list_disk():
            return
        ctx, vm = self._ctx, self._vm
        cpi = ctx.cpi(vm.cpi)
        hint = ctx.journal.perform(
            "attach_disk", f"attach-{disk.cid}-{ctx.new_id()}", self._spec.deployment, f"Attaching disk {disk.cid} to {self._spec.label}",
            {"vm_cid": vm.cid, "disk_cid": disk.cid, "cpi": vm.cpi}, lambda: cpi.attach_disk(vm.cid, disk.cid), lambda _: None,
        )
        if not disk.name:
            env = self._spec.env
            self._agent.mount_disk(
                disk.cid, dataclasses.asdict(hint), fs=str(env.get("persistent_disk_fs") or ""),
                options=tuple(env.get("persistent_disk_mount_options") or ()),
            )

    def _replace(self, disk: DiskRef, current: DiskRow | None) -> str:
        """A new disk takes the place of the current one, with its content. On failure the current one stays the active one."""
        new = self._half_made(disk, current) or self._make(disk)
        migrates = current is not None and not disk.name
        if current is not None and migrates and not self._has_moved(current, new):
            self._attach(current)
        try:
            self._attach(new)
            if migrates:
                self._agent.migrate_disk(new.cid, cancel=self._ctx.cancel)
        except MachineError:
            self._release(new)
            raise
        self._ctx.store.disks.activate(new.cid)
        return new.cid

    def _has_moved(self, current: DiskRow, new: DiskRow) -> bool:
        """Whether the content is on the new disk already: it alone is mounted, since the current one is mounted first and goes last."""
        mounted = self._agent.list_disk()
        return new.cid in mounted and current.cid not in mounted

    def _half_made(self, disk: DiskRef, current: DiskRow | None) -> DiskRow | None:
        """The new disk of a change that a crash interrupted."""
        return next((
            row for row in self._rows()
            if not row.active and row.name == disk.name and _same(row, disk) and (current is None or row.created_at > current.created_at)
        ), None)

    def _make(self, disk: DiskRef) -> DiskRow:
        now = datetime.datetime.fromtimestamp(self._ctx.clock(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return order_disk(self._ctx, f"disk-{self._ctx.new_id()}", DiskWish(
            deployment=self._spec.deployment, instance_id=self._spec.id, az=self._spec.az, cpi=self._vm.cpi, vm_cid=self._vm.cid,
            name=disk.name, size_mib=disk.size_mib, cloud_properties=self._resolve(disk.cloud_properties),
            written_properties=dict(disk.cloud_properties), metadata=settings.disk_metadata(self._spec, self._ctx.director.name, now),
        ))

    def _release(self, disk: DiskRow) -> None:
        detach(self._ctx, self._agent, self._vm, self._spec.label, disk)
        orphan(self._ctx, disk, self._spec.deployment, self._spec.name)


def detach(ctx: Context, agent: Agent, vm: VmRow, label: str, disk: DiskRow) -> None:
    """Unmount and detach."""
    if not disk.name:
        agent.unmount_disk(disk.cid)
    agent.remove_persistent_disk(disk.cid)
    cpi = ctx.cpi(vm.cpi)
    ctx.journal.perform(
        "detach_disk", f"detach-{disk.cid}-{ctx.new_id()}", vm.deployment, f"Detaching disk {disk.cid} from {label}",
        {"vm_cid": vm.cid, "disk_cid": disk.cid, "cpi": vm.cpi}, lambda: cpi.detach_disk(vm.cid, disk.cid), lambda _: None,
    )


def orphan(ctx: Context, disk: DiskRow, deployment: str, instance: str) -> None:
    """Keep the disk in the cloud, without an instance; `caisson disks --orphaned` lists it."""
    with ctx.event("orphan", "disk", disk.cid, instance=instance):
        ctx.store.disks.orphan(disk.cid, deployment=deployment, instance=instance)


def order_disk(ctx: Context, token: str, wish: DiskWish) -> DiskRow:
    """The journaled creation alone; the same token gives the same disk. It is recorded inactive until its content is there."""
    cpi = ctx.cpi(wish.cpi)
    request = contract.DiskRequest(token, wish.size_mib, wish.cloud_properties, wish.vm_cid, wish.metadata)

    def record(cid: str) -> None:
        ctx.store.disks.add(DiskRow(
            cid=cid, token=token, cpi=wish.cpi, name=wish.name, size_mib=wish.size_mib, cloud_properties=wish.written_properties,
            instance_id=wish.instance_id, active=False, az=wish.az,
        ))

    with ctx.event("create", "disk", token, instance=wish.instance_id):
        cid = ctx.journal.perform(
            "create_disk", token, wish.deployment, f"Creating a disk of {wish.size_mib} MiB", dataclasses.asdict(wish),
            lambda: cpi.create_disk(request), record,
        )
    return ctx.store.disks.get(cid)


def delete_disk(ctx: Context, disk: DiskRow) -> None:
    """Delete an orphaned disk with its content, for ever."""
    with ctx.event("delete", "disk", disk.cid, instance=disk.orphan_instance):
        erase_disk(ctx, f"delete-{disk.cid}-{ctx.new_id()}", disk.cid, disk.cpi)


def erase_disk(ctx: Context, token: str, cid: str, cpi: str) -> None:
    """The journaled effect alone."""
    ctx.journal.perform(
        "delete_disk", token, ctx.deployment, f"Deleting disk {cid}", {"cid": cid, "cpi": cpi},
        lambda: ctx.cpi(cpi).delete_disk(cid), lambda _: ctx.store.disks.delete(cid),
    )


def _same(row: DiskRow, disk: DiskRef) -> bool:
    return row.size_mib == disk.size_mib and dict(row.cloud_properties) == dict(disk.cloud_properties)
