"""The planner's values: what was observed, what is wanted on each instance (Blueprint), and what will be done (Plan).

A deploy plans in two pure steps, because whether a configuration changed is known only after rendering:

    design(request)                     -> Blueprint   placement, addresses, links, disks, specs
    decide(blueprint, rendered hashes)  -> Plan        changes with reasons, order, waves

All values are frozen and made of plain data, so that a Plan can be printed, stored, digested and compared.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
from collections.abc import Mapping
from typing import Any

from director.manifest import model as manifest_model
from director.release import model as release_model

Tree = dict[str, Any]


def _tree() -> Tree:
    return {}


class Action(enum.StrEnum):
    """What happens to an instance. The glyphs are those shown to people."""

    KEEP = "keep"          # nothing
    CREATE = "create"      # a new instance, or one that has no VM, gets a VM
    UPDATE = "update"      # in place
    RECREATE = "recreate"  # the VM is replaced, the disk kept
    METADATA = "metadata"  # tags or DNS only: no process is touched
    STOP = "stop"          # wanted stopped or detached
    DELETE = "delete"      # obsolete

    @property
    def glyph(self) -> str:
        return {"keep": " ", "create": "+", "update": "~", "recreate": "±", "metadata": "·", "stop": "■", "delete": "-"}[self.value]


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why an instance changes. `kind` is a name of the change list (planning contract, section 7): recreate, restart,
    cloud_properties, stemcell, env, network, packages, persistent_disk, configuration, job, state, dns, trusted_certs, tags,
    or new, obsolete. `before` and `after` are short texts without secrets; `line` is the line of `file` it comes from (the manifest
    where no file is named). `paths` name what differs inside (`JOB.PROPERTY`, a key of env), by which `lines.py` finds the line."""

    kind: str
    text: str
    before: str = ""
    after: str = ""
    line: int | None = None
    file: str = ""
    paths: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reservation:
    """One address of an instance. `kind` is static, dynamic (chosen by us on a manual network), cloud (the cloud chooses) or vip."""

    network: str
    ip: str
    kind: str


@dataclasses.dataclass(frozen=True)
class ObservedDisk:
    cid: str
    size_mib: int
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)
    name: str = ""
    created_at: float | None = None


@dataclasses.dataclass(frozen=True)
class ObservedVm:
    """The recorded VM. `agent_state` is what the agent says now: running, starting, failing, stopped, or `unresponsive`;
    '' when it was not asked. `processes` maps names to states; `silence` says why there was no answer. `created_at` tells since when it
    is the instance's machine; `networks` are settings that the cloud chose, by network: {ip, prefix_length, gateway, dns}."""

    cid: str
    agent_state: str = ""
    processes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created_at: float | None = None
    silence: str = ""
    networks: Mapping[str, Tree] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ObservedSpare:
    """A second machine that a create-swap-delete made and did not come to use. `made` is what `changes.record_vm` said of it,
    `reservations` are the addresses it has."""

    cid: str
    made: Tree = dataclasses.field(default_factory=_tree)
    reservations: tuple[Reservation, ...] = ()


@dataclasses.dataclass(frozen=True)
class ObservedInstance:
    """An instance row. `applied` is the spec stored at its last successful update: the `InstanceSpec.to_dict()` of that time,
    {} when there was none. `dirty` is set while an update is not complete. `reservations` are those of its machine, or, while it has none,
    of the instance; those of a `spare` machine are told there."""

    deployment: str
    group: str
    index: int
    id: str
    az: str = ""
    bootstrap: bool = False
    ignored: bool = False
    state: str = "started"
    dirty: bool = False
    vm: ObservedVm | None = None
    reservations: tuple[Reservation, ...] = ()
    disks: tuple[ObservedDisk, ...] = ()
    applied: Tree = dataclasses.field(default_factory=_tree)
    spare: ObservedSpare | None = None


@dataclasses.dataclass(frozen=True)
class TakenAddress:
    """An address that others hold: another deployment's instance or an orphaned VM; `holder` is the text shown in errors."""

    network: str
    ip: str
    holder: str


@dataclasses.dataclass(frozen=True)
class SharedProvider:
    """A link provider of another deployment that is shared. `content` is a Link's to_dict()."""

    deployment: str
    group: str
    job: str
    name: str
    original_name: str
    type: str
    content: Tree


@dataclasses.dataclass(frozen=True)
class NumericIds:
    """Stable numbers for short DNS names: AZ name, network name, group key, instance uuid -> id.

    The planner asks for missing ones through `Blueprint.needs_ids`; the caller assigns and stores them before rendering, and designs
    again with them. Keys of `groups` are those of `names.group_key` and `names.link_key`: they hold over all deployments.
    """

    azs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    networks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    groups: Mapping[str, int] = dataclasses.field(default_factory=dict)
    instances: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Options:
    """Of one deploy. `recreate` and `restart` are limited to `selected` (`GROUP` or `GROUP/INDEX-OR-UUID`) when it is not empty.

    With `skip_unselected` nothing at all happens to what is not selected. `errand_groups` are errand groups whose machines are wanted now.
    An operation that is taken up again after its director died has `began` then, and `ended` updates of these instances (ids): what it
    has recreated, restarted or renewed already is not asked for a second time.
    """

    recreate: bool = False
    restart: bool = False
    fix: bool = False
    recreate_persistent_disks: bool = False
    recreate_created_before: float | None = None
    selected: tuple[str, ...] = ()
    canaries: str = ""
    max_in_flight: str = ""
    skip_drain: tuple[str, ...] = ()
    skip_unselected: bool = False
    errand_groups: tuple[str, ...] = ()
    began: float | None = None
    ended: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything `design` looks at. `new_ids` are fresh uuids to draw from, in order, so that the planner has no randomness.

    `deployments` are the names of all deployments, so that a link from one that does not exist is told as such; empty when unknown.
    """

    manifest: manifest_model.Manifest
    cloud: manifest_model.CloudConfig
    releases: tuple[release_model.Release, ...]
    stemcells: tuple[release_model.Stemcell, ...]
    observed: tuple[ObservedInstance, ...] = ()
    taken: tuple[TakenAddress, ...] = ()
    shared_providers: tuple[SharedProvider, ...] = ()
    first_deploy: bool = True
    options: Options = Options()
    new_ids: tuple[str, ...] = ()
    ids: NumericIds = NumericIds()
    domain: str = "bosh"
    director_name: str = "caisson"
    director_use_dns_addresses: bool = False
    trusted_certs_sha1: str = ""
    deployments: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class JobPlan:
    """A job on an instance. `properties` are bound (spec defaults filled, undeclared dropped), with placeholders unresolved.

    `links` maps consumed link names to link content: {instances: [{name, id, index, az, address, bootstrap, ...}], properties, address,
    and what `.address(...)` needs: group_name, group_id, default_network, deployment_name, domain, use_short_dns_addresses,
    use_link_dns_names}. A manual link has instances, properties and address only, as written.
    `variables_deployment` of link content names the deployment in whose namespace its placeholders are resolved. `provides` are
    {name, type, group} of the job's own link providers, `group` being the link group's number as text. The dicts are shared by all
    instances of a group: read, never change.
    """

    name: str
    release: str
    release_version: str
    version: str
    fingerprint: str
    digest: str
    blob_id: str
    packages: tuple[str, ...]
    templates: Mapping[str, str]
    properties: Tree
    links: Tree = dataclasses.field(default_factory=_tree)
    provides: tuple[Tree, ...] = ()
    properties_schema: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class PackageRef:
    """A package that a group's machines need, not yet compiled: name and release tell which.

    `dependency_key` is the compact JSON of its dependencies (release contract, section 9), `key` the compiled cache key to look it up by.
    """

    name: str
    release: str
    release_version: str
    version: str
    fingerprint: str
    dependency_key: str = "[]"
    key: str = ""


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """An instance's settings on one network, in the shape of the manifest contract 13.2 plus `dns_record_name`."""

    network: str
    type: str
    ip: str
    prefix_length: int
    netmask: str
    gateway: str
    dns: tuple[str, ...]
    default: tuple[str, ...]
    cloud_properties: Tree
    dns_record_name: str
    kind: str
    nic_group: int | None = None


@dataclasses.dataclass(frozen=True)
class InstanceSpec:
    """What one instance should be. Everything the executor and the templates need.

    `tags` are the deployment's (runtime config tags included); `group_tags` are added when a VM is made, and never cause a change.
    `link_groups` are the `NAME-TYPE` of the links the group provides. `cloud_properties` are merged without what the CPI computes
    from `vm_resources`, which goes on top. What is stored after success is `changes.record(change)`, which holds `to_dict()`.
    """

    deployment: str
    group: str
    index: int
    id: str
    az: str
    bootstrap: bool
    lifecycle: str
    stemcell_name: str
    stemcell_version: str
    stemcell_os: str
    cpi: str
    cloud_properties: Tree
    env: Tree
    networks: tuple[NetworkSettings, ...]
    address: str
    disks: tuple[manifest_model.DiskRef, ...]
    jobs: tuple[JobPlan, ...]
    packages: tuple[PackageRef, ...]
    tags: Tree
    update: manifest_model.UpdatePolicy
    vm_resources: Mapping[str, int] | None = None
    state: str = "started"
    dns_domain: str = "bosh"
    use_dns_addresses: bool = False
    use_short_dns_addresses: bool = False
    use_link_dns_names: bool = False
    group_tags: Tree = dataclasses.field(default_factory=_tree)
    link_groups: tuple[str, ...] = ()
    trusted_certs_sha1: str = ""

    @property
    def name(self) -> str:
        """`GROUP/UUID`."""
        return f"{self.group}/{self.id}"

    @property
    def label(self) -> str:
        """`GROUP/UUID (INDEX)`."""
        return f"{self.group}/{self.id} ({self.index})"

    def to_dict(self) -> Tree:
        """As it comes back from JSON."""
        plain: Tree = json.loads(json.dumps(vars(self), default=_plain))
        return plain


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return vars(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


@dataclasses.dataclass(frozen=True)
class PlacedInstance:
    """A wanted instance beside what exists of it. `reservations` are all addresses it holds after the deploy, `released` those
    it gives up, `migrated_from` its old group when that differs, `spare` the CID of a spare machine that is as wanted."""

    spec: InstanceSpec
    observed: ObservedInstance | None
    reservations: tuple[Reservation, ...]
    released: tuple[Reservation, ...] = ()
    migrated_from: str = ""
    spare: str = ""


@dataclasses.dataclass(frozen=True)
class Provider:
    """A link provider intent of this deployment, kept for others when `shared`. `content` as in `JobPlan.links`."""

    group: str
    job: str
    name: str
    original_name: str
    type: str
    shared: bool
    content: Tree
    aliases: tuple[Tree, ...] = ()


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """The wanted deployment: instances in manifest order of groups, then planned order; what is obsolete; the links.

    `needs_ids` lists (kind, key) pairs that have no number yet; kind is az, network, group or instance. `variable_links` maps variable
    names to {consumer name: link content}. `obsolete_owner` maps ids of obsolete instances to the wanted group they are deleted with;
    those of removed groups are absent. `consumed` are the shared providers of other deployments that something is linked to.
    """

    request: Request
    instances: tuple[PlacedInstance, ...]
    obsolete: tuple[ObservedInstance, ...]
    providers: tuple[Provider, ...]
    needs_ids: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    variable_links: Mapping[str, Tree] = dataclasses.field(default_factory=dict)
    obsolete_owner: Mapping[str, str] = dataclasses.field(default_factory=dict)
    consumed: tuple[SharedProvider, ...] = ()

    def group(self, name: str) -> tuple[PlacedInstance, ...]:
        return tuple(item for item in self.instances if item.spec.group == name)


@dataclasses.dataclass(frozen=True)
class Change:
    """What will be done to one instance, and why. For DELETE `spec` is None; `observed` is None for a new instance.

    KEEP touches no machine, but rows may move: a new instance that is wanted detached, or of an errand group, is written down with its
    addresses, and reasons of a KEEP tell what waits until the instance is started. `stopped` and `detached` of `spec.state` hold for
    every action: a stopped instance is updated or recreated without starting its jobs. A `frozen` instance is ignored or was not
    selected: nothing at all is recorded of it, so that what it still lacks is found by a later deploy. A `hot_swap` is done with a second
    machine: with the `spare` that is there, or, when that is '', with a new one.
    """

    action: Action
    group: str
    id: str
    index: int
    az: str
    reasons: tuple[Reason, ...]
    spec: InstanceSpec | None
    observed: ObservedInstance | None
    reservations: tuple[Reservation, ...] = ()
    released: tuple[Reservation, ...] = ()
    configuration_hash: str = ""
    hot_swap: bool = False
    spare: str = ""
    disk_change: bool = False
    migrated_from: str = ""
    resolved: Mapping[str, str] = dataclasses.field(default_factory=dict)
    frozen: bool = False

    @property
    def name(self) -> str:
        return f"{self.group}/{self.id}"

    @property
    def label(self) -> str:
        return f"{self.group}/{self.id} ({self.index})"

    def has(self, kind: str) -> bool:
        return any(reason.kind == kind for reason in self.reasons)

    @property
    def replaces_vm(self) -> bool:
        """Whether it ends with a machine that was not there before."""
        return self.action in (Action.CREATE, Action.RECREATE)


@dataclasses.dataclass(frozen=True)
class Wave:
    """Instances updated together, at most `parallel` at a time; then the next wave starts. `canary` waves use the canary watch time."""

    group: str
    az: str
    canary: bool
    parallel: int
    instances: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class GroupPlan:
    """One group's part: obsolete instances first (`deletions`, ids, `delete_parallel` at a time), then waves in order."""

    name: str
    serial: bool
    deletions: tuple[str, ...]
    delete_parallel: int
    waves: tuple[Wave, ...]


@dataclasses.dataclass(frozen=True)
class Compile:
    """A package that has no compiled form for a stemcell yet. `key` is the compiled cache key; `after` the keys it waits for."""

    release: str
    release_version: str
    package: str
    fingerprint: str
    stemcell: str
    key: str
    after: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a deploy will do. `runs` are groups that are processed together: groups of one run in parallel, runs one after another."""

    deployment: str
    changes: tuple[Change, ...]
    removed_groups: tuple[str, ...]
    runs: tuple[tuple[GroupPlan, ...], ...]
    warnings: tuple[str, ...] = ()
    compilations: tuple[Compile, ...] = ()

    @property
    def is_empty(self) -> bool:
        return all(change.action is Action.KEEP for change in self.changes)

    @functools.cached_property
    def _by_id(self) -> Mapping[str, Change]:
        return {change.id: change for change in self.changes}

    def change(self, instance_id: str) -> Change:
        return self._by_id[instance_id]
