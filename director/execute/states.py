"""start, stop, restart, recreate: the last successful deploy again, with a state asked for. Source: planning contract, section 18."""

from __future__ import annotations

import dataclasses
import json

from director.errors import ManifestError
from director.execute.context import Context
from director.execute.deploy import converge
from director.execute.prepare import Wanted
from director.execute.variables import PINNED
from director.plan import model

NOTHING_DEPLOYED = 440001


@dataclasses.dataclass(frozen=True)
class StateRequest:
    """`group` empty means all groups, `id_or_index` empty all instances of the group. `state` is started, stopped, detached, restart or
    recreate. `converge` brings everything else to the manifest too; without it only this one instance is touched."""

    state: str
    group: str = ""
    id_or_index: str = ""
    converge: bool = True
    options: model.Options = model.Options()


def change_state(ctx: Context, name: str, request: StateRequest, manifest: str = "") -> str:
    """The task's result. `manifest` is used instead of the stored one when it is given. Raises ManifestError when nothing was deployed."""
    asked = wanted(ctx, name, request, manifest)
    converge(ctx, name, asked, keep_text=not manifest.strip())
    chosen = next(iter(asked.states), "")
    return chosen if not request.converge else f"/deployments/{name}"


def wanted(ctx: Context, name: str, request: StateRequest, manifest: str = "") -> Wanted:
    """What is to be planned for the request. Raises ManifestError, NotFoundError."""
    base = Wanted(manifest, request.options, variables=PINNED) if manifest.strip() else deployed(ctx, name, request.options)
    group, instance = request.group, request.id_or_index
    if instance:
        instance = ctx.store.instances.at(name, group, instance).id
    groups = [group] if group else sorted({row.group for row in ctx.store.instances.of(name)})
    states = {f"{group}/{instance}": request.state} if instance else dict.fromkeys(groups, request.state)
    options = base.options
    if not request.converge:
        options = dataclasses.replace(options, selected=(f"{group}/{instance}",), skip_unselected=True)
    return dataclasses.replace(base, states=states, options=options)


def deployed(ctx: Context, name: str, options: model.Options = model.Options()) -> Wanted:
    """What was deployed last with success, with the configs and the versions of variables it was deployed with."""
    row = ctx.store.deployments.get(name)
    if not row.succeeded or row.resolved is None:
        raise ManifestError(
            "No successful BOSH deployment manifest available", code=NOTHING_DEPLOYED,
            suggestion=f"Deploy it first: caisson -d {name} deploy MANIFEST.",
        )
    # JSON is YAML: the stored tree needs no other form.
    return Wanted(
        json.dumps(row.resolved), options, row.cloud_config_ids, row.runtime_config_ids, file=f"deployment '{name}'", variables=PINNED)
