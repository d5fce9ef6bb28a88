"""A deploy or a change of state as a dry run: planned as it would be done, told, and nothing written."""

from __future__ import annotations

from director.execute import telling
from director.execute.context import Context
from director.execute.prepare import Wanted, prepare
from director.plan import explain
from director.plan.model import Action


def preview(ctx: Context, wanted: Wanted) -> None:
    """A step per instance that would change, so that every client shows it; the whole plan for people is the result output."""
    stage = ctx.log.stage("Preparing deployment", 1)
    with stage.step("Preparing deployment"):
        prepared = prepare(ctx, wanted, write=False)
    for warning in prepared.warnings:
        ctx.log.warning(warning)
    changed = [change for change in prepared.plan.changes if change.action is not Action.KEEP]
    stage = ctx.log.stage("What would be done", max(1, len(changed)))
    for change in changed:
        reasons = ", ".join(dict.fromkeys(reason.kind for reason in change.reasons))
        with stage.step(f"{change.action.glyph} {change.label}: {change.action.value} ({reasons})"):
            pass
    if not changed:
        with stage.step("nothing"):
            pass
    ctx.log.result(explain.explain(telling.told(ctx, prepared)))
