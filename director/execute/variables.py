"""The variables of one deploy: what must be there before the manifest is read, what is made for it, what links of other deployments bring.

A deploy uses one set of versions, which it writes down; a change of state uses the set that was deployed last.
Source: manifest contract, sections 10 and 11; planning contract, sections 1 and 18.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from director.errors import ManifestError, NotFoundError
from director.execute.context import Context
from director.manifest import late
from director.manifest.model import Manifest, Variable
from director.plan import model
from director.plan.certificates import certificate_options
from director.variables import Lookup, Report, rotation

NEVER_DEPLOYED = 70011
SOON_DAYS = 30
MOST = 5


@dataclasses.dataclass(frozen=True)
class Manner:
    """How a deploy comes to its values. With `pinned` they are those of the last successful deploy; with `force_latest` they are the
    newest ones whatever a variable's update strategy says. `values` maps absolute names to values they are thought to have (a preview)."""

    pinned: bool = False
    force_latest: bool = False
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)


NEWEST = Manner()
# A change of state takes no new versions. Source: planning contract, section 18.
PINNED = Manner(pinned=True)


@dataclasses.dataclass(frozen=True)
class Values:
    """`own` answers for the deployment itself, `of(name)` for another one whose links it consumes; `set_id` is None in a preview.
    `warnings` are sentences."""

    own: Lookup
    of: Callable[[str], Lookup] = dataclasses.field(repr=False)
    set_id: int | None
    warnings: tuple[str, ...] = ()


def early(ctx: Context, deployment: str, manner: Manner) -> Lookup:
    """What is known before variables are made."""
    if manner.pinned:
        return ctx.vault.lookup(deployment, set_id=_deployed_set(ctx, deployment))
    return ctx.vault.lookup(deployment, overlay=manner.values)


def ready(ctx: Context, manifest: Manifest, blueprint: model.Blueprint, before: Lookup, manner: Manner, *, write: bool) -> Values:
    """Make what is missing, with an event for each; a preview makes it up in memory. `before` is what `early` gave.

    Raises ManifestError with all that cannot be made.
    """
    name = manifest.name
    if manner.pinned:
        set_id = _deployed_set(ctx, name)
        return Values(before, _foreign(ctx, ctx.store.variables.pins(set_id)), set_id)
    definitions = [_definition(variable, blueprint, before) for variable in manifest.variables]
    keep = {} if manner.force_latest else _kept(ctx, manifest, blueprint)
    converge = manifest.features.converge_variables
    if not write:
        report, own = ctx.vault.preview(name, definitions, converge=converge, keep=keep, overlay=manner.values)
        return Values(own, _foreign(ctx, {}), None, tuple(_warnings(ctx, report)))
    chosen = ctx.store.variables.begin_set(name)
    ctx.store.variables.pin(chosen.id, before.used)
    try:
        report = ctx.vault.ensure(name, definitions, set_id=chosen.id, converge=converge, keep=keep)
    except ManifestError as error:
        _tell_failures(ctx, name, definitions, error)
        raise
    _tell(ctx, name, report)
    return Values(
        ctx.vault.lookup(name, set_id=chosen.id, pin=True), _foreign(ctx, {}, chosen.id), chosen.id, tuple(_warnings(ctx, report)))


def resolve_sleeping(values: Values, specs: Iterable[model.InstanceSpec]) -> None:
    """What errand groups need is asked for now, so that it is in the set when they run. Raises ManifestError."""
    known: set[int] = set()
    for spec in specs:
        for job in spec.jobs:
            if id(job) not in known:
                known.add(id(job))
                late.resolve(job.properties, values.own)


def _definition(variable: Variable, blueprint: model.Blueprint, before: Lookup) -> Variable:
    options = certificate_options(variable, blueprint.variable_links.get(variable.name, {}))
    return dataclasses.replace(variable, options=late.resolve(options, before))


def _deployed_set(ctx: Context, deployment: str) -> int:
    row = ctx.store.deployments.find(deployment)
    last = ctx.store.variables.last_deployed_set(deployment)
    found = row.variable_set_id if row is not None and row.variable_set_id is not None else last.id if last else None
    if found is None:
        raise ManifestError(
            f"- Cannot consume properties from deployment '{deployment}'. It was never successfully deployed.", code=NEVER_DEPLOYED,
            suggestion=f"Deploy '{deployment}' first.")
    return found


def _kept(ctx: Context, manifest: Manifest, blueprint: model.Blueprint) -> dict[str, str]:
    """Versions that stay since their strategy is `on-stemcell-change` and a stemcell is as it was.

    Source: manifest contract, section 10 (`update.strategy`).
    """
    waiting = [ctx.vault.absolute(item.name, manifest.name) for item in manifest.variables if item.update_strategy == "on-stemcell-change"]
    last = ctx.store.variables.last_deployed_set(manifest.name) if waiting else None
    if last is None:
        return {}
    before = {(stemcell, version) for _, stemcell, version in ctx.store.deployments.stemcells(manifest.name)}
    now = {(item.spec.stemcell_name, item.spec.stemcell_version) for item in blueprint.instances}
    if not before & now:
        return {}
    pins = ctx.store.variables.pins(last.id)
    return {name: pins[name] for name in waiting if name in pins}


def _foreign(ctx: Context, pins: Mapping[str, str], set_id: int | None = None) -> Callable[[str], Lookup]:
    """Values of other deployments, from what they deployed last; names in `pins` have that version. They are pinned in the set too."""
    @functools.cache
    def of(owner: str) -> Lookup:
        @functools.cache
        def deployed() -> Mapping[str, str]:
            """Asked for only when something is missing: links of the last deploy outlive their provider."""
            return ctx.store.variables.pins(_deployed_set(ctx, owner))

        def find(name: str) -> tuple[str, Any]:
            version = pins.get(name) or deployed().get(name)
            if version is None:
                raise NotFoundError(
                    f"Expected variable '{name}' to be already versioned in deployment '{owner}'", code=540008,
                    suggestion=f"Deploy '{owner}' first.")
            if set_id is not None:
                ctx.store.variables.pin(set_id, {name: version})
            return version, ctx.vault.value(version)

        return Lookup(find, ctx.vault.director_name, owner)

    return of


def _warnings(ctx: Context, report: Report) -> Iterator[str]:
    """Of CAs that are exchanged without overlap, and of certificates that end soon."""
    remade = [entry.name for entry in report.regenerated if entry.type == "certificate"]
    family = rotation.Family(ctx.store) if remade else None
    for name in remade:
        if family is not None and family.signs(name):
            yield (
                f"The definition of the CA '{name}' changed, so it is made anew at once: while machines are updated some will not trust "
                "others. 'caisson rotate' exchanges a CA in steps instead")
    rows = ctx.store.variables.with_ids(entry.id for entry in report.kept)
    limit = ctx.clock() + SOON_DAYS * 86400
    ending = sorted((row.expires_at, row.name) for row in rows.values() if row.expires_at is not None and row.expires_at < limit)
    for ends, name in ending[:MOST]:
        date = datetime.datetime.fromtimestamp(ends, datetime.UTC).strftime("%Y-%m-%d")
        yield f"Certificate '{name}' {'ended' if ends < ctx.clock() else 'ends'} on {date}; make a new one: caisson rotate {name}"
    if len(ending) > MOST:
        yield f"{len(ending) - MOST} more certificates end within {SOON_DAYS} days; list them: caisson certificates"


def _tell(ctx: Context, deployment: str, report: Report) -> None:
    """An event for each version that was made, and for each that is older than the newest on purpose."""
    with ctx.store.transaction():
        for entry in report.entries:
            if entry.outcome != "kept" or not entry.latest:
                _event(ctx, deployment, entry.name, {
                    "update_strategy": entry.update_strategy, "latest_version": entry.latest, "name": entry.name, "id": entry.id})


def _tell_failures(ctx: Context, deployment: str, definitions: Sequence[Variable], error: ManifestError) -> None:
    known = {f"variables/{variable.name}": variable for variable in definitions}
    with ctx.store.transaction():
        for problem in error.diagnostics:
            variable = known.get(problem.where.path) if problem.where else None
            if variable is not None:
                name = ctx.vault.absolute(variable.name, deployment)
                _event(ctx, deployment, name, {"update_strategy": variable.update_strategy, "name": name}, problem.summary)


def _event(ctx: Context, deployment: str, name: str, context: dict[str, Any], error: str = "") -> None:
    ctx.store.events.add(
        "create", "variable", name, user=ctx.user, task=ctx.task_id, deployment=deployment, context=context, error=error)
