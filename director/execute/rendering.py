"""Blueprints to files: each instance's jobs with their properties and links filled in, given to the renderer in one batch."""

from __future__ import annotations

import functools
from typing import Any

from director.execute.context import Context
from director.execute.variables import Values, resolve_sleeping
from director.manifest import late
from director.plan import model
from director.plan.settings import UNKNOWN_IP, default_network
from director.release import job as release_job
from director.render.model import DnsIds, RenderedInstance, RenderJob, RenderRequest, Template

Tree = dict[str, Any]


class Rendering:
    """Of one deploy. Raises RenderError with everything that failed."""

    def __init__(self, ctx: Context, blueprint: model.Blueprint, values: Values, ids: model.NumericIds) -> None:
        self._ctx, self._blueprint, self._values = ctx, blueprint, values
        dns_ids = DnsIds(ids.azs, ids.networks, ids.groups, ids.instances)
        self._requests = _Requests(ctx, blueprint.request.manifest.name, values, dns_ids)

    def all(self) -> dict[str, RenderedInstance]:
        """Instance id -> files, for all instances but those of sleeping errand groups, of which only variables are asked for."""
        instances = self._blueprint.instances
        awake = {
            *self._blueprint.request.options.errand_groups,
            *(item.spec.group for item in instances if item.observed is not None and item.observed.vm is not None),
        }
        specs = [item.spec for item in instances if item.spec.lifecycle != "errand" or item.spec.group in awake]
        awake_ids = {spec.id for spec in specs}
        resolve_sleeping(self._values, [item.spec for item in instances if item.spec.id not in awake_ids])
        return {item.id: item for item in self._ctx.renderer.render([self._requests.of(spec) for spec in specs])}

    def one(self, spec: model.InstanceSpec) -> RenderedInstance:
        """The files of one instance, once more: its machine is there now, and with it what only the cloud knew."""
        return self._ctx.renderer.render([self._requests.of(spec)])[0]


class _Requests:
    """Makes render requests; what instances of a group share is filled in once."""

    def __init__(self, ctx: Context, deployment: str, values: Values, ids: DnsIds) -> None:
        self._ctx, self._deployment, self._values, self._ids = ctx, deployment, values, ids
        self._filled: dict[int, tuple[Tree, Tree]] = {}
        self._source = functools.lru_cache(maxsize=None)(self._read)

    def of(self, spec: model.InstanceSpec) -> RenderRequest:
        network = default_network(spec.networks)
        managed = next((disk for disk in spec.disks if not disk.name), None)
        return RenderRequest(
            deployment=spec.deployment, group=spec.group, index=spec.index, id=spec.id, az=spec.az, bootstrap=spec.bootstrap,
            address=spec.address, ip=network.ip if network else "", jobs=tuple(self._job(job) for job in spec.jobs),
            networks={item.network: _settings(item) for item in spec.networks}, dns_domain=spec.dns_domain,
            persistent_disk=None if spec.disks and managed is None else managed.size_mib if managed else 0, ids=self._ids,
        )

    def _job(self, job: model.JobPlan) -> RenderJob:
        source = self._source(job.blob_id, job.name)
        return RenderJob(
            name=job.name, release=job.release, release_version=job.release_version, monit=source.monit,
            templates=tuple(Template(name, destination, source.templates[name]) for name, destination in job.templates.items()),
            properties=self._fill(job.properties), links={name: self._fill(link) for name, link in job.links.items()},
            provides=tuple(job.provides), properties_schema=job.properties_schema,
            declared=tuple(item.name for item in source.spec.properties), extra_monits=source.extra_monits,
        )

    def _fill(self, tree: Tree) -> Tree:
        """Trees are shared by the instances of a group and never changed, so identity tells which are known (the entry keeps it alive)."""
        known = self._filled.get(id(tree))
        if known is None:
            owner = str(tree.get("variables_deployment") or "")
            lookup = self._values.of(owner) if owner and owner != self._deployment else self._values.own
            known = self._filled[id(tree)] = (tree, late.resolve(tree, lookup))
        return known[1]

    def _read(self, blob_id: str, name: str) -> release_job.JobSource:
        return release_job.read_job(self._ctx.blobs.path(blob_id), label=name)


def _settings(network: model.NetworkSettings) -> Tree:
    unknown = network.type == "dynamic" and not network.ip
    return {
        "ip": UNKNOWN_IP if unknown else network.ip,
        "netmask": network.netmask, "prefix": str(network.prefix_length), "gateway": network.gateway,
        "dns": list(network.dns), "type": network.type, "default": list(network.default), "cloud_properties": network.cloud_properties,
        "dns_record_name": network.dns_record_name,
    }
