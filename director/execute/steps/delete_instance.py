"""An instance goes: jobs stopped, VM deleted or orphaned, disks orphaned, addresses freed, row forgotten.

Source: planning contract, section 16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from director.errors import CaissonError
from director.execute.context import Context
from director.execute.progress import Step
from director.execute.steps import disks, scripts
from director.execute.steps.delete_vm import delete_vm
from director.execute.steps.orphan_vm import orphan_vm
from director.execute.telling import recorded
from director.machine.agent import Agent
from director.plan import changes, model
from director.state.vms import VmRow


def delete_instance(
    ctx: Context, observed: model.ObservedInstance, step: Step, *, env: Mapping[str, str], skip_drain: bool = False, force: bool = False,
    reasons: Sequence[model.Reason] = (),
) -> None:
    """`env` tells scripts what becomes of VM, instance and deployment. `force` goes on past a machine that does not do as it should;
    the cloud must still confirm. `reasons` are recorded. May be repeated after a crash at any point."""
    name = f"{observed.group}/{observed.id}"
    with ctx.event("delete", "instance", name, instance=name, context=facts_of(ctx, observed, reasons)):
        vm = ctx.store.vms.active_of(observed.id)
        if vm is not None:
            agent = _stopped(ctx, vm, observed, step, env, skip_drain=skip_drain, force=force)
            if agent is not None:
                for disk in ctx.store.disks.of_instance(observed.id):
                    disks.detach(ctx, agent, vm, name, disk)
            if agent is not None and changes.orphans_vm(observed):
                orphan_vm(ctx, vm, name, agent)
        for left in ctx.store.vms.of_instance(observed.id):
            delete_vm(ctx, left)
        for disk in ctx.store.disks.of_instance(observed.id):
            disks.orphan(ctx, disk, observed.deployment, name)
        ctx.store.instances.delete(observed.id)


def facts_of(ctx: Context, observed: model.ObservedInstance, reasons: Sequence[model.Reason]) -> dict[str, Any]:
    """What the event of a deletion tells of the instance."""
    return {"az": observed.az, "index": observed.index, **recorded(ctx, reasons)}


def _stopped(
    ctx: Context, vm: VmRow, observed: model.ObservedInstance, step: Step, env: Mapping[str, str], *, skip_drain: bool, force: bool,
) -> Agent | None:
    """The agent of a machine whose jobs are stopped; None when it does not answer and need not."""
    if observed.vm is not None and observed.vm.agent_state == "unresponsive":
        return None
    try:
        agent = ctx.agent(vm)
        if observed.applied:
            scripts.stop(ctx, agent, step, env=env, drain="shutdown", next_spec=None, skip_drain=skip_drain)
    except CaissonError as error:
        if not force:
            raise
        ctx.log.warning(f"{observed.group}/{observed.id}: {error.message}. Going on, since force was asked for.")
        return None
    return agent
