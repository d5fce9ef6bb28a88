"""How long steps took in earlier tasks: instances and machines as events tell, compilations as task outputs tell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from director.execute.context import Context
from director.plan.expect import COMPILE, CREATE_VM, Took

EVENTS = 2000
TASKS = 20
_COMPILING = b'"stage":"Compiling packages"'


def past(ctx: Context, deployment: str) -> tuple[Took, ...]:
    """What the newest events of the deployment and the newest deploys of all say. Failed steps do not count."""
    return (*_of_events(ctx, deployment), *_of_compilations(ctx))


def _of_events(ctx: Context, deployment: str) -> Iterator[Took]:
    began: dict[int, float] = {}
    rows = [row for kind in ("instance", "vm") for row in ctx.store.events.select(deployment=deployment, object_type=kind, limit=EVENTS)]
    for row in sorted(rows, key=lambda row: row.id):
        if row.parent_id is None:
            began[row.id] = row.timestamp
        elif row.parent_id in began and not row.error:
            group, _, known = row.instance.partition("/")
            step = row.action if row.object_type == "instance" else CREATE_VM if row.action == "create" else ""
            if step and known:
                yield Took(step, group, row.timestamp - began[row.parent_id])


def _of_compilations(ctx: Context) -> Iterator[Took]:
    for task in ctx.store.tasks.select(types=("update_deployment",), states=("done", "error"), limit=TASKS):
        yield from _compiled(ctx.task_events(task.id).splitlines())


def _compiled(lines: Iterable[bytes]) -> Iterator[Took]:
    """Lines are written whole, and compactly, by `director.tasks.log`."""
    began: dict[str, float] = {}
    for line in lines:
        if _COMPILING not in line:
            continue
        event = json.loads(line)
        name = str(event["task"])
        if event["state"] == "started":
            began[name] = float(event["time"])
        elif event["state"] == "finished" and name in began:
            yield Took(COMPILE, name.rpartition("/")[0], float(event["time"]) - began[name])
