"""A step of rotating a variable: new versions, made and written down; deploys bring them to the machines.

What a step makes, and why machines of distant stages must not meet: `director.variables.rotation`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from director.diagnostics import Diagnostic
from director.errors import CaissonError, ConflictError, NotFoundError
from director.execute.context import Context
from director.execute.prepare import Wanted, prepare
from director.execute.telling import told
from director.execute.variables import Manner
from director.plan import explain, outline
from director.state import Store
from director.variables import keys, rollout, rotation

SHOWN = 10


def names_of(ctx: Context, names: Sequence[str], signed_by: str = "") -> tuple[str, ...]:
    """What is to be rotated: `names`, or with `signed_by` all that this CA signed and that sign nothing themselves. All absolute.

    Raises NotFoundError.
    """
    if not signed_by:
        return tuple(dict.fromkeys(names))
    found = rotation.leaves_of(ctx.vault, ctx.store, signed_by)
    if not found:
        raise NotFoundError(f"'{signed_by}' has signed no certificate that signs nothing itself",
                            suggestion="'caisson variables --details' shows who signed what.")
    return found


def deployments_of(store: Store, names: Iterable[str]) -> list[str]:
    """Whose machines have any of the variables, or anything that these signed; sorted."""
    family = rotation.Family(store)
    return rollout.deployments_with(store, [other for name in names for other in (family.get(name).name, *family.below(name))])


def rotate(ctx: Context, names: Sequence[str], *, undo: bool = False, dry_run: bool = False) -> str:
    """Take the next step of rotating each of `names` (absolute), or go back by one; with `dry_run` only tell what would be. All or none.

    Runs under the locks of `deployments_of`. The result output is one JSON object: dry_run, steps (name, before, after, stage, and
    versions: name, id, what), deployments, and for a dry run plans (deployment, text, plan). Raises ConflictError with all that cannot be
    rotated or must wait, naming those it waits for. The task's result.
    """
    stage = ctx.log.stage("Rotating variables", 1)
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    with stage.step(shown), contextlib.nullcontext() if dry_run else ctx.vault.making:
        steps = _planned(ctx, names, undo, dry_run)
        if not dry_run:
            with ctx.store.transaction(durable=True):
                for step in steps:
                    _apply(ctx, step)
    deployments = rollout.deployments_with(ctx.store, [name for step in steps for name in step.family])
    answer: dict[str, Any] = {"dry_run": dry_run, "steps": [_told(step, dry_run) for step in steps], "deployments": deployments}
    if dry_run:
        values = {fresh.row.name: fresh.value for step in steps for fresh in step.fresh}
        answer["plans"] = [_plan(ctx, deployment, values) for deployment in deployments]
    ctx.log.result(json.dumps(answer) + "\n")
    return ", ".join(names)


def _planned(ctx: Context, names: Sequence[str], undo: bool, dry_run: bool) -> list[rotation.Step]:
    """Raises ConflictError with everything that is wrong with any of them."""
    steps: list[rotation.Step] = []
    problems: list[Diagnostic] = []
    source = keys.SameKeys() if dry_run else None
    for name in names:
        ctx.check()
        try:
            step = rotation.plan_step(ctx.vault, ctx.store, name, undo=undo, user=ctx.user, key_source=source)
            _refuse_to_hurry(ctx.store, step)
        except CaissonError as error:
            problems += error.diagnostics
            continue
        other = next((known.name for known in steps if set(known.family) & set(step.family)), "")
        if other:
            problems.append(Diagnostic(f"'{name}' and '{other}' belong to one CA, so they cannot be rotated at once",
                                       suggestion="Rotate them one after the other."))
        steps.append(step)
    if problems:
        raise ConflictError(*problems)
    return steps


def _told(step: rotation.Step, dry_run: bool) -> dict[str, Any]:
    return {
        "name": step.name, "before": step.before, "after": step.after, "stage": rotation.STAGES[step.after] if step.with_overlap else "",
        "versions": [{"name": fresh.row.name, "id": "" if dry_run else fresh.row.id, "what": fresh.what} for fresh in step.fresh],
    }


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
    """With an event for each new version."""
    context = {"stage_before": step.before, "stage_after": step.after} if step.with_overlap else {}
    with ctx.event("rotate", "variable", step.name, context=context):
        rotation.apply_step(ctx.store, step)
        for fresh in step.fresh:
            ctx.store.events.add(
                "create", "variable", fresh.row.name, user=ctx.user, task=ctx.task_id, deployment=ctx.deployment,
                context={"latest_version": True, "name": fresh.row.name, "id": fresh.row.id, "rotation": step.name, "what": fresh.what})
        rollout.close_finished(ctx.store)


def _plan(ctx: Context, deployment: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a deploy of the deployment as it is would do with the new values."""
    row = ctx.store.deployments.get(deployment)
    if not row.succeeded or row.resolved is None:
        return {"deployment": deployment, "text": f"Deployment '{deployment}' was never deployed with success.\n", "plan": None}
    wanted = Wanted(
        json.dumps(row.resolved), cloud_config_ids=row.cloud_config_ids, runtime_config_ids=row.runtime_config_ids,
        file=f"deployment '{deployment}'", variables=Manner(values=values))
    try:
        plan = told(ctx, prepare(ctx, wanted, write=False))
    except CaissonError as error:
        return {"deployment": deployment, "text": f"Deployment '{deployment}' cannot be planned now: {error.message}\n", "plan": None}
    return {"deployment": deployment, "text": explain.explain(plan), "plan": outline.to_json(plan)}
