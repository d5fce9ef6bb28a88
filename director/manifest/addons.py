"""Addons: which instance groups they are for, and their jobs put there. Source: manifest contract, section 9."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from director.diagnostics import did_you_mean
from director.manifest import model
from director.manifest.groups import check_job, colocated, read_links
from director.manifest.reader import Fields
from director.manifest.sources import Sources

JOB_MISSING = 190011
LIFECYCLES = ("service", "errand")


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What placement rules look at beside the group itself."""

    name: str
    teams: Collection[str]
    stemcells: Mapping[str, model.StemcellRef]


@dataclasses.dataclass(frozen=True)
class Filter:
    """A placement rule. An empty key does not count; all keys that count must match."""

    given: frozenset[str] = frozenset()
    stemcells: frozenset[str] = frozenset()
    deployments: frozenset[str] = frozenset()
    jobs: frozenset[tuple[str, str]] = frozenset()
    instance_groups: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    azs: frozenset[str] = frozenset()
    lifecycle: str = ""

    def matches(self, group: model.InstanceGroup, deployment: Deployment) -> bool:
        """Whether every given key has one value that fits the group."""
        stemcell = deployment.stemcells.get(group.stemcell)
        answers = {
            "stemcell": stemcell is not None and stemcell.os in self.stemcells,
            "deployments": deployment.name in self.deployments,
            "jobs": any((job.name, job.release) in self.jobs for job in group.jobs),
            "instance_groups": group.name in self.instance_groups,
            "networks": any(network.name in self.networks for network in group.networks),
            "teams": bool(self.teams & set(deployment.teams)),
            "azs": bool(self.azs & set(group.azs)),
            "lifecycle": group.lifecycle == self.lifecycle,
        }
        return all(answers[key] for key in self.given)


@dataclasses.dataclass(frozen=True)
class Addon:
    """An addon as read; `items` are the sections of its jobs, for places in errors."""

    name: str
    jobs: tuple[model.JobRef, ...]
    items: tuple[Fields, ...]
    include: Filter
    exclude: Filter

    def applies(self, group: model.InstanceGroup, deployment: Deployment) -> bool:
        """An include without keys selects all, an exclude without keys excludes none."""
        excluded = bool(self.exclude.given) and self.exclude.matches(group, deployment)
        return self.include.matches(group, deployment) and not excluded


def read_addons(items: Iterable[Fields], releases: Mapping[str, model.ReleaseRef], *, runtime: bool) -> list[Addon]:
    """The addons of one document. `releases` are that document's."""
    made = []
    for fields in items:
        sections = tuple(fields.items("jobs", "addon_job"))
        jobs = tuple(_job(item, fields) for item in sections)
        for item in sections:
            name, release = item["name"], item["release"]
            if item.good("release") and release not in releases:
                where = "runtime" if runtime else "deployment"
                item.reader.unknown(
                    item.at("release"),
                    f"Manifest specifies job '{name}' which is defined in '{release}', but '{release}' is not "
                    f"listed in the {where} releases section.",
                    530002,
                    release,
                    releases,
                    "releases there",
                )
        include = read_filter(fields.child("include", "placement_rule"), "include", runtime)
        exclude = read_filter(fields.child("exclude", "placement_rule"), "exclude", runtime)
        made.append(Addon(fields["name"], jobs, sections, include, exclude))
    return made


def _job(item: Fields, addon: Fields) -> model.JobRef:
    properties = item["properties"] if item.good("properties") else addon["properties"]
    return model.JobRef(
        item["name"], item["release"], properties, read_links(item, "consumes"), read_links(item, "provides"), (), addon["name"]
    )


def read_filter(fields: Fields | None, kind: str, runtime: bool) -> Filter:
    """An `include` or `exclude`; `runtime` tells a runtime config from a manifest, where deployments and teams have no meaning."""
    if fields is None:
        return Filter()
    place = f"{'runtime' if runtime else 'deployment'} config's {kind} section"
    given = {key for key in ("stemcell", "deployments", "jobs", "instance_groups", "networks", "azs", "lifecycle") if fields[key]}
    if runtime and fields["teams"]:
        given.add("teams")
    if not runtime and fields["deployments"]:
        fields.error("deployments", "Deployment filter is not allowed for deployment level addons.", 530006, "Remove it here.")
        given.discard("deployments")

    lifecycle = fields["lifecycle"]
    if lifecycle and lifecycle not in LIFECYCLES:
        hint = did_you_mean(lifecycle, LIFECYCLES) or f"One of: {', '.join(LIFECYCLES)}."
        fields.reader.warn(fields.at("lifecycle"), f"No instance group has the lifecycle '{lifecycle}': the rule matches none", hint)

    def strings(key: str) -> frozenset[str]:
        return frozenset(fields.reader.strings(fields[key], fields.at(key)))

    return Filter(
        frozenset(given),
        _stemcells(fields, place),
        strings("deployments"),
        _jobs(fields, place),
        strings("instance_groups"),
        strings("networks"),
        strings("teams"),
        strings("azs"),
        fields["lifecycle"] or "",
    )


def _stemcells(fields: Fields, place: str) -> frozenset[str]:
    found = set()
    for item in fields.items("stemcell", "stemcell_filter"):
        if not item["os"]:
            item.reader.error(item.path, f"Stemcell {dict(item.raw)} in {place} must have an os name.", 530005)
        found.add(item["os"] or "")
    return frozenset(found)


def _jobs(fields: Fields, place: str) -> frozenset[tuple[str, str]]:
    found = set()
    for item in fields.items("jobs", "job_filter"):
        if not item["name"] or not item["release"]:
            item.reader.error(item.path, f"Job {dict(item.raw)} in {place} must have both name and release.", 530004)
        found.add((item["name"] or "", item["release"] or ""))
    return frozenset(found)


def apply_addon(
    addon: Addon, groups: Sequence[model.InstanceGroup], deployment: Deployment, releases: Mapping[str, model.ReleaseRef], sources: Sources
) -> tuple[list[model.InstanceGroup], bool]:
    """The groups with the addon's jobs where it applies, and whether it applied anywhere."""
    applied = [addon.applies(group, deployment) for group in groups]
    if not any(applied):
        return list(groups), False
    for item, job in zip(addon.items, addon.jobs, strict=True):
        ref = releases.get(job.release)
        if ref is not None:
            check_job(item, job.name, ref, sources, JOB_MISSING, f"Can't find job '{job.name}'")
    return [_with_jobs(group, addon) if fits else group for group, fits in zip(groups, applied, strict=True)], True


def _with_jobs(group: model.InstanceGroup, addon: Addon) -> model.InstanceGroup:
    jobs = list(group.jobs)
    for item, job in zip(addon.items, addon.jobs, strict=True):
        other = next((existing for existing in jobs if existing.name == job.name), None)
        if other is not None:
            source = f"addon '{other.from_addon}'" if other.from_addon else "the instance group itself"
            item.error(
                "name", colocated(job.name, group.name), 140010, f"It is there by {source}; exclude the group from addon '{addon.name}'."
            )
            continue
        jobs.append(job)
    return dataclasses.replace(group, jobs=tuple(jobs))
