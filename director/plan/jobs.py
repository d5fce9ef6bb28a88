"""What the groups' jobs are: looked up in releases, properties bound, packages gathered. Source: release contract, section 16."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from director.diagnostics import Diagnostics, Where, did_you_mean
from director.manifest.model import InstanceGroup, JobRef
from director.plan.bind import bind
from director.plan.model import JobPlan, PackageRef, Request, Tree
from director.plan.packages import ReleasePackages, Use, check_collisions, check_sources, group_packages, packages_of
from director.release.model import JobSpec, Stemcell

_UNKNOWN_RELEASE = 140002
_UNKNOWN_STEMCELL = 140005
_UNKNOWN_JOB = 140029


@dataclasses.dataclass(frozen=True)
class BoundJob:
    """A job of a group with its spec; `plan` lacks links."""

    ref: JobRef
    spec: JobSpec
    plan: JobPlan


@dataclasses.dataclass(frozen=True)
class GroupJobs:
    """Shared by all instances of a group."""

    jobs: tuple[BoundJob, ...]
    packages: tuple[PackageRef, ...]
    stemcell: Stemcell


class Catalog:
    """Releases and stemcells by the names that the manifest uses."""

    def __init__(self, request: Request, report: Diagnostics) -> None:
        self._request = request
        self._report = report
        self._packages: Mapping[str, ReleasePackages] = packages_of(request.manifest.releases, request.releases)
        self._jobs = {(name, job.name): job for name, item in self._packages.items() for job in item.release.jobs}
        self._stemcells = self._find_stemcells()
        self._used: dict[str, Use] = {}

    def group_jobs(self, group: InstanceGroup) -> GroupJobs:
        """Everything of a group that does not differ between its instances, but links."""
        where = Where(line=group.line, path=f"instance_groups/{group.name}")
        stemcell = self._stemcells.get(group.stemcell)
        if stemcell is None:
            self._report.add(
                f"Instance group '{group.name}' references an unknown stemcell '{group.stemcell}'", where=where, code=_UNKNOWN_STEMCELL,
                suggestion=did_you_mean(group.stemcell, self._stemcells))
            stemcell = Stemcell(group.stemcell, "", "")
        bound = []
        for ref in group.jobs:
            spec = self._job(group, ref, where)
            if spec is not None:
                at_job = Where(line=group.line, path=f"instance_groups/{group.name}/jobs/{ref.name}")
                properties = bind(spec, ref.properties, self._report, at_job)
                bound.append(BoundJob(ref, spec, self._plan(ref, spec, properties)))
        specs = [item.spec for item in bound]
        check_collisions(group, specs, self._packages, self._report)
        text = f"{stemcell.os}/{stemcell.version}"
        for spec in specs:
            self._used.setdefault(spec.release, Use(self._packages[spec.release])).add(text, spec.packages)
        return GroupJobs(tuple(bound), group_packages(specs, self._packages, text), stemcell)

    def check(self) -> None:
        """What can be told only when all groups were looked at."""
        check_sources(self._used.values(), self._report)

    def _job(self, group: InstanceGroup, ref: JobRef, where: Where) -> JobSpec | None:
        packages = self._packages.get(ref.release)
        if packages is None:
            self._report.add(
                f"Job '{ref.name}' (instance group '{group.name}') references an unknown release '{ref.release}'", where=where,
                code=_UNKNOWN_RELEASE, suggestion=did_you_mean(ref.release, self._packages))
            return None
        spec = self._jobs.get((ref.release, ref.name))
        if spec is None:
            self._report.add(
                f"Job '{ref.name}' not found in release '{ref.release}'", where=where, code=_UNKNOWN_JOB,
                suggestion=did_you_mean(ref.name, [job.name for job in packages.release.jobs]))
            return None
        return spec if spec.release == ref.release else dataclasses.replace(spec, release=ref.release)

    def _plan(self, ref: JobRef, spec: JobSpec, properties: Tree) -> JobPlan:
        return JobPlan(
            ref.name, ref.release, self._packages[ref.release].release.version, spec.version, spec.fingerprint, spec.digest, spec.blob_id,
            spec.packages, spec.templates, properties, properties_schema=spec.properties_schema)

    def _find_stemcells(self) -> dict[str, Stemcell]:
        """By alias. Of the same stemcell on several CPIs any one will do: the image is chosen per AZ when a machine is made."""
        by_name = {(item.name, item.version): item for item in self._request.stemcells}
        by_os = {(item.os, item.version): item for item in self._request.stemcells}
        found = {}
        for ref in self._request.manifest.stemcells:
            stemcell = by_name.get((ref.name, ref.version)) if ref.name else by_os.get((ref.os, ref.version))
            if stemcell is not None:
                found[ref.alias] = stemcell
        return found
