"""Where in the manifest, or in which config, the cause of a reason stands: the line that an operator would look at first.

Source: planning contract, section 7; design, promise 6.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from director.manifest.load import Document, Path
from director.plan.model import Change, Plan, Reason

_DISK_KEYS = ("persistent_disk_type", "persistent_disk_pool", "persistent_disk", "persistent_disks")
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
Found = tuple[Document, Path] | None


def located(plan: Plan, manifest: Document, runtime: Sequence[Document] = (), cloud: Sequence[Document] = ()) -> Plan:
    """The plan with file and line of each reason that has a place. What has none keeps the line of its group, in the manifest.

    `cloud` are the cloud configs when they are others than at the last success: only then they can be the cause.
    """
    places = _Places(manifest, runtime, cloud)
    return dataclasses.replace(plan, changes=tuple(
        dataclasses.replace(change, reasons=tuple(places.of(change, reason) for reason in change.reasons)) if change.reasons else change
        for change in plan.changes))


class _Places:
    """Reasons of a group's instances are mostly alike, so each place is looked up once."""

    def __init__(self, manifest: Document, runtime: Sequence[Document], cloud: Sequence[Document]) -> None:
        self._manifest, self._runtime, self._cloud = manifest, runtime, cloud
        groups = manifest.tree.get("instance_groups") if isinstance(manifest.tree, dict) else ()
        self._groups: dict[str, int] = {
            str(group.get("name")): place for place, group in enumerate(groups or ()) if isinstance(group, dict)}
        self._known: dict[tuple[object, ...], Reason] = {}

    def of(self, change: Change, reason: Reason) -> Reason:
        releases = tuple(job.release for job in change.spec.jobs) if change.spec else ()
        stemcell = change.spec.stemcell_name if change.spec else ""
        key = (change.group, change.az, reason, releases, stemcell)
        if key not in self._known:
            found = _FINDERS[reason.kind](self, change, reason) if reason.kind in _FINDERS else None
            document, path = found or (self._manifest, ())
            line = document.line(path) if found else reason.line
            self._known[key] = dataclasses.replace(reason, line=line, file=document.file if line is not None else "")
        return self._known[key]

    def group(self, change: Change, *inside: str | int) -> Found:
        """A place in the instance group, or the group itself when it has no such key."""
        place = self._groups.get(change.group)
        if place is None:
            return None
        path: Path = ("instance_groups", place)
        tree = self._manifest.tree["instance_groups"][place]
        return (self._manifest, (*path, *inside)) if not inside or _has(tree, inside[0]) else (self._manifest, path)

    def configuration(self, change: Change, reason: Reason) -> Found:
        """The property that differs: in the group's job, or in the addon that brought the job."""
        steps = _steps(reason.paths[0]) if reason.paths else ()
        if not steps:
            return self.group(change, "jobs")
        for document, path, job in self._jobs(change):
            if str(job.get("name")) == steps[0]:
                return document, (*path, "properties", *steps[1:])
        return self.group(change, "jobs")

    def job(self, change: Change, reason: Reason) -> Found:
        """A new job's own place; the release whose version brought another content; a group that was renamed."""
        if change.migrated_from:
            return self.group(change, "migrated_from")
        if change.spec is None:
            return None
        before = {name for name, _ in _names(reason.before)}
        for name, _ in _names(reason.after):
            if name not in before:
                found = next(((document, path) for document, path, job in self._jobs(change) if str(job.get("name")) == name), None)
                return found or self.group(change, "jobs")
        owners = {job.name: job.release for job in change.spec.jobs}
        return self.release(next((owners[name] for name, _ in _names(reason.after) if name in owners), "")) or self.group(change, "jobs")

    def packages(self, change: Change, reason: Reason) -> Found:
        owners = {item.name: item.release for item in change.spec.packages} if change.spec else {}
        return self.release(next((owners[name] for name, _ in _names(reason.after) if name in owners), "")) or self.group(change, "jobs")

    def release(self, name: str) -> Found:
        return _listed((self._manifest, *self._runtime), "releases", "name", name, "version") if name else None

    def stemcell(self, change: Change, reason: Reason) -> Found:
        alias = str(self._tree(change).get("stemcell"))
        return _listed((self._manifest,), "stemcells", "alias", alias, "version") or self.group(change, "stemcell")

    def env(self, change: Change, reason: Reason) -> Found:
        return self.group(change, "env", *(_steps(reason.paths[0]) if reason.paths else ()))

    def tags(self, change: Change, reason: Reason) -> Found:
        return (self._manifest, ("tags", *_steps(reason.paths[0]))) if reason.paths and _has(self._manifest.tree, "tags") else None

    def machine(self, change: Change, reason: Reason) -> Found:
        """The property in a new cloud config, where it has it; else what the group says of its machines."""
        group = self._tree(change)
        extensions = group.get("vm_extensions") or ()
        sources = [("vm_types", group.get("vm_type")), *(("vm_extensions", name) for name in extensions), ("azs", change.az)]
        steps = _steps(reason.paths[0]) if reason.paths else ()
        for section, name in sources:
            entry = _listed(self._cloud, section, "name", str(name), "cloud_properties")
            if entry is not None and steps and _reaches(entry[0].tree, (*entry[1], *steps)):
                return entry[0], (*entry[1], *steps)
        return self._first(change, ("vm_type", "vm_resources", "vm_extensions"))

    def network(self, change: Change, reason: Reason) -> Found:
        """The network in a new cloud config, when its settings differ; else the group's networks."""
        names = {_steps(path)[0] for path in reason.paths}
        found = (_listed(self._cloud, "networks", "name", str(name), "subnets") for name in sorted(names, key=str))
        return next((place for place in found if place is not None), None) or self.group(change, "networks")

    def disk(self, change: Change, reason: Reason) -> Found:
        """The disk type in a new cloud config, else what the group says of its disk."""
        name = str(self._tree(change).get("persistent_disk_type"))
        return _listed(self._cloud, "disk_types", "name", name, "disk_size") or self._first(change, _DISK_KEYS)

    def obsolete(self, change: Change, reason: Reason) -> Found:
        return self.group(change, "azs" if reason.paths == ("azs",) else "instances")

    def _tree(self, change: Change) -> Mapping[str, Any]:
        place = self._groups.get(change.group)
        tree: Mapping[str, Any] = self._manifest.tree["instance_groups"][place] if place is not None else {}
        return tree

    def _first(self, change: Change, keys: Iterable[str]) -> Found:
        tree = self._tree(change)
        return self.group(change, *[key for key in keys if _has(tree, key)][:1])

    def _jobs(self, change: Change) -> Iterable[tuple[Document, Path, Mapping[str, Any]]]:
        """The jobs of the group as they are written, then those of addons."""
        place = self._groups.get(change.group)
        if place is not None:
            yield from _maps(self._manifest, ("instance_groups", place, "jobs"))
        for document in (self._manifest, *self._runtime):
            for _, path, _ in _maps(document, ("addons",)):
                yield from _maps(document, (*path, "jobs"))


_FINDERS: Mapping[str, Callable[[_Places, Change, Reason], Found]] = {
    "configuration": _Places.configuration, "job": _Places.job, "packages": _Places.packages, "stemcell": _Places.stemcell,
    "env": _Places.env, "tags": _Places.tags, "cloud_properties": _Places.machine, "persistent_disk": _Places.disk,
    "network": _Places.network,
    "new": lambda places, change, _: places.group(change, "instances"), "obsolete": _Places.obsolete,
}


def _maps(document: Document, path: Path) -> Iterable[tuple[Document, Path, Mapping[str, Any]]]:
    node = document.tree
    for step in path:
        node = node.get(step) if isinstance(node, dict) else node[step] if isinstance(node, list) and isinstance(step, int) else None
    for place, item in enumerate(node if isinstance(node, list) else ()):
        if isinstance(item, dict):
            yield document, (*path, place), item


def _listed(documents: Iterable[Document], section: str, key: str, name: str, inside: str) -> Found:
    for document in documents:
        for _, path, item in _maps(document, (section,)):
            if str(item.get(key)) == name:
                return document, (*path, inside)
    return None


def _reaches(tree: Any, path: Path) -> bool:
    for step in path:
        known = step in tree if isinstance(tree, dict) else isinstance(tree, list) and isinstance(step, int) and 0 <= step < len(tree)
        if not known:
            return False
        tree = tree[step]
    return True


def _has(tree: Any, key: str | int) -> bool:
    return isinstance(tree, dict) and key in tree


def _steps(path: str) -> Path:
    """`a.b[0].c` as the steps of a document's path."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(path))


def _names(text: str) -> list[tuple[str, str]]:
    """`a/1, b/2` as pairs."""
    return [(name, version) for name, _, version in (item.partition("/") for item in text.split(", ") if item)]
