"""A VM goes, certainly; its persistent disks stay whole."""

from __future__ import annotations

from director.execute.context import Context
from director.state.vms import VmRow


def delete_vm(ctx: Context, vm: VmRow) -> None:
    """Delete in the cloud, then forget. A VM that was gone before is success. Raises CloudError."""
    ctx.machines.forget(vm.cid)
    with ctx.event("delete", "vm", vm.cid, instance=vm.instance_id or ""):
        erase_vm(ctx, f"delete-{vm.cid}-{ctx.new_id()}", vm.cid, vm.cpi, vm.deployment)


def erase_vm(ctx: Context, token: str, cid: str, cpi: str, deployment: str) -> None:
    """The journaled effect alone."""
    ctx.journal.perform(
        "delete_vm", token, deployment, f"Deleting VM {cid}", {"cid": cid, "cpi": cpi, "deployment": deployment},
        lambda: ctx.cpi(cpi).delete_vm(cid), lambda _: ctx.store.vms.delete(cid),
    )
