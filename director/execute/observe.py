"""What is recorded of a deployment, and what its machines say now."""

from __future__ import annotations

import dataclasses

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
    vms = {vm.instance_id: vm for vm in ctx.store.vms.of(deployment) if vm.instance_id and vm.active}
    asked = [vms[row.id] for row in rows if row.id in vms and not row.ignored] if ask else []
    states = dict(zip((vm.cid for vm in asked), parallel.each(asked, lambda vm: state_of(ctx, vm), ctx.threads, ctx.check), strict=True))
    return tuple(_observed(ctx, row, vms.get(row.id), states) for row in rows)


def state_of(ctx: Context, vm: VmRow, *, full: bool = False) -> MachineState | MachineError:
    """What the machine says, or why it says nothing that helps: Unreachable, HostKeyChanged (what answers then need not be our machine),
    or an agent that cannot even tell its state."""
    try:
        return ctx.agent(vm).get_state(full)
    except MachineError as error:
        ctx.log.debug(f"{vm.cid} does not answer: {error.message}")
        return error


def _vm(vm: VmRow, state: MachineState | MachineError | None) -> model.ObservedVm:
    if state is None:
        return model.ObservedVm(vm.cid, created_at=vm.created_at)
    if isinstance(state, MachineError):
        why = "\n".join(f"{item.summary}\n{item.detail}".strip() for item in state.diagnostics)
        return model.ObservedVm(vm.cid, UNRESPONSIVE, created_at=vm.created_at, silence=why)
    return model.ObservedVm(vm.cid, state.job_state, {process.name: process.state for process in state.processes}, vm.created_at)


def _observed(ctx: Context, row: InstanceRow, vm: VmRow | None, states: dict[str, MachineState | MachineError]) -> model.ObservedInstance:
    seen = None if vm is None else _vm(vm, states.get(vm.cid))
    disks = tuple(
        model.ObservedDisk(disk.cid, disk.size_mib, dict(disk.cloud_properties), disk.name, disk.created_at)
        for disk in ctx.store.disks.of_instance(row.id) if disk.active
    )
    held = tuple(model.Reservation(item.network, item.ip, item.kind) for item in ctx.store.addresses.of_instance(row.id))
    fields = {field.name for field in dataclasses.fields(model.ObservedInstance)}
    values = {key: value for key, value in dataclasses.asdict(row).items() if key in fields}
    return model.ObservedInstance(**{**values, "vm": seen, "reservations": held, "disks": disks})
