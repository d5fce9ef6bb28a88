"""Blueprints to files: each instance's jobs with their properties and links filled in, given to the renderer in one batch."""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import director
from director.execute.context import Context
from director.execute.variables import Values, resolve_sleeping
from director.manifest import late
from director.plan import model
from director.plan.settings import UNKNOWN_IP, default_network
from director.release import job as release_job
from director.render.model import DnsIds, RenderedInstance, RenderJob, RenderRequest, Template
from director.render.renderer import Batch

Tree = dict[str, Any]

INPUTS = "rendered_from"
KEPT = 64
"""Instances whose files are held, for machines that are being updated: more than are at a time."""


class Rendered:
    """Files of instances. What an instance's templates see is digested first; where that is what it was when the instance was applied
    last, the recorded hash is right and nothing is rendered until somebody needs the files."""

    def __init__(self, ctx: Context, specs: Sequence[model.InstanceSpec], batch: Batch, observed: Mapping[str, model.Tree]) -> None:
        """`observed` is what was applied to instances. Raises RenderError with everything that failed."""
        self._batch = batch
        self._numbers = {spec.id: number for number, spec in enumerate(specs)}
        self._inputs = {spec.id: _signed(ctx, digest) for spec, digest in zip(specs, batch.inputs, strict=True)}
        self._again: dict[str, RenderedInstance] = {}
        self._digests: dict[str, str] = {}
        self._files = functools.lru_cache(maxsize=KEPT)(self._render)
        self._hashes = {
            id: str(applied["configuration_hash"]) for id, applied in observed.items()
            if applied.get("configuration_hash") and applied.get(INPUTS) == self._inputs.get(id)
        }
        unknown = [number for id, number in self._numbers.items() if id not in self._hashes]
        self._hashes |= {instance.id: instance.configuration_hash for instance in batch.render(unknown)}

    @property
    def hashes(self) -> dict[str, str]:
        """Instance id -> configuration hash."""
        return dict(self._hashes)

    def of(self, id: str) -> RenderedInstance:
        """The files. Raises KeyError for an instance that sleeps."""
        instance = self._again.get(id) or self._files(id)
        self._digests[instance.digest] = id
        return instance

    def replace(self, instance: RenderedInstance) -> None:
        """It was rendered again, with what was not known before; nobody may rely on what its templates saw then."""
        self._inputs.pop(instance.id, None)
        self._again[instance.id] = instance
        self._hashes[instance.id] = instance.configuration_hash

    def archive(self, digest: str) -> bytes | None:
        """The archive with that digest (bare hex), of an instance whose files somebody asked for."""
        id = self._digests.get(f"sha256:{digest}")
        return None if id is None else self.of(id).archive

    def remembered(self, id: str, applied: Mapping[str, Any]) -> Tree:
        """What to store of an instance with its hash, so that the next deploy may skip rendering it."""
        known = id in self._inputs and applied.get("configuration_hash") == self._hashes.get(id)
        return {**applied, INPUTS: self._inputs[id]} if known else dict(applied)

    def _render(self, id: str) -> RenderedInstance:
        (instance,) = self._batch.render([self._numbers[id]])
        return instance


class Rendering:
    """Of one deploy. Raises RenderError with everything that failed."""

    def __init__(self, ctx: Context, blueprint: model.Blueprint, values: Values, ids: model.NumericIds) -> None:
        self._ctx, self._blueprint, self._values = ctx, blueprint, values
        dns_ids = DnsIds(ids.azs, ids.networks, ids.groups, ids.instances)
        self._requests = _Requests(ctx, blueprint.request.manifest.name, values, dns_ids)

    def all(self) -> Rendered:
        """All instances but those of sleeping errand groups, of which only variables are asked for."""
        instances = self._blueprint.instances
        awake = {
            *self._blueprint.request.options.errand_groups,
            *(item.spec.group for item in instances if item.observed is not None and item.observed.vm is not None),
        }
        specs = [item.spec for item in instances if item.spec.lifecycle != "errand" or item.spec.group in awake]
        awake_ids = {spec.id for spec in specs}
        resolve_sleeping(self._values, [item.spec for item in instances if item.spec.id not in awake_ids])
        applied = {item.spec.id: item.observed.applied for item in instances if item.observed is not None}
        return Rendered(self._ctx, specs, self._ctx.renderer.batch([self._requests.of(spec) for spec in specs]), applied)

    def one(self, spec: model.InstanceSpec) -> RenderedInstance:
        """The files of one instance, once more: its machine is there now, and with it what only the cloud knew."""
        return self._ctx.renderer.render([self._requests.of(spec)])[0]


def _signed(ctx: Context, digest: str) -> str:
    """Keyed, so that what is stored tells nothing about a short secret; another version of the director may render otherwise."""
    return hmac.new(ctx.director.secret, f"{director.__version__} {digest}".encode(), hashlib.sha256).hexdigest()


class _Requests:
    """Makes render requests; what instances of a group share is filled in once."""

    def __init__(self, ctx: Context, deployment: str, values: Values, ids: DnsIds) -> None:
        self._ctx, self._deployment, self._values, self._ids = ctx, deployment, values, ids
        self._filled: dict[int, tuple[Tree, Tree]] = {}
        self._jobs: dict[int, tuple[model.JobPlan, RenderJob]] = {}
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
        """Plans of jobs are shared by the instances of a group: so is what is made of them."""
        if id(job) not in self._jobs:
            self._jobs[id(job)] = (job, self._made(job))
        return self._jobs[id(job)][1]

    def _made(self, job: model.JobPlan) -> RenderJob:
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
