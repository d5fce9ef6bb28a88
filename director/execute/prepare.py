"""A manifest becomes a Plan with everything needed to do it: parsed, placed, linked, rendered, compared.

`prepare(..., write=False)` is the preview: it reads and computes, and writes nothing at all; variables that do not exist yet and
numbers for DNS names are made up in memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from director.diagnostics import folded, in_file
from director.errors import ManifestError, NotFoundError, PlanError
from director.execute import cloud_uses, networks, observe, rendering, specs, variables
from director.execute.context import Context
from director.execute.steps.create_vm import VmWish, wish_of
from director.manifest import cloud_config, late, load, parse
from director.manifest.configs import check_cpis
from director.manifest.model import CloudConfig, Manifest
from director.plan import causes, changes, decide, design, ids_wanted, lines, model, number, settings
from director.state.addresses import AddressRow
from director.state.compiled_packages import CompiledPackageRow
from director.state.instances import InstanceRow
from director.state.vms import VmRow
from director.variables import Lookup

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a deploy was given: the manifest's text, options for the planner, ids of pinned configs (none: the current ones), states that
    were asked for (`GROUP` or `GROUP/INDEX-OR-UUID` -> started, stopped, detached, restart, recreate), the file to name in errors, and
    where the values of variables come from. `foreseen_ids` are uuids for new instances and `foreseen_numbers` (kind, key, number) of DNS
    names that a preview showed before."""

    manifest: str
    options: model.Options = model.Options()
    cloud_config_ids: tuple[int, ...] = ()
    runtime_config_ids: tuple[int, ...] = ()
    states: Mapping[str, str] = dataclasses.field(default_factory=dict)
    file: str = "manifest.yml"
    variables: variables.Manner = variables.NEWEST
    foreseen_ids: tuple[str, ...] = ()
    foreseen_numbers: tuple[tuple[str, str, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Configs:
    """The cloud and runtime configs that a deploy uses, in order."""

    cloud: tuple[load.Document, ...]
    runtime: tuple[load.Document, ...]
    cloud_ids: tuple[int, ...]
    runtime_ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A plan, and what doing it needs. `settled` are specs of instances with what was known only when their machines were there, `made_up`
    numbers of DNS names that a preview made up, as (kind, key, number). `notes` are warnings of cloud properties and variables."""

    wanted: Wanted
    configs: Configs
    document: load.Document
    manifest: Manifest
    cloud: CloudConfig
    blueprint: model.Blueprint
    plan: model.Plan
    rendered: rendering.Rendered
    rendering: rendering.Rendering = dataclasses.field(repr=False)
    lookup: Lookup = dataclasses.field(repr=False)
    variable_set_id: int | None
    find_compiled: Callable[[Sequence[str]], dict[str, CompiledPackageRow]] = dataclasses.field(repr=False)
    settled: dict[str, model.InstanceSpec] = dataclasses.field(default_factory=dict, repr=False)
    made_up: tuple[tuple[str, str, int], ...] = ()
    managed: networks.Settled = dataclasses.field(kw_only=True)
    notes: tuple[str, ...] = ()

    def settle(self, vm: VmRow) -> None:
        """The machine of an instance is there: where the cloud chose its addresses, its templates are rendered again with them.
        Source: planning contract, section 10. Raises RenderError."""
        assert vm.instance_id is not None, vm
        spec = self._spec(vm.instance_id)
        networks = settings.with_chosen(spec.networks, observe.chosen_by_cloud(vm))
        if networks != spec.networks:
            spec = self.settled[spec.id] = dataclasses.replace(spec, networks=networks)
            self.rendered.replace(self.rendering.one(spec))

    def apply_spec(self, instance_id: str) -> Tree:
        """What the instance's agent is given. Packages must be compiled by now."""
        spec = self._spec(instance_id)
        rows = self.find_compiled([package.key for package in spec.packages])
        compiled = {package.name: rows[package.key] for package in spec.packages}
        return specs.apply_spec(spec, self.rendered.of(instance_id), compiled)

    def blob(self, digest: str) -> bytes | None:
        """The rendered templates with that digest (bare hex)."""
        return self.rendered.archive(digest)

    def fill(self, tree: Tree) -> Tree:
        """The tree without placeholders."""
        filled: Tree = late.resolve(tree, self.lookup)
        return filled

    def resolved(self, instance_id: str) -> Tree:
        """Cloud properties, env and networks' cloud properties of an instance, filled in."""
        spec = self._spec(instance_id)
        return {
            "cloud_properties": self.fill(spec.cloud_properties), "env": self.fill(spec.env),
            "networks": {network.network: self.fill(network.cloud_properties) for network in spec.networks},
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know before anything happens."""
        return (*(item.sentence for item in self.manifest.warnings), *self.managed.warnings, *self.notes, *self.plan.warnings)

    def skips_drain(self, group: str) -> bool:
        skipped = self.wanted.options.skip_drain
        return "*" in skipped or group in skipped

    def record(self, ctx: Context, change: model.Change) -> None:
        """The instance is what its spec says."""
        spec = self._spec(change.id)
        if change.id in self.settled:
            change = dataclasses.replace(change, spec=spec, configuration_hash=self.rendered.hashes[change.id])
        ctx.store.instances.update(
            change.id, applied=self._applied(change), dirty=False, state=spec.state, variable_set_id=self.variable_set_id,
        )

    def _applied(self, change: model.Change) -> Tree:
        return self.rendered.remembered(change.id, changes.record(change))

    def record_kept(self, ctx: Context) -> None:
        """Instances that were left alone are what their specs say too; most of them are recorded so already."""
        same = []
        for change in self.plan.changes:
            if change.action is not model.Action.KEEP or change.frozen or change.spec is None or change.observed is None:
                continue
            seen = change.observed
            if not seen.dirty and seen.state == change.spec.state and self._applied(change) == seen.applied:
                same.append(change.id)
            else:
                self.record(ctx, change)
        ctx.store.instances.pin(same, self.variable_set_id)

    def wish(self, ctx: Context, change: model.Change, *, spare: bool = False) -> VmWish:
        """The machine that an instance is to get; a `spare` one stands beside that which it has."""
        spec = self._spec(change.id)
        made = changes.record_vm(change)
        return dataclasses.replace(wish_of(ctx, spec, self.resolved(change.id), applied=made), spare=spare)

    def write_down(self, ctx: Context) -> None:
        """Instances and addresses of the plan, before anything is done in a cloud; releases and stemcells of before and after are held.

        Raises ConflictError for an address that was taken meanwhile, NotFoundError for a release or stemcell that was deleted.
        """
        name = self.manifest.name
        wanted: list[AddressRow] = []
        with ctx.store.transaction():
            self._hold(ctx)
            known = {row.id: row for row in ctx.store.instances.of(name)}
            for change in self.plan.changes:
                if change.spec is None:
                    continue
                spec = change.spec
                place: Tree = {
                    "group": spec.group, "index": spec.index, "az": spec.az, "lifecycle": spec.lifecycle, "bootstrap": spec.bootstrap,
                }
                row = known.get(change.id)
                if row is None:
                    ctx.store.instances.add(_new_row(spec, place))
                elif any(getattr(row, key) != value for key, value in place.items()):
                    ctx.store.instances.update(change.id, **place)
                wanted += [
                    AddressRow(ip=item.ip, network=item.network, kind=item.kind, deployment=name, instance_id=change.id)
                    for item in change.reservations if item.ip and item.kind != "cloud"
                ]
            ctx.store.addresses.reserve(wanted)

    def _hold(self, ctx: Context) -> None:
        """What is deployed now and what is to be deployed cannot be deleted from now on; `keep` lets go of the former."""
        name, store = self.manifest.name, ctx.store
        releases = {(release.name, release.version) for release in self.manifest.releases}
        stemcells = {(item.spec.stemcell_name, item.spec.stemcell_version) for item in self.blueprint.instances}
        store.releases.load(sorted(releases), forms=False)
        for stemcell, version in sorted(stemcells):
            if not store.stemcells.on_all_cpis(stemcell, version):
                raise NotFoundError(f"Stemcell '{stemcell}/{version}' doesn't exist", code=50003)
        store.deployments.set_uses(
            name, releases | {(release, version) for _, release, version in store.deployments.releases(name)},
            stemcells | {(stemcell, version) for _, stemcell, version in store.deployments.stemcells(name)})

    def release_addresses(self, ctx: Context, change: model.Change) -> None:
        """Give up what the instance held before and holds no more."""
        kept = {item.ip for item in change.reservations}
        ctx.store.addresses.release(change.id, [item.ip for item in change.released if item.ip not in kept])

    def _spec(self, instance_id: str) -> model.InstanceSpec:
        spec = self.settled.get(instance_id) or self.plan.change(instance_id).spec
        assert spec is not None, instance_id
        return spec


def prepare(ctx: Context, wanted: Wanted, *, write: bool) -> Prepared:
    """Plan a deploy. Raises ManifestError, PlanError, RenderError and so on, each with everything that is wrong."""
    try:
        return _prepare(ctx, wanted, write=write)
    except PlanError as error:
        raise PlanError(*folded(in_file(error.diagnostics, wanted.file))) from error


def _prepare(ctx: Context, wanted: Wanted, *, write: bool) -> Prepared:
    parsed = read(ctx, wanted)
    name = parsed.manifest.name
    settled = networks.settle(ctx, parsed.manifest, parsed.cloud, parsed.early, write=write)
    parsed = dataclasses.replace(parsed, cloud=settled.cloud)
    observed = observe.observe(ctx, name)
    designing = _Design(ctx, parsed, observed)
    blueprint = designing.numbered(write)
    values = variables.ready(ctx, parsed.manifest, blueprint, parsed.early, wanted.variables, write=write)
    filling = rendering.Rendering(ctx, blueprint, values, designing.ids)
    rendered = filling.all()
    decided = decide(
        blueprint, rendered.hashes, resolved=_digester(ctx, values.own),
        compiled=ctx.store.compiled_packages.keys(),
    )
    decided = causes.explained(decided, _rotated(ctx, name, values.own))
    decided = lines.located(decided, parsed.document, parsed.configs.runtime, _new_cloud(ctx, name, parsed.configs))
    return Prepared(
        wanted=wanted, configs=parsed.configs, document=parsed.document, manifest=parsed.manifest, cloud=parsed.cloud, blueprint=blueprint,
        plan=decided, rendered=rendered, rendering=filling, lookup=values.own, variable_set_id=values.set_id,
        find_compiled=ctx.store.compiled_packages.with_keys,
        made_up=designing.made_up, managed=settled, notes=(*parsed.told, *values.warnings),
    )


@dataclasses.dataclass(frozen=True)
class Parsed:
    wanted: Wanted
    document: load.Document
    configs: Configs
    manifest: Manifest
    cloud: CloudConfig
    early: Lookup
    told: tuple[str, ...] = ()


def read(ctx: Context, wanted: Wanted) -> Parsed:
    """Text to typed manifest. Raises ManifestError with all that is wrong."""
    document = load.load_yaml(wanted.manifest, wanted.file)
    name = parse.check_body(document)
    early = variables.early(ctx, name, wanted.variables)
    configs = _filled_in(configs_of(ctx, wanted), early)
    cloud = cloud_config.parse_cloud_config(configs.cloud)
    check_cpis(cloud.azs, [name for name in ctx.clouds.names() if name])
    told = tuple(f"{item.sentence}. {item.suggestion}" for item in cloud_uses.problems(configs.cloud, ctx.clouds.types()))
    document = late.interpolate_for_director(document, early)
    deployment = ctx.store.deployments.find(name)
    manifest = parse.parse_manifest(
        document, cloud, runtime_configs=configs.runtime,
        releases=ctx.store.releases.load([(row.name, row.version) for row in ctx.store.releases.all()], forms=False),
        stemcells=[row.value for row in ctx.store.stemcells.all()],
        previous_groups=tuple(dict.fromkeys(row.group for row in ctx.store.instances.of(name))),
        teams=deployment.teams if deployment else (), deployments=[row.name for row in ctx.store.deployments.all()],
    )
    return Parsed(wanted, document, configs, _with_states(manifest, wanted.states), cloud, early, told)


def configs_of(ctx: Context, wanted: Wanted) -> Configs:
    """The pinned configs, also those that were deleted since, or the current ones; oldest first. Raises ManifestError for a pin on none.
    Source: manifest contract, sections 2, 13 and 14."""
    def chosen(kind: str, ids: tuple[int, ...]) -> list[tuple[int, load.Document]]:
        found = ctx.store.configs.with_ids(ids) if ids else {row.id: row for row in ctx.store.configs.current(kind)}
        if not set(ids) <= found.keys():
            raise ManifestError(
                "Context includes invalid config ID", code=190025, suggestion=f"There is no {kind} config {min(set(ids) - found.keys())}.")
        return [(number, load.load_yaml(row.content, f"{kind}-config '{row.name}'")) for number, row in sorted(found.items())]

    cloud, runtime = chosen("cloud", wanted.cloud_config_ids), chosen("runtime", wanted.runtime_config_ids)
    return Configs(
        tuple(document for _, document in cloud), tuple(document for _, document in runtime),
        tuple(number for number, _ in cloud), tuple(number for number, _ in runtime),
    )


def _filled_in(configs: Configs, early: Lookup) -> Configs:
    """With all but their late parts filled in. Source: manifest contract, section 11."""
    cloud, runtime = (
        tuple(late.interpolate_for_director(document, early, kind) for document in documents)
        for documents, kind in ((configs.cloud, "cloud"), (configs.runtime, "runtime")))
    return dataclasses.replace(configs, cloud=cloud, runtime=runtime)


def json_ready(tree: Any) -> Any:
    """The tree as it will come back from the database."""
    return json.loads(json.dumps(tree, default=str))


class _Design:
    """Blueprints of one deploy, with the numbers that DNS names need."""

    def __init__(self, ctx: Context, parsed: Parsed, observed: tuple[model.ObservedInstance, ...]) -> None:
        self._ctx, self._parsed, self._observed = ctx, parsed, observed
        self._name = parsed.manifest.name
        self.ids = ctx.store.ids.all()
        self.made_up: tuple[tuple[str, str, int], ...] = ()
        self._request = self._asked(model.Request(parsed.manifest, parsed.cloud, (), ()))

    def numbered(self, write: bool) -> model.Blueprint:
        """The blueprint in which every number is there: given now, or made up when nothing may be written."""
        blueprint = design(self._request)
        if not blueprint.needs_ids:
            return blueprint
        if write:
            self._ctx.store.ids.assign(blueprint.needs_ids)
            self.ids = self._ctx.store.ids.all()
        else:
            self.ids, self.made_up = _foreseen(self.ids, blueprint.needs_ids, self._parsed.wanted.foreseen_numbers)
        return design(dataclasses.replace(self._request, ids=self.ids))

    def _new_ids(self, count: int) -> tuple[str, ...]:
        """Those that a kept plan shows first, as far as nobody has them yet."""
        foreseen = self._parsed.wanted.foreseen_ids
        known = {row.id for row in self._ctx.store.instances.all()} if foreseen else set()
        free = [item for item in foreseen if item not in known][:count]
        return (*free, *(self._ctx.new_id() for _ in range(count - len(free))))

    def _asked(self, bare: model.Request) -> model.Request:
        ctx, parsed, name = self._ctx, self._parsed, self._name
        deployment = ctx.store.deployments.find(name)
        # A change of state has the links of the last deploy, whatever became of their providers. Source: release contract, section 19.4.
        bound = ctx.store.links.consumed(name) if parsed.wanted.variables.pinned else ()
        return dataclasses.replace(
            bare, releases=ctx.store.releases.load([(release.name, release.version) for release in parsed.manifest.releases]),
            stemcells=tuple(row.value for row in ctx.store.stemcells.all()), observed=self._observed,
            taken=tuple(ctx.store.addresses.taken(name)), shared_providers=bound or ctx.store.links.shared(name),
            deployments=() if bound else tuple(row.name for row in ctx.store.deployments.all()),
            first_deploy=deployment is None or not deployment.succeeded, options=parsed.wanted.options,
            new_ids=self._new_ids(ids_wanted(bare)), ids=self.ids, domain=ctx.director.domain,
            director_name=ctx.director.name, director_use_dns_addresses=ctx.director.use_dns_addresses,
        )


def _new_cloud(ctx: Context, deployment: str, configs: Configs) -> tuple[load.Document, ...]:
    """The cloud configs, unless the last success had the same."""
    row = ctx.store.deployments.find(deployment)
    return () if row is not None and tuple(row.cloud_config_ids) == configs.cloud_ids else configs.cloud


def _rotated(ctx: Context, deployment: str, lookup: Lookup) -> Callable[[str], bool]:
    """Whether a variable's version is another one than that of the last success."""
    row = ctx.store.deployments.find(deployment)
    pins = ctx.store.variables.pins(row.variable_set_id) if row is not None and row.variable_set_id is not None else {}

    def rotated(written: str) -> bool:
        name = ctx.vault.absolute(written, deployment)
        return name in pins and name in lookup.used and lookup.used[name] != pins[name]

    return rotated


def _foreseen(
    ids: model.NumericIds, needs: Sequence[tuple[str, str]], numbers: Sequence[tuple[str, str, int]],
) -> tuple[model.NumericIds, tuple[tuple[str, str, int], ...]]:
    """Numbers made up for a preview: as they were shown before where they were, else the next ones. Nobody else's can be hurt by them,
    since nothing is written."""
    shown = {(kind, key): number for kind, key, number in numbers}
    made = number(ids, needs)
    tables = {"az": dict(made.azs), "network": dict(made.networks), "group": dict(made.groups), "instance": dict(made.instances)}
    for kind, key in needs:
        tables[kind][key] = shown.get((kind, key), tables[kind][key])
    made_up = tuple((kind, key, tables[kind][key]) for kind, key in needs)
    return model.NumericIds(tables["az"], tables["network"], tables["group"], tables["instance"]), made_up


def _with_states(manifest: Manifest, states: Mapping[str, str]) -> Manifest:
    groups = []
    for group in manifest.instance_groups:
        single = {key.split("/", 1)[1]: state for key, state in states.items() if key.startswith(f"{group.name}/")}
        groups.append(dataclasses.replace(
            group, state=states.get(group.name, group.state), instance_states={**group.instance_states, **single},
        ))
    return dataclasses.replace(manifest, instance_groups=tuple(groups))


def _digester(ctx: Context, lookup: Lookup) -> Callable[[Tree], str]:
    """Digests of filled-in trees: keyed, so that a stored digest tells nothing about a short secret."""
    def digest(tree: Tree) -> str:
        text = json.dumps(late.resolve(tree, lookup), sort_keys=True, default=str)
        return hmac.new(ctx.director.secret, text.encode(), hashlib.sha256).hexdigest()

    return digest


def _new_row(spec: model.InstanceSpec, place: Tree) -> InstanceRow:
    return InstanceRow(id=spec.id, deployment=spec.deployment, state=spec.state, dirty=True, **place)
