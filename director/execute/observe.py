"""What is recorded of a deployment, and what its machines say now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from director.errors import MachineError
from director.execute import parallel
from director.execute.context import Context
from director.machine.agent import MachineState
from director.plan import model
from director.state.instances import InstanceRow
from director.state.vms import VmRow

UNRESPONSIVE = "unresponsive"


def observe(ctx: Context, deployment: str, *, ask: bool = True) -> tuple[model.ObservedInstance, ...]:
    """All instances. `ask` makes one round trip to each machine that is not ignored, all in parallel."""
    rows = ctx.store.instances.of(deployment)
    recorded = ctx.store.vms.of(deployment)
    vms = {vm.instance_id: vm for vm in recorded if vm.instance_id and vm.active}
    spares = {vm.instance_id: vm for vm in recorded if vm.instance_id and not vm.active}
    asked = [vms[row.id] for row in rows if row.id in vms and not row.ignored] if ask else []
    states = dict(zip((vm.cid for vm in asked), parallel.each(asked, lambda vm: state_of(ctx, vm), ctx.threads, ctx.check), strict=True))
    addresses: dict[str, list[model.Reservation]] = {}
    for held in ctx.store.addresses.of(deployment):
        if held.instance_id:
            addresses.setdefault(held.instance_id, []).append(model.Reservation(held.network, held.ip, held.kind))
    disks: dict[str, list[model.ObservedDisk]] = {}
    for disk in ctx.store.disks.of(deployment):
        if disk.instance_id and disk.active:
            disks.setdefault(disk.instance_id, []).append(
                model.ObservedDisk(disk.cid, disk.size_mib, dict(disk.cloud_properties), disk.name, disk.created_at))
    return tuple(
        _observed(row, vms.get(row.id), spares.get(row.id), states, addresses.get(row.id, []), tuple(disks.get(row.id, ())))
        for row in rows)


def state_of(ctx: Context, vm: VmRow, *, full: bool = False) -> MachineState | MachineError:
    """What the machine says, or why it says nothing that helps: Unreachable, HostKeyChanged (what answers then need not be our machine),
    or an agent that cannot even tell its state."""
    try:
        return ctx.agent(vm).get_state(full)
    except MachineError as error:
        ctx.log.debug(f"{vm.cid} does not answer: {error.message}")
        return error


def _vm(vm: VmRow, state: MachineState | MachineError | None) -> model.ObservedVm:
    seen = model.ObservedVm(vm.cid, created_at=vm.notes.get("activated_at") or vm.created_at, networks=chosen_by_cloud(vm))
    if state is None:
        return seen
    if isinstance(state, MachineError):
        why = "\n".join(f"{item.summary}\n{item.detail}".strip() for item in state.diagnostics)
        return dataclasses.replace(seen, agent_state=UNRESPONSIVE, silence=why)
    processes = {process.name: process.state for process in state.processes}
    return dataclasses.replace(seen, agent_state=state.job_state, processes=processes)


def chosen_by_cloud(vm: VmRow) -> dict[str, model.Tree]:
    """What the cloud chose on dynamic networks, by network."""
    return {network["name"]: network for network in vm.networks if network["type"] == "dynamic"}


def _held(vm: VmRow | None, reserved: Iterable[model.Reservation]) -> tuple[model.Reservation, ...]:
    """The addresses of a machine: those reserved, and those that the cloud chose."""
    chosen = chosen_by_cloud(vm) if vm else {}
    return (*reserved, *(model.Reservation(name, network["ip"], "cloud") for name, network in chosen.items()))


def _observed(
    row: InstanceRow, vm: VmRow | None, spare: VmRow | None, states: dict[str, MachineState | MachineError],
    reserved: list[model.Reservation], disks: tuple[model.ObservedDisk, ...],
) -> model.ObservedInstance:
    seen = None if vm is None else _vm(vm, states.get(vm.cid))
    of_spare = {item for item in reserved if spare is not None and item.ip in spare.ips}
    beside = None if spare is None else model.ObservedSpare(spare.cid, dict(spare.notes.get("made") or {}), _held(spare, of_spare))
    return model.ObservedInstance(
        deployment=row.deployment, group=row.group, index=row.index, id=row.id, az=row.az, bootstrap=row.bootstrap, ignored=row.ignored,
        state=row.state, dirty=row.dirty, vm=seen, reservations=_held(vm, (item for item in reserved if item not in of_spare)),
        disks=disks, applied=row.applied, spare=beside)
