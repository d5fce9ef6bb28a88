"""Golden cases: a folder of YAML each, read into a plan and written as short lines. A new case needs no Python.

    manifest.yml   the manifest; without what is boring: releases, stemcells, update, and per group stemcell, vm_type, jobs, networks
    cloud.yml      keys that replace those of DEFAULT_CLOUD; may be absent
    before.yml     the manifest that was deployed before, before-cloud.yml its cloud config; absent for a first deploy
    observed.yml   what else is known: see `World`; may be absent
    plan.yml       the answer: changes, order, warnings, or errors
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml
from worlds import ids_wanted

from director.errors import CaissonError
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest
from director.plan.changes import record
from director.plan.decide import decide
from director.plan.design import design, number
from director.plan.model import (
    Action,
    Blueprint,
    Change,
    ObservedDisk,
    ObservedInstance,
    ObservedVm,
    Options,
    Plan,
    Request,
    Reservation,
    SharedProvider,
    TakenAddress,
)
from director.release.model import JobSpec, LinkSpec, PackageSpec, PropertySpec, Release, Stemcell

CASES = Path(__file__).parent.parent / "plans"
STATIC = "10.0.0.100-10.0.0.150"
DEFAULT_CLOUD: dict[str, Any] = {
    "azs": [{"name": name} for name in ("z1", "z2", "z3")],
    "vm_types": [{"name": "small", "cloud_properties": {"size": "small"}}],
    "disk_types": [{"name": "disk", "disk_size": 1024}],
    "networks": [
        {"name": "default", "subnets": [
            {"range": "10.0.0.0/24", "gateway": "10.0.0.1", "azs": ["z1", "z2", "z3"], "static": [STATIC]}]},
        {"name": "flat", "subnets": [{"range": "10.1.0.0/24", "gateway": "10.1.0.1", "static": ["10.1.0.100-10.1.0.150"]}]}],
    "compilation": {"workers": 2, "network": "flat"},
}
DEFAULT_MANIFEST: dict[str, Any] = {
    "name": "dep",
    "releases": [{"name": "rel", "version": "1"}],
    "stemcells": [{"alias": "d", "os": "debian", "version": "1.1"}],
    "update": {"canaries": 1, "max_in_flight": 1, "canary_watch_time": "1000-30000", "update_watch_time": "1000-30000"},
    "instance_groups": [],
}
DEFAULT_GROUP: dict[str, Any] = {"stemcell": "d", "vm_type": "small", "jobs": [{"name": "app", "release": "rel"}]}
STEMCELLS = tuple(Stemcell("linux", version, "debian", f"image-{version}") for version in ("1.1", "1.2"))


def _job(name: str, **more: Any) -> JobSpec:
    return JobSpec(name, "rel", f"{name}-1", f"{name}-1", f"{name}-digest", {}, **more)


def _release(version: str, package: str) -> Release:
    return Release("rel", version, jobs=(
        _job("app", packages=("tool",), properties=(PropertySpec("port", 80, True), PropertySpec("password"))),
        _job("agent"),
        _job("db", provides=(LinkSpec("db", "sql", ("port",)),), properties=(PropertySpec("port", 5432, True),)),
        _job("client", consumes=(LinkSpec("db", "sql"),)),
    ), packages=(PackageSpec("tool", package, package, f"{package}-digest", ("base",), "blob-tool"),
                 PackageSpec("base", "base-1", "base-1", "base-digest", (), "blob-base")))


RELEASES = (_release("1", "tool-1"), _release("2", "tool-1"), _release("3", "tool-2"))


@dataclasses.dataclass
class World:
    """observed.yml. `instances` are rows such as `web/0@z1 disk ignored bootstrap vip=1.2.3.4 ip=10.0.0.9`; they are settled: what is
    recorded of those that are kept equals what is wanted now. `tweak` changes fields of instances made by before.yml."""

    instances: list[str] = dataclasses.field(default_factory=list)
    tweak: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    taken: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    providers: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    variables: dict[str, Any] = dataclasses.field(default_factory=dict)
    variables_before: dict[str, Any] = dataclasses.field(default_factory=dict)
    trusted_certs: str = ""
    trusted_certs_before: str = ""


def _filled(manifest: dict[str, Any]) -> dict[str, Any]:
    filled = {**copy.deepcopy(DEFAULT_MANIFEST), **manifest}
    filled["update"] = {**DEFAULT_MANIFEST["update"], **manifest.get("update", {})}
    groups = []
    for group in filled["instance_groups"]:
        network = {"networks": [{"name": "default" if group.get("azs") else "flat"}]}
        groups.append({**DEFAULT_GROUP, **network, **group})
    filled["instance_groups"] = groups
    return filled


def _request(manifest: dict[str, Any], cloud: dict[str, Any], world: World, **more: Any) -> Request:
    config = parse_cloud_config([load_yaml(json.dumps({**DEFAULT_CLOUD, **cloud}), "cloud.yml")])
    document = load_yaml(json.dumps(_filled(manifest)), "manifest.yml")
    parsed = parse_manifest(document, config, releases=RELEASES, stemcells=STEMCELLS)
    parsed = dataclasses.replace(parsed, instance_groups=tuple(dataclasses.replace(item, line=None) for item in parsed.instance_groups))
    made = Request(
        parsed, config, RELEASES, STEMCELLS,
        taken=tuple(TakenAddress(**item) for item in world.taken),
        shared_providers=tuple(SharedProvider(**item) for item in world.providers), **more)
    return dataclasses.replace(made, new_ids=tuple(f"new-{n}" for n in range(ids_wanted(made))))


def _resolve(value: Any, variables: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return re.sub(r"\(\((.*?)\)\)", lambda match: str(variables.get(match[1], match[0])), text)


def _digest(variables: dict[str, Any]) -> Any:
    return lambda tree: hashlib.sha256(_resolve(tree, variables).encode()).hexdigest()


def _plan(request: Request, variables: dict[str, Any]) -> tuple[Request, Blueprint, Plan]:
    blueprint = design(request)
    request = dataclasses.replace(request, ids=number(request.ids, blueprint.needs_ids))
    blueprint = design(request)
    rendered = {
        item.spec.id: hashlib.sha256("".join(sorted(
            _resolve([job.name, job.properties, job.links], variables) for job in item.spec.jobs)).encode()).hexdigest()
        for item in blueprint.instances if item.spec.lifecycle == "service"}
    return request, blueprint, decide(blueprint, rendered, resolved=_digest(variables))


def _after(plan: Plan) -> tuple[ObservedInstance, ...]:
    """What is observed when the plan went well. Ids become `GROUP-INDEX`, so that cases read well."""
    return tuple(_settled(change, f"{change.group}-{change.index}") for change in plan.changes if change.spec is not None)


def _settled(change: Change, identity: str) -> ObservedInstance:
    assert change.spec is not None
    spec = dataclasses.replace(change.spec, id=identity)
    wakes = spec.state != "detached" and change.action is not Action.KEEP
    applied = json.loads(json.dumps(record(dataclasses.replace(change, spec=spec)))) if wakes else {}
    disks = tuple(ObservedDisk(f"disk-{identity}", disk.size_mib, disk.cloud_properties, disk.name) for disk in spec.disks)
    return ObservedInstance(
        spec.deployment, spec.group, spec.index, identity, spec.az, spec.bootstrap, state=spec.state,
        vm=ObservedVm(f"vm-{identity}", "stopped" if spec.state == "stopped" else "running") if wakes else None,
        reservations=change.reservations, disks=disks, applied=applied)


_ROW = re.compile(r"(?P<group>[^/]+)/(?P<index>\d+)(@(?P<az>\S+))?(?P<words>.*)")


def _row(text: str) -> ObservedInstance:
    match = _ROW.fullmatch(text)
    assert match is not None, text
    words = match["words"].split()
    values = dict(word.split("=") for word in words if "=" in word)
    index, identity = int(match["index"]), f"{match['group']}-{match['index']}"
    flat = "10.0.0" if match["az"] else "10.1.0"
    ip, kind = values.get("ip", f"{flat}.{50 + index}"), "static" if "static" in words else "dynamic"
    kept = [Reservation("default" if match["az"] else "flat", ip, kind)]
    if "vip" in values:
        kept.append(Reservation("vip", values["vip"], "vip"))
    return ObservedInstance(
        "dep", match["group"], index, identity, match["az"] or "", "bootstrap" in words, "ignored" in words, reservations=tuple(kept),
        vm=ObservedVm(f"vm-{identity}", "running"), disks=(ObservedDisk(f"disk-{identity}", 1024),) if "disk" in words else ())


def _tweaked(instance: ObservedInstance, changes: dict[str, Any]) -> ObservedInstance:
    changes = dict(changes)
    vm = instance.vm
    if changes.pop("no_vm", False):
        vm = None
    elif vm is not None:
        vm = dataclasses.replace(vm, **changes.pop("vm", {}))
    return dataclasses.replace(instance, vm=vm, **changes)


def run(case: Path) -> dict[str, Any]:
    """The answer of a case, in the shape of plan.yml."""
    def read(name: str) -> Any:
        path = case / name
        return yaml.safe_load(path.read_text()) if path.exists() else {}

    world = World(**(read("observed.yml") or {}))
    try:
        return _answer(world, read("manifest.yml"), read("cloud.yml"), read("before.yml"), read("before-cloud.yml") or read("cloud.yml"))
    except CaissonError as error:
        return {"errors": [{**({"code": item.code} if item.code else {}), "text": item.summary} for item in error.diagnostics]}


def _answer(world: World, manifest: Any, cloud: Any, before: Any, before_cloud: Any) -> dict[str, Any]:
    observed, ids = tuple(_row(row) for row in world.instances), Request.ids
    if before:
        first = dataclasses.replace(_request(before, before_cloud, World()), trusted_certs_sha1=world.trusted_certs_before)
        first, _, plan = _plan(first, world.variables_before or world.variables)
        observed, ids = _after(plan), first.ids
        observed = tuple(_tweaked(item, world.tweak.get(f"{item.group}/{item.index}", {})) for item in observed)
    request = _request(
        manifest, cloud, world, observed=observed, ids=ids, first_deploy=not observed,
        options=Options(**{key: tuple(value) if isinstance(value, list) else value for key, value in world.options.items()}),
        trusted_certs_sha1=world.trusted_certs)
    if world.instances:
        request, _, plan = _plan(request, world.variables)
        wanted = {change.id: change for change in plan.changes if change.spec}
        request = dataclasses.replace(request, observed=tuple(
            dataclasses.replace(item, applied=record(wanted[item.id])) if item.id in wanted else item for item in observed))
    _, _, plan = _plan(request, world.variables)
    return _shape(plan)


def _shape(plan: Plan) -> dict[str, Any]:
    answer: dict[str, Any] = {"changes": [_line(change) for change in plan.changes]}
    names = {change.id: str(change.index) for change in plan.changes}
    order = [[_group_line(group, names) for group in run] for run in plan.runs]
    if order:
        answer["order"] = order
    if plan.warnings:
        answer["warnings"] = list(plan.warnings)
    return answer


def _line(change: Change) -> str:
    words = [change.action.value, f"{change.group}/{change.index}{'@' + change.az if change.az else ''}"]
    if change.spec and change.spec.bootstrap:
        words.append("bootstrap")
    if change.spec and change.spec.state != "started":
        words.append(change.spec.state)
    words += [item.ip or item.kind for item in change.reservations if change.spec]
    words += [word for word, holds in (("hot-swap", change.hot_swap), ("disk-change", change.disk_change)) if holds]
    if change.reasons:
        words.append("because " + ", ".join(
            f"{item.kind} [{item.before} -> {item.after}]" if item.before or item.after else item.kind for item in change.reasons))
    return " ".join(words)


def _group_line(group: Any, names: dict[str, str]) -> str:
    parts = [f"delete {' '.join(names[item] for item in group.deletions)} by {group.delete_parallel}"] if group.deletions else []
    for wave in group.waves:
        kind = "canaries" if wave.canary else "then"
        parts.append(f"{kind}{' ' + wave.az if wave.az else ''} {' '.join(names[item] for item in wave.instances)} by {wave.parallel}")
    return f"{group.name}: " + "; ".join(parts)
