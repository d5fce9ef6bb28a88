"""Rotations of variables, certificates of all deployments: ours, additions to the contract. Values never leave the director this way."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from director.api.calls import Call, answer, field, timestamp
from director.diagnostics import did_you_mean
from director.errors import NotFoundError, UsageError
from director.manifest import variables
from director.state.rotations import RotationRow
from director.variables import names, overview, rollout, rotation

LAST = rotation.OVER


def index(call: Call) -> Response:
    """Rotations that are not over, by name."""
    return answer([_shape(call, row) for row in call.services.store.rotations.all()])


def step(call: Call) -> Response:
    """Queue the next step of each of `names`, or of all leaves `signed_by` a CA; or the way back by one."""
    body = call.json()
    written, signed_by = field(body, "names", list, default=[]), field(body, "signed_by", str, default="")
    if bool(written) == bool(signed_by):
        raise UsageError("Either 'names' or 'signed_by' must be given", code=40001)
    whole = [_known(call, {**body, "name": name}) for name in (written or [signed_by])]
    arguments = {
        "names": whole if written else [], "signed_by": "" if written else whole[0],
        "undo": field(body, "undo", bool, default=False), "dry_run": field(body, "dry_run", bool, default=False)}
    what = f"rotate variable {whole[0]}" + (f" and {len(whole) - 1} more" if len(whole) > 1 else "")
    what = what if written else f"rotate what {signed_by} signed"
    what += (" (undo)" if arguments["undo"] else "") + (" (dry run)" if arguments["dry_run"] else "")
    return call.start("rotate_variable", arguments, what, owner(call, whole[0]))


def _known(call: Call, body: Mapping[str, Any]) -> str:
    """The whole name of a variable that is there. Raises UsageError, NotFoundError."""
    full = absolute(call, body)
    if call.services.store.variables.latest(full) is None:
        known = [row.name for row in call.services.store.variables.all_latest()]
        raise NotFoundError(f"There is no variable '{full}'", code=540002,
                            suggestion=did_you_mean(full, known) or "'caisson variables --details' lists them.")
    return full


def certificates(call: Call) -> Response:
    """When the certificates that deployments use end, the first to end first."""
    rows = [
        {
            "name": item.row.name, "id": item.row.id, "expiry_date": timestamp(item.row.expires_at),
            "days_left": _days(call, item.row.expires_at), "ca": item.ca or None, "latest": item.latest,
            "deployments": sorted({use.deployment for use in item.uses}),
        }
        for item in overview.in_use(call.services.store) if item.row.expires_at]
    return answer(sorted(rows, key=lambda row: (str(row["expiry_date"]), str(row["name"]))))


def details(call: Call, deployment: str = "") -> list[dict[str, Any]]:
    """Variables with versions and uses, of one deployment or of all."""
    rotating = {row.name: row for row in call.services.store.rotations.all()}
    return [
        {
            "name": info.name, "id": info.newest.row.id, "type": info.newest.row.type, "versions": len(info.versions),
            "created_at": timestamp(info.newest.row.created_at), "ca": info.newest.ca or None,
            "expiry_date": timestamp(info.newest.row.expires_at), "days_left": _days(call, info.newest.row.expires_at),
            "rotation": rotating[info.name].stage if info.name in rotating else None,
            "uses": [
                {"deployment": use.deployment, "id": use.id, "latest": use.id == info.newest.row.id, "current": use.current,
                 "instances": list(use.instances)} for use in info.uses],
        }
        for info in overview.overview(call.services.store, deployment)]


def _days(call: Call, seconds: float | None) -> int | None:
    return None if seconds is None else datetime.timedelta(seconds=seconds - call.services.clock()).days


def absolute(call: Call, body: Mapping[str, Any]) -> str:
    """The whole name of what a body names. Raises UsageError 40001, 40005, 40000, 540004."""
    name, deployment = field(body, "name", str), field(body, "deployment", str, default="")
    if not name.startswith("/") and not deployment:
        raise UsageError(f"The name '{name}' is relative", code=40005,
                         suggestion=f"Give the deployment too, as in 'caisson -d app rotate {name}', or the whole name.")
    full = names.absolute(name, call.services.director.name, deployment)
    if problem := variables.name_problem(full):
        raise UsageError(problem, code=variables.BAD_NAME)
    return full


def owner(call: Call, name: str) -> str:
    """The deployment in whose namespace a name is, '' for one that is shared."""
    director, _, rest = name.removeprefix("/").partition("/")
    deployment = rest.partition("/")[0]
    known = director == call.services.director.name and call.services.store.deployments.find(deployment) is not None
    return deployment if known else ""


def _shape(call: Call, row: RotationRow) -> dict[str, Any]:
    store = call.services.store
    waiting = rollout.behind(store, row)
    signing = "old" if row.stage < rotation.SIGNING else "new"
    beside = None if row.stage == LAST else "new" if signing == "old" else "old"
    ready = row.stage < LAST and not rollout.hindering(store, row, row.stage + 1)
    return {
        "name": row.name, "stage": row.stage, "stages": LAST, "state": rotation.STAGES[row.stage], "user": row.user,
        "started_at": timestamp(row.started_at), "changed_at": timestamp(row.changed_at),
        "signing": {"version": signing, **_fact(row, signing)},
        "transitional": {"version": beside, **_fact(row, beside)} if beside else None,
        "waiting": [{"deployment": item.deployment, "instance": item.instance, "stage": item.stage, "why": item.why} for item in waiting],
        "ready": ready, "next": _next(row, [item.deployment for item in waiting], ready=ready),
    }


def _fact(row: RotationRow, version: str) -> dict[str, Any]:
    fact = row.facts[version]
    return {"fingerprint": fact["fingerprint"], "expiry_date": timestamp(fact["expires_at"])}


def _next(row: RotationRow, waiting: list[str], *, ready: bool) -> str:
    """The command that goes on."""
    if ready:
        return f"caisson rotate {row.name}"
    return "; ".join(f"caisson -d {name} deploy MANIFEST" for name in dict.fromkeys(waiting))
