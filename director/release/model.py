"""What a release holds, as values. Source: the release contract, sections 1 to 9."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class PropertySpec:
    """A declared property of a job. `has_default` tells a default of null from no default."""

    name: str
    default: Any = None
    has_default: bool = False
    description: str = ""


@dataclasses.dataclass(frozen=True)
class LinkSpec:
    """One entry of `provides` or `consumes`. `properties` belong to providers, `optional` to consumers."""

    name: str
    type: str
    properties: tuple[str, ...] = ()
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class JobSpec:
    """A job of a release version. `templates` maps source names (`nginx.conf.erb`) to destinations (`config/nginx.conf`).

    `digest` is that of the job's archive, `sha1` hex or `sha256:` hex; `version` is the reference's job version text
    (equal to the fingerprint for releases made by current tools).
    """

    name: str
    release: str
    version: str
    fingerprint: str
    digest: str
    templates: Mapping[str, str]
    packages: tuple[str, ...] = ()
    properties: tuple[PropertySpec, ...] = ()
    provides: tuple[LinkSpec, ...] = ()
    consumes: tuple[LinkSpec, ...] = ()
    properties_schema: Mapping[str, Any] | None = None
    blob_id: str = ""

    @property
    def is_errand(self) -> bool:
        """Whether `run-errand NAME` finds it: one of its templates becomes `bin/run`."""
        return any(destination in ("bin/run", "bin/run.ps1") for destination in self.templates.values())


@dataclasses.dataclass(frozen=True)
class PackageSpec:
    """A package of a release version; `dependencies` are names of packages of the same release, direct ones only.

    `blob_id` is empty when only compiled forms are known.
    """

    name: str
    version: str
    fingerprint: str
    digest: str
    dependencies: tuple[str, ...] = ()
    blob_id: str = ""


@dataclasses.dataclass(frozen=True)
class CompiledPackageSpec:
    """A package as a compiled release carries it; `stemcell` is `OS/VERSION`."""

    name: str
    version: str
    fingerprint: str
    digest: str
    stemcell: str
    dependencies: tuple[str, ...] = ()
    blob_id: str = ""


@dataclasses.dataclass(frozen=True)
class Release:
    """One version of a release."""

    name: str
    version: str
    commit_hash: str = "unknown"
    uncommitted_changes: bool = False
    jobs: tuple[JobSpec, ...] = ()
    packages: tuple[PackageSpec, ...] = ()
    compiled_packages: tuple[CompiledPackageSpec, ...] = ()

    def job(self, name: str) -> JobSpec | None:
        return next((job for job in self.jobs if job.name == name), None)

    def package(self, name: str) -> PackageSpec | None:
        return next((package for package in self.packages if package.name == name), None)


@dataclasses.dataclass(frozen=True)
class Stemcell:
    """An uploaded stemcell on one CPI. `cid` is that CPI's image."""

    name: str
    version: str
    os: str
    cid: str = ""
    cpi: str = ""
    api_version: int = 3
    cloud_properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
