"""A step of rotating a variable: new versions, made and written down; deploys bring them to the machines.

What a step makes, and why machines of distant stages must not meet: `director.variables.rotation`.
"""

from __future__ import annotations

import json
from typing import Any

from director.diagnostics import Diagnostic
from director.errors import CaissonError, ConflictError
from director.execute.context import Context
from director.execute.prepare import Wanted, prepare
from director.execute.telling import told
from director.execute.variables import Manner
from director.plan import explain, outline
from director.state import Store
from director.variables import keys, rollout, rotation

SHOWN = 10


def deployments_of(store: Store, name: str) -> list[str]:
    """Whose machines have the variable, or anything that it signed; sorted."""
    family = rotation.Family(store)
    family.get(name)
    return rollout.deployments_with(store, family.below(name))


def rotate(ctx: Context, name: str, *, undo: bool = False, dry_run: bool = False) -> str:
    """Take the next step of rotating `name` (absolute), or go back by one; with `dry_run` only tell what would be.

    Runs under the locks of `deployments_of`. The result output is one JSON object: name, before, after, stage, versions (name, id, what),
    deployments, and for a dry run plans (deployment, text, plan). Raises NotFoundError; ConflictError for what cannot be rotated or must
    wait, naming those it waits for. The task's result.
    """
    store = ctx.store
    stage = ctx.log.stage("Rotating variables", 1)
    with stage.step(name):
        step = rotation.plan_step(
            ctx.vault, store, name, undo=undo, user=ctx.user, key_source=keys.SameKeys() if dry_run else None)
        _refuse_to_hurry(store, step)
        if not dry_run:
            _apply(ctx, step)
    deployments = rollout.deployments_with(store, step.family)
    answer: dict[str, Any] = {
        "name": name, "before": step.before, "after": step.after, "dry_run": dry_run,
        "stage": rotation.STAGES[step.after] if step.with_overlap else "", "deployments": deployments,
        "versions": [{"name": fresh.row.name, "id": "" if dry_run else fresh.row.id, "what": fresh.what} for fresh in step.fresh],
    }
    if dry_run:
        answer["plans"] = [_planned(ctx, deployment, step) for deployment in deployments]
    ctx.log.result(json.dumps(answer) + "\n")
    return name


def _refuse_to_hurry(store: Store, step: rotation.Step) -> None:
    """Raises ConflictError while there are machines that would not get along with those of the step."""
    running = store.rotations.find(step.name)
    if not step.with_overlap or running is None:
        return
    ended = running.stage == rotation.OVER
    waiting = rollout.behind(store, running) if ended else rollout.hindering(store, running, step.after)
    if not waiting:
        return
    more = [f"and {len(waiting) - SHOWN} more"] if len(waiting) > SHOWN else []
    names = sorted({item.deployment for item in waiting})
    what = "Another rotation" if ended else f"Step {step.after} of the rotation"
    raise ConflictError(Diagnostic(
        f"{what} of '{step.name}' must wait: not everybody has reached stage {running.stage}",
        detail="\n".join([*map(str, waiting[:SHOWN]), *more, "" if ended else (
            "They would meet certificates that they do not trust, or show some that others do not.")]).strip(),
        suggestion="; ".join(f"deploy '{name}' again: caisson -d {name} deploy MANIFEST" for name in names)
        + ". Instances that are ignored must be unignored first; those that failed must succeed or be deleted."))


def _apply(ctx: Context, step: rotation.Step) -> None:
    """With an event for each new version. The step and its events are written together."""
    context = {"stage_before": step.before, "stage_after": step.after} if step.with_overlap else {}
    with ctx.event("rotate", "variable", step.name, context=context), ctx.store.transaction(durable=True):
        rotation.apply_step(ctx.store, step)
        for fresh in step.fresh:
            ctx.store.events.add(
                "create", "variable", fresh.row.name, user=ctx.user, task=ctx.task_id, deployment=ctx.deployment,
                context={"latest_version": True, "name": fresh.row.name, "id": fresh.row.id, "rotation": step.name, "what": fresh.what})
        rollout.close_finished(ctx.store)


def _planned(ctx: Context, deployment: str, step: rotation.Step) -> dict[str, Any]:
    """What a deploy of the deployment as it is would do with the new values."""
    row = ctx.store.deployments.get(deployment)
    if not row.succeeded or row.resolved is None:
        return {"deployment": deployment, "text": f"Deployment '{deployment}' was never deployed with success.\n", "plan": None}
    values = {fresh.row.name: fresh.value for fresh in step.fresh}
    wanted = Wanted(
        json.dumps(row.resolved), cloud_config_ids=row.cloud_config_ids, runtime_config_ids=row.runtime_config_ids,
        file=f"deployment '{deployment}'", variables=Manner(values=values))
    try:
        plan = told(ctx, prepare(ctx, wanted, write=False))
    except CaissonError as error:
        return {"deployment": deployment, "text": f"Deployment '{deployment}' cannot be planned now: {error.message}\n", "plan": None}
    return {"deployment": deployment, "text": explain.explain(plan), "plan": outline.to_json(plan)}
