"""The typed Manifest and CloudConfig that the planner works on. Values only; `parse.py` makes them.

Maps that operators write freely (properties, cloud properties, env) stay plain `dict`s and may hold `((placeholders))`
where the reference resolves late (variables in properties, env, cloud properties). All names are as written.
Source of keys and defaults: the manifest contract, sections 3 to 14.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from director.diagnostics import Diagnostic

Tree = dict[str, Any]


def _tree() -> Tree:
    return {}


@dataclasses.dataclass(frozen=True)
class ReleaseRef:
    """`version` is exact after `latest` was resolved."""

    name: str
    version: str
    url: str = ""
    sha1: str = ""
    stemcell: Mapping[str, str] | None = None
    exported_from: tuple[Mapping[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class StemcellRef:
    """One of `os`, `name` is empty as written; `version` may be `latest` or `PREFIX.latest` until it is resolved."""

    alias: str
    version: str
    os: str = ""
    name: str = ""


@dataclasses.dataclass(frozen=True)
class WatchTime:
    """Milliseconds."""

    minimum: int
    maximum: int


@dataclasses.dataclass(frozen=True)
class UpdatePolicy:
    """`canaries` and `max_in_flight` are kept as text, an integer or `N%`; see `size_of`."""

    canaries: str = "1"
    max_in_flight: str = "1"
    canary_watch_time: WatchTime = WatchTime(0, 300_000)
    update_watch_time: WatchTime = WatchTime(0, 300_000)
    serial: bool = True
    vm_strategy: str = "delete-create"
    initial_deploy_az_update_strategy: str = "serial"


@dataclasses.dataclass(frozen=True)
class Features:
    use_dns_addresses: bool | None = None
    use_short_dns_addresses: bool | None = None
    use_link_dns_names: bool | None = None
    randomize_az_placement: bool = False
    converge_variables: bool = False
    use_tmpfs_config: bool | None = None


@dataclasses.dataclass(frozen=True)
class JobRef:
    """A job of an instance group. `properties` is what the job binds from (section 8.2 already applied).

    `consumes` and `provides` map link names to a map or to the string `nil`, as written.
    """

    name: str
    release: str
    properties: Tree = dataclasses.field(default_factory=_tree)
    consumes: Tree = dataclasses.field(default_factory=_tree)
    provides: Tree = dataclasses.field(default_factory=_tree)
    custom_provider_definitions: tuple[Tree, ...] = ()
    from_addon: str = ""


@dataclasses.dataclass(frozen=True)
class GroupNetwork:
    """`static_ips` are single addresses, expanded, in listed order; None when the key is absent."""

    name: str
    static_ips: tuple[str, ...] | None = None
    default: tuple[str, ...] = ()
    nic_group: int | None = None


@dataclasses.dataclass(frozen=True)
class DiskRef:
    """A wanted persistent disk; `name` is empty for the single managed one. `size_mib` 0 from a type still is a disk."""

    name: str
    size_mib: int
    type: str = ""
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)


@dataclasses.dataclass(frozen=True)
class MigratedFrom:
    name: str
    az: str = ""


@dataclasses.dataclass(frozen=True)
class InstanceGroup:
    """`state` is '' or one of started, stopped, detached; `instance_states` maps an index (as text) or uuid to such a state."""

    name: str
    instances: int
    stemcell: str
    jobs: tuple[JobRef, ...]
    networks: tuple[GroupNetwork, ...]
    lifecycle: str = "service"
    azs: tuple[str, ...] = ()
    vm_type: str = ""
    vm_resources: Mapping[str, int] | None = None
    vm_extensions: tuple[str, ...] = ()
    disks: tuple[DiskRef, ...] = ()
    update: UpdatePolicy = UpdatePolicy()
    migrated_from: tuple[MigratedFrom, ...] = ()
    env: Tree = dataclasses.field(default_factory=_tree)
    tags: Tree = dataclasses.field(default_factory=_tree)
    state: str = ""
    instance_states: Mapping[str, str] = dataclasses.field(default_factory=dict)
    line: int | None = None


@dataclasses.dataclass(frozen=True)
class Variable:
    """`name` is as written; `update_mode` is no-overwrite, overwrite or converge; `consumes` maps link names to options.

    `update_strategy` is on-deploy or on-stemcell-change. `file` and `line` tell where it is written.
    """

    name: str
    type: str
    options: Tree = dataclasses.field(default_factory=_tree)
    update_mode: str = ""
    consumes: Tree = dataclasses.field(default_factory=_tree)
    update_strategy: str = "on-deploy"
    line: int | None = None
    file: str = ""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A deployment manifest with runtime config addons, releases, variables and tags already applied."""

    name: str
    releases: tuple[ReleaseRef, ...]
    stemcells: tuple[StemcellRef, ...]
    update: UpdatePolicy
    instance_groups: tuple[InstanceGroup, ...] = ()
    variables: tuple[Variable, ...] = ()
    features: Features = Features()
    tags: Tree = dataclasses.field(default_factory=_tree)
    warnings: tuple[Diagnostic, ...] = dataclasses.field(default=(), compare=False)

    def group(self, name: str) -> InstanceGroup | None:
        return next((group for group in self.instance_groups if group.name == name), None)


@dataclasses.dataclass(frozen=True)
class Az:
    name: str
    cpi: str = ""
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)


@dataclasses.dataclass(frozen=True)
class NamedProperties:
    """A vm_type or a vm_extension."""

    name: str
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)


@dataclasses.dataclass(frozen=True)
class DiskType:
    name: str
    disk_size: int
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)


@dataclasses.dataclass(frozen=True)
class Subnet:
    """`range` is a CIDR; `static` and `reserved` are lists of `FIRST-LAST` or single addresses, as written but flattened to a tuple."""

    range: str = ""
    gateway: str = ""
    dns: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    azs: tuple[str, ...] = ()
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)
    prefix: int | None = None
    name: str = ""
    netmask_bits: int | None = None


@dataclasses.dataclass(frozen=True)
class NetworkDefinition:
    """A network of the cloud config; `type` is manual, dynamic or vip. A dynamic network without subnets has one implicit subnet."""

    name: str
    type: str = "manual"
    subnets: tuple[Subnet, ...] = ()
    managed: bool = False
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)


@dataclasses.dataclass(frozen=True)
class Compilation:
    workers: int
    network: str
    az: str = ""
    vm_type: str = ""
    vm_resources: Mapping[str, int] | None = None
    vm_extensions: tuple[str, ...] = ()
    cloud_properties: Tree = dataclasses.field(default_factory=_tree)
    reuse_compilation_vms: bool = False
    orphan_workers: bool = False
    env: Tree = dataclasses.field(default_factory=_tree)


@dataclasses.dataclass(frozen=True)
class CloudConfig:
    networks: tuple[NetworkDefinition, ...]
    compilation: Compilation
    azs: tuple[Az, ...] = ()
    vm_types: tuple[NamedProperties, ...] = ()
    vm_extensions: tuple[NamedProperties, ...] = ()
    disk_types: tuple[DiskType, ...] = ()
    warnings: tuple[Diagnostic, ...] = dataclasses.field(default=(), compare=False)

    def az(self, name: str) -> Az | None:
        return next((az for az in self.azs if az.name == name), None)

    def network(self, name: str) -> NetworkDefinition | None:
        return next((network for network in self.networks if network.name == name), None)
