"""A whole deployment goes. Source: planning contract, section 16."""

from __future__ import annotations

from director.diagnostics import Diagnostic
from director.errors import ConflictError
from director.execute import dns, networks, observe, parallel
from director.execute.context import Context
from director.execute.recover import recover
from director.execute.steps import scripts
from director.execute.steps.delete_instance import delete_instance
from director.plan import model
from director.variables import rollout

IGNORED = 190021


def delete_deployment(ctx: Context, name: str, *, force: bool = False) -> str:
    """All instances in parallel, then the deployment itself. Disks are orphaned; releases, stemcells and configs stay. The task's result.

    `force` goes on past machines that do not do as they should.
    """
    if ctx.store.deployments.find(name) is None:
        return f"/deployments/{name}"
    if any(row.ignored for row in ctx.store.instances.of(name)):
        raise ConflictError(Diagnostic(
            f"You are trying to delete deployment '{name}', which contains ignored instance(s). Operation not allowed.", code=IGNORED,
            suggestion="Unignore them first.",
        ))
    with ctx.event("delete", "deployment", name):
        recover(ctx, name)
        _delete_instances(ctx, name, force)
        _forget(ctx, name)
    return f"/deployments/{name}"


def _delete_instances(ctx: Context, name: str, force: bool) -> None:
    observed = observe.observe(ctx, name)
    stage = ctx.log.stage("Deleting instances", max(1, len(observed)))

    dns.withdraw(ctx, [instance.id for instance in observed])
    why = model.Reason("obsolete", "its deployment was deleted")

    def delete(instance: model.ObservedInstance) -> None:
        with stage.step(f"{instance.group}/{instance.id} ({instance.index})") as step:
            delete_instance(ctx, instance, step, env=scripts.DELETE_DEPLOYMENT, force=force, reasons=(why,))

    parallel.each(observed, delete, ctx.threads, ctx.check)


def _forget(ctx: Context, name: str) -> None:
    stage = ctx.log.stage("Removing deployment artifacts", 2)
    for step in ("Detaching stemcells", "Detaching releases"):
        with stage.step(step):
            ctx.store.deployments.set_uses(name, [], [])
    stage = ctx.log.stage("Deleting properties", 1)
    with stage.step("Destroying deployment"):
        ctx.store.deployments.delete(name)
        ctx.store.variables.forget_unused()
        rollout.close_finished(ctx.store)
    networks.orphan_unused(ctx)
    dns.publish(ctx)
