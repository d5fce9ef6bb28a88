"""What of a runtime config concerns a deployment: addons that are put on none of its instance groups are left out of differences.

Reads manifests that may be wrong: what cannot be read is taken to apply. Source: planning contract, section 22; manifest contract, 14.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from director.diagnostics import Diagnostics
from director.manifest import addons, model
from director.manifest.load import Document
from director.manifest.reader import Reader
from director.manifest.sources import Sources, read_releases


def applicable(runtime: Document, manifest: Any, *, teams: Collection[str] = (), os_of: Mapping[str, str] | None = None) -> Document:
    """The runtime config without addons that apply nowhere in the manifest's tree, and without releases that only those use.

    `os_of` maps names of stemcells to their operating system, for manifests that name stemcells.
    """
    tree = runtime.tree
    if not isinstance(tree, dict) or not isinstance(tree.get("addons"), list) or not isinstance(manifest, dict):
        return runtime
    report = Diagnostics()
    fields = Reader(runtime, report).fields("runtime_config", tree, ())
    if fields is None:
        return runtime
    releases = read_releases(list(fields.items("releases", "release")), Sources(None, None), runtime=True)
    found = addons.read_addons(fields.items("addons", "addon"), {item.name: item for item in releases}, runtime=True)
    if report.errors or len(found) != len(tree["addons"]):
        return runtime
    deployment = addons.Deployment(str(manifest.get("name", "")), teams, _stemcells(manifest, os_of or {}))
    groups = [_group(item) for item in _maps(manifest.get("instance_groups"))]
    kept = [any(addon.applies(group, deployment) for group in groups) for addon in found]
    if all(kept):
        return runtime
    used = {job.release for addon, fits in zip(found, kept, strict=True) if fits for job in addon.jobs}
    made = {**tree, "addons": [item for item, fits in zip(tree["addons"], kept, strict=True) if fits]}
    if isinstance(tree.get("releases"), list):
        made["releases"] = [item for item in tree["releases"] if str(item.get("name")) in used]
    return runtime.replaced({key: value for key, value in made.items() if value != []})


def _group(tree: Mapping[Any, Any]) -> model.InstanceGroup:
    """As much of it as placement rules look at."""
    return model.InstanceGroup(
        str(tree.get("name", "")), 0, str(tree.get("stemcell", "")),
        tuple(model.JobRef(str(job.get("name")), str(job.get("release"))) for job in _maps(tree.get("jobs"))),
        tuple(model.GroupNetwork(str(network.get("name"))) for network in _maps(tree.get("networks"))),
        str(tree.get("lifecycle") or "service"), tuple(map(str, tree["azs"])) if isinstance(tree.get("azs"), list) else ())


def _stemcells(manifest: Mapping[Any, Any], os_of: Mapping[str, str]) -> dict[str, model.StemcellRef]:
    return {
        str(item.get("alias")): model.StemcellRef(
            str(item.get("alias")), str(item.get("version", "")), str(item.get("os") or os_of.get(str(item.get("name")), "")))
        for item in _maps(manifest.get("stemcells"))
    }


def _maps(value: Any) -> Iterable[Mapping[Any, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
