"""Errands. Source: director API contract, section 6.4; planning contract, section 17."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from director.api.calls import Call, answer, field
from director.errors import NotFoundError, UsageError
from director.manifest.load import load_yaml
from director.state.deployments import DeploymentRow

UNKNOWN = 70009


def index(call: Call) -> Response:
    """Groups with the lifecycle errand, and jobs that have a `bin/run`."""
    return answer([{"name": name} for name in _names(call)])


def run(call: Call) -> Response:
    body = call.json()
    errand = call.path["errand"]
    filters = field(body, "instances", list, default=[])
    for item in filters:
        if not isinstance(item, dict) or not isinstance(item.get("group"), str) or not isinstance(item.get("id", ""), str):
            raise UsageError("Property 'instances' must hold objects with 'group' and, if wanted, 'id'", code=40000)
    if errand not in (known := _names(call)):
        from director.diagnostics import did_you_mean

        raise NotFoundError(
            f"Errand '{errand}' doesn't exist", code=UNKNOWN, suggestion=did_you_mean(errand, known) or "'caisson errands' lists them."
        )
    arguments = {
        "errand": errand,
        "keep_alive": field(body, "keep-alive", bool, default=False),
        "when_changed": field(body, "when-changed", bool, default=False),
        "instances": [{"group": item["group"], "id": item.get("id") or ""} for item in filters],
    }
    return call.start("run_errand", arguments, f"run errand {errand} from deployment {call.deployment}", call.deployment)


def _names(call: Call) -> list[str]:
    store = call.services.store
    deployment = store.deployments.get(call.deployment)
    versions = {name: version for _owner, name, version in store.deployments.releases(call.deployment)}
    groups = list(_groups(deployment))
    names = {str(group.get("name")) for group in groups if group.get("lifecycle") == "errand"}
    used = {(str(job.get("release")), str(job.get("name"))) for group in groups for job in group.get("jobs") or [] if isinstance(job, dict)}
    used |= {
        (str(job.get("release")), str(job.get("name")))
        for instance in store.instances.of(call.deployment)
        for job in _applied(instance.applied).get("jobs") or []
    }
    for release in {release for release, _job in used} & set(versions):
        found = store.releases.get(release, versions[release])
        names |= {job.name for job in found.jobs if job.is_errand and (release, job.name) in used}
    return sorted(names)


def _groups(deployment: DeploymentRow) -> Iterator[dict[str, Any]]:
    tree = deployment.resolved if deployment.resolved else load_yaml(deployment.manifest or "", "manifest").tree
    for group in (tree.get("instance_groups") if isinstance(tree, dict) else None) or []:
        if isinstance(group, dict):
            yield group


def _applied(tree: dict[str, Any]) -> dict[str, Any]:
    """The spec in what was recorded after the last update."""
    spec = tree.get("spec")
    return spec if isinstance(spec, dict) else tree
