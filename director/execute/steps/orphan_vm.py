"""A VM that nobody wants any more, and what becomes of it: its addresses stay reserved until it is deleted.

Source: planning contract, sections 15 and 21.
"""

from __future__ import annotations

from director.errors import CaissonError, ConflictError, MachineError
from director.execute.context import Context
from director.machine.agent import Agent
from director.state.vms import OrphanedVmRow, VmRow


def orphan_vm(ctx: Context, vm: VmRow, instance: str, agent: Agent | None) -> None:
    """Leave a VM without disks to the clean-up. `instance` is `GROUP/UUID`; `agent` shuts it down, where something may run."""
    with ctx.event("orphan", "vm", vm.cid, instance=instance):
        ctx.store.vms.orphan(vm.cid, instance, vm.ips)
    shut_down(ctx, vm, agent)


def shut_down(ctx: Context, vm: VmRow, agent: Agent | None) -> None:
    """Power off a machine that is to be deleted anyway: it need not answer any more."""
    if agent is not None:
        try:
            agent.shutdown()
        except MachineError as error:
            ctx.log.debug(f"{vm.cid} was not shut down: {error.message}")
    ctx.machines.forget(vm.cid)


def delete_orphaned_vms(ctx: Context) -> int:
    """Delete them all; answers how many are gone. One that cannot be deleted now stays for the next time, with a warning."""
    orphans = ctx.store.vms.orphans()
    if not orphans:
        return 0
    gone = 0
    stage = ctx.log.stage("Deleting orphaned vms", len(orphans))
    for orphan in orphans:
        ctx.check()
        try:
            with stage.step(orphan.cid), ctx.lock(f"lock:orphan_vm_cleanup:{orphan.cid}", 10.0):
                gone += _delete(ctx, orphan)
        except ConflictError as error:
            ctx.log.debug(f"orphaned VM {orphan.cid} is being deleted already: {error.message}")
        except CaissonError as error:
            ctx.log.warning(f"Orphaned VM '{orphan.cid}' cannot be deleted: {error.message} It is tried again with the next clean-up.")
    return gone


def _delete(ctx: Context, orphan: OrphanedVmRow) -> bool:
    if orphan.cid not in ctx.store.vms.orphans_by_cid():
        return False
    token = ctx.journal.token_of("delete_orphaned_vm", orphan.cid, orphan.deployment) or f"delete-{orphan.cid}-{ctx.new_id()}"
    with ctx.event("delete", "vm", orphan.cid, instance=orphan.instance_name):
        ctx.journal.perform(
            "delete_orphaned_vm", token, orphan.deployment, f"Deleting orphaned VM {orphan.cid}",
            {"cid": orphan.cid, "cpi": orphan.cpi}, lambda: ctx.cpi(orphan.cpi).delete_vm(orphan.cid),
            lambda _: ctx.store.vms.forget_orphan(orphan.cid),
        )
    return True

