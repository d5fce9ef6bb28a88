"""Small worlds for planner tests: a manifest, a cloud config, releases, and what was deployed before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from director.manifest import model as m
from director.plan.changes import record
from director.plan.decide import decide
from director.plan.design import design, ids_wanted, number
from director.plan.model import (
    Action,
    Blueprint,
    NumericIds,
    ObservedDisk,
    ObservedInstance,
    ObservedVm,
    Options,
    PlacedInstance,
    Plan,
    Request,
    Reservation,
)
from director.release import model as r

STEMCELL = r.Stemcell("linux", "1.1", "debian", "image-1")


def job(name: str = "app", **more: Any) -> r.JobSpec:
    defaults: dict[str, Any] = {
        "release": "rel", "version": f"{name}-1", "fingerprint": f"{name}-1", "digest": f"{name}-d", "templates": {}, "packages": ()}
    return r.JobSpec(name=name, **{**defaults, **more})


def release(*jobs: r.JobSpec, packages: Iterable[r.PackageSpec] = (), name: str = "rel", **more: Any) -> r.Release:
    return r.Release(name, "1", jobs=jobs or (job(),), packages=tuple(packages), **more)


def package(name: str, *dependencies: str, version: str = "") -> r.PackageSpec:
    return r.PackageSpec(name, version or f"{name}-1", version or f"{name}-1", f"{name}-d", dependencies, f"blob-{name}")


def ref(name: str = "app", **more: Any) -> m.JobRef:
    return m.JobRef(name, more.pop("release", "rel"), **more)


def group(name: str = "web", instances: int = 1, **more: Any) -> m.InstanceGroup:
    defaults: dict[str, Any] = {"stemcell": "d", "jobs": (ref(),), "networks": (m.GroupNetwork("default", default=("dns", "gateway")),)}
    return m.InstanceGroup(name, instances, **{**defaults, **more})


def subnet(range: str = "10.0.0.0/24", *azs: str, **more: Any) -> m.Subnet:
    return m.Subnet(range, range.rsplit(".", 1)[0] + ".1", azs=azs, **more)


def cloud(*networks: m.NetworkDefinition, azs: Iterable[str] = (), **more: Any) -> m.CloudConfig:
    azs = tuple(azs)
    return m.CloudConfig(
        networks or (m.NetworkDefinition("default", subnets=(subnet("10.0.0.0/16", *azs),)),), m.Compilation(2, "default"),
        tuple(m.Az(name) for name in azs), **more)


def request(
    *groups: m.InstanceGroup, cloud_config: m.CloudConfig | None = None, releases: Iterable[r.Release] = (), **more: Any,
) -> Request:
    """Keywords that a Manifest has go there, the others to the Request."""
    releases = tuple(releases) or (release(),)
    known = {item.name for item in dataclasses.fields(m.Manifest)}
    manifest = m.Manifest(
        more.pop("name", "dep"), tuple(more.pop("refs", ()) or (m.ReleaseRef(item.name, item.version) for item in releases)),
        (m.StemcellRef("d", "1.1", os="debian"),), m.UpdatePolicy(), groups,
        **{key: more.pop(key) for key in list(more) if key in known - {"releases", "stemcells"}})
    made = Request(manifest, cloud_config or cloud(), releases, more.pop("stemcells", (STEMCELL,)), **more)
    return dataclasses.replace(made, new_ids=tuple(f"id-{n}" for n in range(ids_wanted(made))))


def designed(made: Request) -> Blueprint:
    """With numbers assigned, as a caller does."""
    blueprint = design(made)
    if blueprint.needs_ids:
        blueprint = design(dataclasses.replace(made, ids=number(made.ids, blueprint.needs_ids)))
    return blueprint


def hashes(blueprint: Blueprint) -> dict[str, str]:
    """What rendering gives when a template prints every property, and all that it can see of links."""
    def text(item: PlacedInstance) -> str:
        return json.dumps(sorted([one.name, one.properties, visible(one.links), one.fingerprint] for one in item.spec.jobs), default=str)

    return {item.spec.id: text(item) for item in blueprint.instances if item.spec.lifecycle != "errand"}


def visible(links: dict[str, Any]) -> dict[str, Any]:
    """Instances, properties and addresses of links; not the list of networks, which templates cannot reach."""
    return {name: {key: value for key, value in content.items() if key != "networks"} for name, content in sorted(links.items())}


def planned(made: Request, **more: Any) -> Plan:
    blueprint = designed(made)
    return decide(blueprint, hashes(blueprint), **more)


def applied(made: Request, plan: Plan | None = None, **more: Any) -> tuple[tuple[ObservedInstance, ...], NumericIds]:
    """What is observed after the plan was carried out: everything went well, states went through JSON as in a store."""
    blueprint = designed(made)
    plan = plan or decide(blueprint, hashes(blueprint), **more)
    after = []
    for change in plan.changes:
        if change.spec is None:
            continue
        spec, old = change.spec, change.observed
        if old is not None and old.ignored:
            after.append(old)
            continue
        vm = old.vm if old else None
        if change.replaces_vm:
            vm = ObservedVm(f"vm-{spec.id}", "stopped" if spec.state == "stopped" else "running")
        elif spec.state == "detached" or vm is None:
            vm = None
        else:
            vm = dataclasses.replace(vm, agent_state="stopped" if spec.state == "stopped" else "running")
        disks = tuple(ObservedDisk(f"disk-{spec.id}-{disk.name}-{disk.size_mib}", disk.size_mib, disk.cloud_properties, disk.name)
                      for disk in spec.disks) if vm or (old and old.disks) else ()
        stored = json.loads(json.dumps(record(change))) if vm or (old and old.applied) else {}
        after.append(ObservedInstance(
            spec.deployment, spec.group, spec.index, spec.id, spec.az, spec.bootstrap, state=spec.state, vm=vm,
            reservations=change.reservations, disks=disks, applied=stored))
    return tuple(after), number(made.ids, design(made).needs_ids)


def again(made: Request, **changes: Any) -> Request:
    """The same request after it was applied, with something changed."""
    observed, ids = applied(made)
    return dataclasses.replace(made, observed=observed, ids=ids, first_deploy=False,
                               new_ids=tuple(f"next-{n}" for n in range(50)), **changes)


def actions(plan: Plan) -> dict[str, str]:
    """`group/index` -> action, without what is kept."""
    return {f"{change.group}/{change.index}": change.action.value for change in plan.changes if change.action is not Action.KEEP}


def kinds(plan: Plan) -> dict[str, list[str]]:
    return {f"{change.group}/{change.index}": [reason.kind for reason in change.reasons] for change in plan.changes if change.reasons}


def recorded(index: int, az: str = "", *, name: str = "web", disk: bool = False, **more: Any) -> ObservedInstance:
    """An instance row with a running machine."""
    identity = more.pop("id", f"{name}-{index}")
    return ObservedInstance(
        "dep", name, index, identity, az, vm=more.pop("vm", ObservedVm(f"vm-{identity}", "running")),
        reservations=more.pop("reservations", (Reservation("default", f"10.0.9.{index + 10}", "dynamic"),)),
        disks=(ObservedDisk(f"disk-{identity}", 100),) if disk else (), **more)


def options(**more: Any) -> Options:
    return Options(**more)
