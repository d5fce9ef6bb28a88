"""What goes into rendering and what comes out: plain data, no deployment logic. Source: release contract, sections 17 and 20."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from typing import Any

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DnsIds:
    """Stable numbers for DNS query names: AZ, network, group (instance group or link group) and instance uuid -> id."""

    azs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    networks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, int] = dataclasses.field(default_factory=dict)
    instances: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Template:
    """`source` is the name below `templates/` (`*.j2` is Jinja2, everything else ERB), `destination` the path below the job's folder."""

    source: str
    destination: str
    text: str


@dataclasses.dataclass(frozen=True)
class RenderJob:
    """A job on an instance. `properties` and `links` are bound and resolved: no placeholder is left in them.

    `links` maps consumed names to content in the planner's shape (`plan.model.JobPlan.links`); an unresolved optional link is absent.
    `provides` are `{name, type, group}` maps of the job's link providers. `declared` are the property names of the job's spec.
    `extra_monits` maps names such as `worker.monit` to texts.
    """

    name: str
    release: str
    release_version: str
    monit: str = ""
    templates: tuple[Template, ...] = ()
    properties: Tree = dataclasses.field(default_factory=dict)
    links: Mapping[str, Tree] = dataclasses.field(default_factory=dict)
    provides: tuple[Mapping[str, str], ...] = ()
    properties_schema: Mapping[str, Any] | None = None
    declared: tuple[str, ...] = ()
    extra_monits: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RenderRequest:
    """One instance. `networks` maps names to `{ip, netmask, prefix, gateway, dns, type, default, cloud_properties, dns_record_name}`.

    `ip` is '' while unknown. `persistent_disk` is MiB, 0 without a disk, None with named disks.
    """

    deployment: str
    group: str
    index: int
    id: str
    az: str
    bootstrap: bool
    address: str
    ip: str
    jobs: tuple[RenderJob, ...]
    networks: Mapping[str, Tree] = dataclasses.field(default_factory=dict)
    dns_domain: str = "bosh"
    persistent_disk: int | None = 0
    ids: DnsIds = DnsIds()


@dataclasses.dataclass(frozen=True)
class RenderedFile:
    """`destination` is relative to the job's folder; `mode` is 0o750 below `bin/`, else 0o640."""

    source: str
    destination: str
    text: str

    @property
    def mode(self) -> int:
        return 0o750 if self.destination.startswith("bin/") else 0o640

    @property
    def content(self) -> bytes:
        return self.text.encode("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True)
class RenderedJob:
    """Files in order of their source names, `.bosh/links.json` among them; `monit` apart."""

    name: str
    monit: str
    files: tuple[RenderedFile, ...]

    @functools.cached_property
    def template_hash(self) -> str:
        """SHA-1 hex of monit and contents."""
        total = hashlib.sha1(self.monit.encode("utf-8", "surrogateescape"), usedforsecurity=False)
        for file in self.files:
            total.update(file.content)
        return total.hexdigest()


@dataclasses.dataclass(frozen=True)
class RenderedInstance:
    """Jobs in the order of the request. `configuration_hash` changes with anything rendered."""

    id: str
    jobs: tuple[RenderedJob, ...]

    @functools.cached_property
    def configuration_hash(self) -> str:
        """SHA-1 hex over the jobs sorted by name."""
        total = hashlib.sha1(usedforsecurity=False)
        for job in sorted(self.jobs, key=lambda job: job.name):
            total.update(job.monit.encode("utf-8", "surrogateescape") + job.name.encode())
            for file in job.files:
                total.update(file.content + file.destination.encode())
        return total.hexdigest()

    @property
    def template_hashes(self) -> dict[str, str]:
        """Job name -> SHA-1 hex."""
        return {job.name: job.template_hash for job in self.jobs}

    @functools.cached_property
    def archive(self) -> bytes:
        """A gzipped tar of `JOB/monit` and `JOB/DESTINATION`; equal content makes equal bytes."""
        entries = {f"{job.name}/monit": (job.monit.encode("utf-8", "surrogateescape"), 0o640) for job in self.jobs}
        entries.update({f"{job.name}/{file.destination}": (file.content, file.mode) for job in self.jobs for file in job.files})
        packed = io.BytesIO()
        with (
            gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as sink,
            tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive,
        ):
            for name, (content, mode) in sorted(entries.items()):
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), mode
                archive.addfile(info, io.BytesIO(content))
        return packed.getvalue()

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:HEX` of the archive."""
        return "sha256:" + hashlib.sha256(self.archive).hexdigest()
