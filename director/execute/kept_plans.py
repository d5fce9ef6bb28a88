"""Plans that are kept in a file and carried out later: made, opened, and refused when the world has moved on.

Source: planning contract, sections 1 and 7; design, promise 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from director.diagnostics import Diagnostic
from director.errors import CaissonError, ConflictError, UsageError
from director.execute import facts
from director.execute.context import Context
from director.execute.prepare import Prepared, Wanted, prepare
from director.execute.telling import told
from director.plan.digest import digest
from director.plan.moved import Moved, differing, moved
from director.plan.outline import Outline
from director.plan.planfile import PlanFile

Tree = dict[str, Any]
HEADLINE = "The plan does not hold any more: the world has moved since it was made"


def keep(ctx: Context, prepared: Prepared, options: Mapping[str, Any], plan: Outline) -> PlanFile:
    """The plan with everything that doing it needs. `options` are the deploy's in the API's words, `plan` what is told of it."""
    secret = {"manifest": prepared.wanted.manifest, "file": prepared.wanted.file}
    pinned = {"cloud_config_ids": list(prepared.configs.cloud_ids), "runtime_config_ids": list(prepared.configs.runtime_ids)}
    known = {item.id for item in prepared.blueprint.request.observed}
    return PlanFile(
        director_name=ctx.director.name, director_uuid=ctx.director.uuid, deployment=prepared.manifest.name, made_at=round(ctx.clock(), 3),
        options={**options, "dry_run": False, "context": pinned}, plan=plan,
        plan_digest=digest(prepared.plan, ctx.director.secret), rests_on=facts.facts(ctx, prepared), sealed=ctx.vault.seal(secret),
        foreseen_ids=tuple(item.spec.id for item in prepared.blueprint.instances if item.spec.id not in known),
        foreseen_numbers=prepared.made_up,
    )


def opened(ctx: Context, kept: PlanFile) -> tuple[str, str]:
    """The manifest and the name of its file. Raises UsageError when it was not this director who sealed it."""
    try:
        secret = ctx.vault.unseal(kept.sealed)
        return str(secret["manifest"]), str(secret["file"])
    except (CaissonError, ValueError, TypeError, KeyError) as error:
        raise UsageError(Diagnostic(
            "The manifest in the plan file cannot be opened", detail="Another director sealed it, or this one got another key since.",
            suggestion="Make a plan with this director: caisson plan MANIFEST -o plan.json.")) from error


def check_name(kept: PlanFile, name: str) -> None:
    """Raises UsageError when the sealed manifest is another deployment's than the plan says."""
    if kept.deployment != name:
        raise UsageError(Diagnostic(
            f"The plan is for deployment '{kept.deployment}', and the manifest in it for '{name}'",
            suggestion="Plans cannot be edited. Make it anew: caisson plan MANIFEST -o plan.json."))


def hold(ctx: Context, kept: PlanFile, wanted: Wanted) -> str:
    """Plan again, with nothing written, and compare. Answers the digest of what is done, without specs, for a last look at the plan that
    is carried out. Raises ConflictError that says what moved, and how that changes the plan."""
    again = Diagnostic(
        "Nothing was changed", suggestion=f"Look at it and plan again: caisson -d {kept.deployment} plan MANIFEST -o plan.json.")
    try:
        prepared = prepare(ctx, wanted, write=False)
    except CaissonError as error:
        raise ConflictError(
            Diagnostic(HEADLINE, detail="What was planned cannot be planned now."), *_told(_of_configs(ctx, kept)), *error.diagnostics,
            again) from error
    changed = moved(kept.rests_on, facts.facts(ctx, prepared))
    same = digest(prepared.plan, ctx.director.secret) == kept.plan_digest
    matter = [item for item in changed if not (item.beside and same)]
    if same and not matter:
        return digest(prepared.plan, ctx.director.secret, specs=False)
    lines = differing(kept.plan, told(ctx, prepared))
    detail = "Now it would differ:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
    found = [*matter, *_taken(kept, prepared)]
    if not found and not lines:
        detail = "Links, releases or numbers that its machines' configuration is made of are other ones."
    raise ConflictError(Diagnostic(HEADLINE, detail=detail), *_told(found), again)


def foreseen(wanted: Wanted, kept: PlanFile) -> Wanted:
    """Planned with the ids and numbers that the plan shows."""
    return dataclasses.replace(wanted, foreseen_ids=kept.foreseen_ids, foreseen_numbers=kept.foreseen_numbers)


def _told(items: Iterable[Moved]) -> list[Diagnostic]:
    return [Diagnostic(item.text) for item in items]


def _of_configs(ctx: Context, kept: PlanFile) -> list[Moved]:
    now = facts.configs(ctx)
    kinds = ("cloud-config ", "runtime-config ", "cpi-config ")
    return list(moved({what: fact for what, fact in kept.rests_on.items() if what.startswith(kinds)}, now))


def _taken(kept: PlanFile, prepared: Prepared) -> list[Moved]:
    """Addresses of the plan that others hold now."""
    holders = {item.ip: item.holder for item in prepared.blueprint.request.taken}
    planned = {item.ip: entry.name for entry in kept.plan.entries for item in entry.addresses if item.ip}
    return [Moved(f"address {ip}", "it", f"free for {planned[ip]}", f"held by {holders[ip]}") for ip in sorted(planned.keys() & holders)]
