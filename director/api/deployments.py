"""Deployments. Source: director API contract, section 6.1; manifest contract, section 2."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

from starlette.responses import Response

from director.api import config_diffs
from director.api.calls import Call, answer, field
from director.errors import CaissonError, ManifestError, UsageError
from director.manifest.load import load_yaml
from director.plan import planfile

BAD_MANIFEST, NAME_MISSING, BAD_VALUE, BAD_CONTEXT = 440001, 40001, 40005, 190025
SIZE = re.compile(r"\d+%?")
LONGEST_NAME = 1024


def index(call: Call) -> Response:
    """All, sorted by name; parts that are not wanted are left out."""
    store = call.services.store
    locked = {lock.name.removeprefix("lock:deployment:") for lock in store.locks.all() if lock.expires_at > call.services.clock()}
    releases, stemcells = store.deployments.releases(), store.deployments.stemcells()
    newest = tuple(config.id for config in store.configs.current("cloud"))
    rows = []
    for deployment in store.deployments.all():
        name = deployment.name
        row: dict[str, Any] = {"name": name, "teams": list(deployment.teams)}
        if not call.flag("exclude_configs"):
            used = tuple(deployment.cloud_config_ids)
            row["cloud_config"] = "none" if not used else "latest" if sorted(used) == sorted(newest) else "outdated"
        if not call.flag("exclude_stemcells"):
            row["stemcells"] = [{"name": item, "version": version} for owner, item, version in stemcells if owner == name]
        if not call.flag("exclude_releases"):
            row["releases"] = [{"name": item, "version": version} for owner, item, version in releases if owner == name]
        if not call.flag("exclude_lock"):
            row["locked"] = name in locked
        rows.append(row)
    return answer(sorted(rows, key=lambda row: str(row["name"])))


def show(call: Call) -> Response:
    return answer({"manifest": call.services.store.deployments.get(call.deployment).manifest})


def deploy(call: Call) -> Response:
    """Queue an update. The deployment is there at once, as an empty one until it succeeds."""
    text = call.text()
    name = _name(text)
    options = deploy_options(call)
    if "context" in options:
        _check_context(call, options["context"])
    call.services.store.deployments.ensure(name)
    description = "create deployment" + (" (dry run)" if options["dry_run"] else "")
    return call.start("update_deployment", {"manifest": text, "options": options}, description, name)


def deploy_plan(call: Call) -> Response:
    """Queue the deploy that a kept plan describes: ours, an addition to the contract. The plan comes back to the task whole, so that a
    director that is started again goes on with it. Raises UsageError for a plan that is damaged or another director's."""
    tree = call.json()
    kept = planfile.of_tree(tree)
    planfile.check(kept, call.services.director.uuid)
    call.services.store.deployments.ensure(kept.deployment)
    return call.start("update_deployment", {"plan": tree}, "create deployment", kept.deployment)


def plan(call: Call) -> Response:
    """What `deploy` would do, with nothing written: ours, an addition to the contract. `keep=true` adds the plan as a file, from which
    `POST /deployments` does exactly that."""
    text = call.text()
    name = _name(text)
    if name != call.deployment:
        raise ManifestError(f"Expected manifest to specify deployment name '{call.deployment}' but was '{name}'", code=BAD_MANIFEST)
    return answer(dict(call.services.planner(text, {**deploy_options(call), "dry_run": True}, keep=call.flag("keep"))))


def delete(call: Call) -> Response:
    arguments = {"force": call.flag("force"), "keep_snapshots": call.flag("keep_snapshots")}
    return call.start("delete_deployment", arguments, f"delete deployment {call.deployment}", call.deployment)


def diff(call: Call) -> Response:
    """Lines of difference to the last successful deploy, and the configs they were made with."""
    store = call.services.store
    clouds, runtimes = store.configs.current("cloud"), store.configs.current("runtime")
    context = {"cloud_config_ids": [item.id for item in clouds], "runtime_config_ids": [item.id for item in runtimes]}
    try:
        lines = config_diffs.of_deployment(store, call.deployment, call.text(), redact=call.query.get("redact") != "false")
    except CaissonError as error:
        return answer({"context": context, "diff": [], "error": f"Unable to diff manifest: {error.message}"})
    return answer({"context": context, "diff": lines})


def configs(call: Call) -> Response:
    """Which configs deployments use."""
    store = call.services.store
    wanted = call.query.getlist("deployment[]")
    rows: list[dict[str, Any]] = []
    for deployment in store.deployments.all():
        if wanted and deployment.name not in wanted:
            continue
        ids = (*deployment.cloud_config_ids, *deployment.runtime_config_ids)
        used = store.configs.with_ids(ids)
        rows.extend(
            {"id": number, "deployment": deployment.name, "config": {"id": number, "type": used[number].type, "name": used[number].name}}
            for number in ids
            if number in used
        )
    return answer(rows)


def deploy_options(call: Call) -> dict[str, Any]:
    """The query of a deploy, checked. Raises UsageError 40005, 40000."""
    before = call.query.get("recreate_vms_created_before") or None
    if before is not None:
        check_time(before)
        if not call.flag("recreate"):
            raise UsageError("Must pass recreate=true when specifying recreate_vms_created_before", code=BAD_VALUE)
    options: dict[str, Any] = {
        "recreate": call.flag("recreate"),
        "recreate_persistent_disks": call.flag("recreate_persistent_disks"),
        "recreate_vms_created_before": before,
        "fix": call.flag("fix"),
        "skip_drain": call.query.get("skip_drain") or "",
        "dry_run": call.flag("dry_run"),
        "force_latest_variables": call.flag("force_latest_variables"),
        **sizes(call),
    }
    if call.query.get("context"):
        options["context"] = _context(call.query["context"])
    if call.query.get("manifest_file"):
        options["file"] = _file(call.query["manifest_file"])
    return options


def _file(text: str) -> str:
    """The name that the user's command gave the manifest, for places in errors and plans; an addition of ours."""
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise UsageError("manifest_file is no name of a file", code=BAD_VALUE)
    return text


def sizes(call: Call) -> dict[str, str | None]:
    """`canaries` and `max_in_flight`, a number or a percentage."""
    found: dict[str, str | None] = {}
    for name in ("canaries", "max_in_flight"):
        text = call.query.get(name) or None
        if text is not None and not SIZE.fullmatch(text):
            raise UsageError(f"{name} value should be integer or percent", code=BAD_VALUE)
        found[name] = text
    return found


def check_time(text: str) -> None:
    try:
        told = datetime.datetime.fromisoformat(text)
    except ValueError:
        told = None
    if told is None or told.tzinfo is None:
        raise UsageError(f"Invalid RFC 3339 timestamp for recreate_vms_created_before: {text}", code=BAD_VALUE)


def _context(text: str) -> dict[str, list[int]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The context is not JSON: {error}", code=710001) from error
    if not isinstance(found, dict):
        raise UsageError("The context must be a JSON object", code=40000)
    ids: dict[str, list[int]] = {}
    for key in ("cloud_config_ids", "runtime_config_ids"):
        ids[key] = field(found, key, list, default=[])
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in ids[key]):
            raise UsageError(f"Context '{key}' must be a list of numbers", code=40000)
    return ids


def _check_context(call: Call, context: dict[str, list[int]]) -> None:
    known = call.services.store.configs.with_ids([*context["cloud_config_ids"], *context["runtime_config_ids"]])
    for key, type_ in (("cloud_config_ids", "cloud"), ("runtime_config_ids", "runtime")):
        bad = [str(item) for item in context[key] if item not in known or known[item].type != type_]
        if bad:
            raise UsageError(
                f"Context includes invalid config ID: {', '.join(bad)}",
                code=BAD_CONTEXT,
                suggestion="Deploy again: the configs changed meanwhile.",
            )


def _name(text: str) -> str:
    """The manifest's name. Raises ManifestError: empty, no YAML, no map, no name."""
    tree = load_yaml(text, "manifest").tree
    if tree is None:
        raise ManifestError("Manifest should not be empty", code=BAD_MANIFEST)
    if not isinstance(tree, dict):
        raise ManifestError("Manifest should be a hash", code=BAD_MANIFEST)
    name = tree.get("name")
    if not isinstance(name, str) or not name:
        raise ManifestError(
            "Deployment manifest must have a 'name' key", code=NAME_MISSING, suggestion="Add the line `name: my-deployment`."
        )
    if "/" in name:
        raise ManifestError(f"Deployment name '{name}' must not hold a slash", code=BAD_MANIFEST)
    return name
