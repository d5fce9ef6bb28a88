"""The second machine of a create-swap-delete: made beside the one that serves, filled, then put in its place.

Source: planning contract, section 15.
"""

from __future__ import annotations

from director.errors import MachineError
from director.execute.context import Context
from director.execute.prepare import Prepared
from director.execute.steps.create_vm import create_vm, prepare_machine
from director.execute.steps.delete_vm import delete_vm
from director.execute.steps.orphan_vm import orphan_vm, shut_down
from director.machine.agent import Agent
from director.plan import changes, model
from director.state.vms import VmRow


def spare_of(ctx: Context, instance_id: str) -> VmRow | None:
    """The machine that an instance has beside the active one."""
    return next((vm for vm in ctx.store.vms.of_instance(instance_id) if not vm.active), None)


def ensure_spare(ctx: Context, prepared: Prepared, change: model.Change) -> None:
    """The instance has the spare machine that the plan wants: the one left by an earlier deploy if it is the right one and answers."""
    spare = spare_of(ctx, change.id)
    if spare is not None and spare.cid == change.spare and not _answers(ctx, spare):
        delete_vm(ctx, spare)
        spare = None
    prepared.settle(create_vm(ctx, prepared.wish(ctx, change, spare=True)) if spare is None else spare)


def _answers(ctx: Context, spare: VmRow) -> bool:
    try:
        agent_of(ctx, spare)
    except MachineError as error:
        ctx.log.debug(f"{spare.cid} is replaced: {error.message}")
        return False
    return True


def agent_of(ctx: Context, vm: VmRow) -> Agent:
    """A machine that may have been made just before a director died is made ready first."""
    agent = ctx.agent(vm)
    if not vm.notes.get("ready"):
        prepare_machine(ctx, vm, agent)
    return agent


def discard_spares(ctx: Context, prepared: Prepared) -> None:
    """Spare machines that this plan does not take go to the orphaned ones; at once where their addresses are wanted."""
    spares = {vm.instance_id: vm for vm in ctx.store.vms.of(prepared.manifest.name) if vm.instance_id and not vm.active}
    for change in prepared.plan.changes if spares else ():
        spare = spares.get(change.id)
        if spare is None or spare.cid == change.spare or change.frozen or change.spec is None:
            continue
        if {item.ip for item in change.reservations if item.ip} & set(spare.ips):
            delete_vm(ctx, spare)
        else:
            orphan_vm(ctx, spare, change.name, None)


def swap(ctx: Context, prepared: Prepared, change: model.Change, old: VmRow | None, agent: Agent | None) -> VmRow:
    """The spare machine becomes the instance's, and the old one, whose jobs are stopped and disks detached, an orphaned one.

    One transaction: whenever the director dies, exactly one of the two is the instance's machine. `old` is None when it had to be deleted.
    """
    spare = spare_of(ctx, change.id)
    assert spare is not None, change.label
    if old is None:
        _activate(ctx, prepared, change, spare)
    else:
        with ctx.event("orphan", "vm", old.cid, instance=change.name), ctx.store.transaction(durable=True):
            _activate(ctx, prepared, change, spare)
            ctx.store.vms.orphan(old.cid, change.name, old.ips)
        shut_down(ctx, old, agent)
    return ctx.store.vms.get(spare.cid)


def _activate(ctx: Context, prepared: Prepared, change: model.Change, spare: VmRow) -> None:
    notes = {key: value for key, value in spare.notes.items() if key != "made"}
    with ctx.store.transaction(durable=True):
        ctx.store.vms.activate(spare.cid)
        ctx.store.vms.update(spare.cid, notes={**notes, "activated_at": ctx.clock()})
        ctx.store.instances.update(change.id, applied=changes.record_vm(change), dirty=True)
        ctx.store.dns.forget_acknowledgement(change.id)
