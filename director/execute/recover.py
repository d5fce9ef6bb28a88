"""What the journal says was begun and not ended, after a director died: finished, or found not to exist.

Runs before anything else of a deployment's task. Creations are repeated with their token, so the cloud answers with what it
made before; everything else is idempotent by nature. Afterwards the records are true again and planning begins.
"""

from __future__ import annotations

from director.execute import networks
from director.execute.clouds import translated
from director.execute.context import Context
from director.execute.steps import create_vm, delete_vm, disks
from director.state.journal import JournalRow


def recover(ctx: Context, deployment: str) -> int:
    """End all open effects of a deployment; answers how many there were. Raises CloudError when the cloud cannot be asked."""
    rows = ctx.store.journal.open(deployment=deployment)
    for row in rows:
        ctx.log.debug(f"recovering {row.effect} {row.token}")
        with translated(f"Finding out what became of {row.effect} {row.token}"):
            _EFFECTS[row.effect](ctx, row)
    for vm in ctx.store.vms.compiling(deployment):
        delete_vm.delete_vm(ctx, vm)
    ctx.store.addresses.release_purpose(deployment, "compilation")
    return len(rows)


def _create_vm(ctx: Context, row: JournalRow) -> None:
    """Adopt the machine when the cloud has it, whole or half made; else there is nothing."""
    arguments = ctx.journal.arguments(row)
    wish = create_vm.VmWish(**{
        **arguments, "networks": tuple(arguments["networks"]), "disk_cids": tuple(arguments["disk_cids"]),
    })
    if wish.instance_id and ctx.store.instances.find(wish.instance_id) is None:
        _take_back(ctx, row, wish.cpi)
    elif ctx.cpi(wish.cpi).find(row.token):
        create_vm.order_vm(ctx, row.token, wish)
    else:
        ctx.store.journal.undone(row.id)


def _take_back(ctx: Context, row: JournalRow, cpi: str) -> None:
    for found in ctx.cpi(cpi).find(row.token):
        if found.kind == "vm":
            ctx.cpi(cpi).delete_vm(found.cid)
        elif found.kind == "disk":
            ctx.cpi(cpi).delete_disk(found.cid)
    ctx.store.journal.undone(row.id)


def _delete_vm(ctx: Context, row: JournalRow) -> None:
    arguments = ctx.journal.arguments(row)
    delete_vm.erase_vm(ctx, row.token, arguments["cid"], arguments["cpi"], arguments["deployment"])


def _create_disk(ctx: Context, row: JournalRow) -> None:
    wish = disks.DiskWish(**ctx.journal.arguments(row))
    if ctx.store.instances.find(wish.instance_id) is None:
        _take_back(ctx, row, wish.cpi)
    elif ctx.cpi(wish.cpi).find(row.token):
        disks.order_disk(ctx, row.token, wish)
    else:
        ctx.store.journal.undone(row.id)


def _create_network(ctx: Context, row: JournalRow) -> None:
    wish = networks.SubnetWish(**ctx.journal.arguments(row))
    if ctx.cpi(wish.cpi).find(row.token):
        networks.order_network(ctx, row.token, wish)
    else:
        ctx.store.journal.undone(row.id)


def _delete_disk(ctx: Context, row: JournalRow) -> None:
    arguments = ctx.journal.arguments(row)
    disks.erase_disk(ctx, row.token, arguments["cid"], arguments["cpi"])


def _leave(ctx: Context, row: JournalRow) -> None:
    """Attaching and detaching are looked at anew by every update of the instance, what is to be deleted by every clean-up."""
    ctx.store.journal.undone(row.id)


def _create_stemcell(ctx: Context, row: JournalRow) -> None:
    cpi = ctx.cpi(ctx.journal.arguments(row)["cpi"])
    for found in cpi.find(row.token):
        cpi.delete_stemcell(found.cid)
    ctx.store.journal.undone(row.id)


_EFFECTS = {
    "create_vm": _create_vm,
    "delete_vm": _delete_vm,
    "create_disk": _create_disk,
    "delete_disk": _delete_disk,
    "attach_disk": _leave,
    "detach_disk": _leave,
    "create_stemcell": _create_stemcell,
    "delete_stemcell": _leave,
    "delete_orphaned_vm": _leave,
    "create_network": _create_network,
    "delete_network": _leave,
}
