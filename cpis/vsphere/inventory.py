"""What is in the datacenter: read whole by one request of the property collector, kept until something asked for is not in it.

Source: CPI contract, section 10.2 ("read anything").
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from cpis.contract import Conflict, Denied, Invalid, NotFound
from cpis.vsphere.session import Session

Spec = Any
_PAGE = 1000
_FRESH_SECONDS = 300.0
_KINDS: Mapping[Any, Sequence[str]] = {
    vim.Datacenter: ("name", "vmFolder", "datastoreFolder", "hostFolder", "networkFolder"),
    vim.Folder: ("name", "parent"),
    vim.ClusterComputeResource: ("name", "parent", "resourcePool", "datastore", "network", "host"),
    vim.ResourcePool: ("name", "parent", "owner"),
    vim.Datastore: ("name", "parent", "summary.accessible", "summary.maintenanceMode", "browser"),
    vim.StoragePod: ("name", "parent", "childEntity"),
    vim.Network: ("name", "parent"),
    vim.dvs.DistributedVirtualPortgroup: ("config.key", "config.distributedVirtualSwitch"),
    vim.DistributedVirtualSwitch: ("uuid", "config.uplinkPortgroup"),
    vim.OpaqueNetwork: ("summary",),
}


def traverse(name: str, kind: Any, path: str, *then: str) -> Spec:
    """From objects of `kind` along `path`, and on from what is found by the traversals named `then`."""
    spec = vmodl.query.PropertyCollector
    return spec.TraversalSpec(name=name, type=kind, path=path, skip=False, selectSet=[spec.SelectionSpec(name=other) for other in then])


@dataclasses.dataclass(frozen=True)
class Start:
    """An object where collecting starts; `skip` leaves the object itself out."""

    ref: Any
    along: Sequence[Spec] = ()
    skip: bool = False


def collect(
    session: Session, starts: Iterable[Start], paths: Mapping[Any, Sequence[str]], refused: set[str] | None = None,
) -> dict[Any, dict[str, Any]]:
    """The properties of all objects found from `starts`, by object. What an object lacks, or may not be seen, is left out.

    One request, and one for each thousand further objects. Paths that the server does not know are put into `refused`; what vanishes
    meanwhile is left out. Raises NotFound when a start is gone.
    """
    spec = vmodl.query.PropertyCollector
    wanted = spec.FilterSpec(
        propSet=[spec.PropertySpec(type=kind, pathSet=list(names), all=False) for kind, names in paths.items()],
        objectSet=[spec.ObjectSpec(obj=start.ref, skip=start.skip, selectSet=list(start.along)) for start in starts])
    collector = session.content.propertyCollector
    answer = collector.RetrievePropertiesEx([wanted], spec.RetrieveOptions(maxObjects=_PAGE))
    found: dict[Any, dict[str, Any]] = {}
    while answer is not None:
        for item in answer.objects:
            found.setdefault(item.obj, {}).update({prop.name: prop.val for prop in item.propSet or []})
            if refused is not None:
                unknown = (lack for lack in item.missingSet or [] if isinstance(lack.fault, vmodl.query.InvalidProperty))
                refused.update(lack.path for lack in unknown)
        answer = collector.ContinueRetrievePropertiesEx(answer.token) if answer.token else None
    return found


def read(session: Session, ref: Any, *paths: str) -> dict[str, Any]:
    """Some properties of one object, in one request. Raises NotFound when it is gone."""
    return collect(session, [Start(ref)], {type(ref): paths}).get(ref, {})


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster with what a machine needs there. `path` is below the datacenter's host folder."""

    name: str
    path: str
    ref: Any
    root_pool: Any
    datastores: tuple[Any, ...]
    networks: tuple[Any, ...]
    hosts: tuple[Any, ...]
    pools: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Datastore:
    """A datastore; `pod` names the datastore cluster that it is in."""

    name: str
    ref: Any
    browser: Any
    usable: bool
    pod: str = ""


@dataclasses.dataclass(frozen=True)
class Net:
    """A network, port group or NSX segment, with the backing that a NIC on it has."""

    name: str
    path: str
    ref: Any
    backing: Any


Named = TypeVar("Named", Cluster, Net)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The datacenter at one moment."""

    ref: Any
    vm_folder: Any
    clusters: tuple[Cluster, ...]
    datastores: tuple[Datastore, ...]
    networks: tuple[Net, ...]

    def cluster(self, name: str) -> Cluster:
        """By name, or by path when folders hold several of that name. Raises Invalid listing what exists."""
        return _one("cluster", name, self.clusters)

    def network(self, name: str) -> Net:
        """By name or path. Raises Invalid listing what exists."""
        return _one("network", name, self.networks)

    def datastore(self, ref: Any) -> Datastore | None:
        """The one that this object is."""
        return next((item for item in self.datastores if item.ref == ref), None)


def _one(kind: str, name: str, items: Iterable[Named]) -> Named:
    known = list(items)
    wanted = name.strip("/")
    found = [item for item in known if wanted in (item.name, item.path)]
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(sorted(item.path for item in found))
        raise Invalid(f"{len(found)} {kind}s are called '{name}': {paths}", suggestion="Name it by its path.")
    raise Invalid(f"there is no {kind} '{name}'", suggestion=f"there are: {', '.join(sorted(item.path for item in known)) or 'none'}")


class Inventory:
    """The datacenter of this name (or path). Safe to use from many threads."""

    def __init__(self, session: Session, datacenter: str) -> None:
        self._session = session
        self.datacenter = datacenter.strip("/")
        self._lock = threading.Lock()
        self._clock = session.clock
        self._read_at = 0.0
        self._snapshot: Snapshot | None = None
        self._folders: dict[str, Any] = {}

    def now(self, *, fresh: bool = False) -> Snapshot:
        """What was read in the last minutes, or is read now. Raises Invalid when there is no such datacenter, Denied."""
        with self._lock:
            if self._snapshot is None or fresh or self._clock() > self._read_at + _FRESH_SECONDS:
                self._snapshot = self._read()
                self._read_at = self._clock()
            return self._snapshot

    def network(self, name: str) -> Net:
        """A network, which may have been made since the last look. Raises Invalid."""
        try:
            return self.now().network(name)
        except Invalid:
            return self.now(fresh=True).network(name)

    def cluster(self, name: str) -> Cluster:
        """A cluster, which may have been made since the last look. Raises Invalid."""
        try:
            return self.now().cluster(name)
        except Invalid:
            return self.now(fresh=True).cluster(name)

    def find(self, path: str) -> Any:
        """The object at a path below the datacenter (`vm/folder/name`), or None."""
        return self._session.content.searchIndex.FindByInventoryPath(f"{self.datacenter}/{path}")

    def folder(self, path: str) -> Any:
        """The folder for machines at this path below `vm`, made when it is not there."""
        if path not in self._folders:
            found = self.find(f"vm/{path}") if path else self.now().vm_folder
            self._folders[path] = found or self._made(path)
        return self._folders[path]

    def _made(self, path: str) -> Any:
        parent, _, name = path.rpartition("/")
        try:
            return self.folder(parent).CreateFolder(name)
        except Conflict:
            return self.find(f"vm/{path}")  # another was faster

    def forget(self) -> None:
        """Something remembered is gone: look again the next time."""
        with self._lock:
            self._snapshot = None
            self._folders = {}

    def _read(self) -> Snapshot:
        ref = self._session.content.searchIndex.FindByInventoryPath(self.datacenter)
        if not isinstance(ref, vim.Datacenter):
            raise Invalid(
                f"there is no datacenter '{self.datacenter}'", suggestion="datacenters[0].name is its name, or its path in folders")
        below = ("clusters", "pools", "more-pools", "children")
        along = [
            traverse("hosts", vim.Datacenter, "hostFolder", *below), traverse("stores", vim.Datacenter, "datastoreFolder", *below),
            traverse("nets", vim.Datacenter, "networkFolder", *below),
            traverse("children", vim.Folder, "childEntity", *below, "pod"), traverse("pod", vim.StoragePod, "childEntity"),
            traverse("clusters", vim.ClusterComputeResource, "resourcePool", "pools"),
            traverse("pools", vim.ResourcePool, "resourcePool", "pools"), traverse("more-pools", vim.Folder, "childEntity"),
        ]
        try:
            objects = collect(self._session, [Start(ref, along)], _KINDS)
        except NotFound as error:
            raise Invalid(f"there is no datacenter '{self.datacenter}' any more") from error
        return _snapshot(ref, objects)


# What is sorted out, and what each must have to be of use.
_NEEDED: Mapping[Any, Sequence[str]] = {
    vim.ClusterComputeResource: ("name", "resourcePool"), vim.ResourcePool: ("name",), vim.StoragePod: ("name",),
    vim.Datastore: ("name", "browser"), vim.dvs.DistributedVirtualPortgroup: ("name", "config.key", "config.distributedVirtualSwitch"),
    vim.Network: ("name",), vim.DistributedVirtualSwitch: (),
}


def _snapshot(ref: Any, objects: Mapping[Any, Mapping[str, Any]]) -> Snapshot:
    of: dict[Any, list[tuple[Any, Mapping[str, Any]]]] = {}
    for obj, facts in objects.items():
        kind = next((kind for kind in _NEEDED if isinstance(obj, kind)), None)
        if kind is not None and all(key in facts for key in _NEEDED[kind]):  # else this user may not see it whole
            of.setdefault(kind, []).append((obj, facts))
    pods = {child: facts["name"] for _, facts in of.get(vim.StoragePod, []) for child in facts.get("childEntity") or []}
    uplinks = {group for _, facts in of.get(vim.DistributedVirtualSwitch, []) for group in facts.get("config.uplinkPortgroup") or []}
    switches = {obj: facts.get("uuid", "") for obj, facts in of.get(vim.DistributedVirtualSwitch, [])}
    pools = of.get(vim.ResourcePool, [])
    clusters = [_cluster(obj, facts, pools, objects) for obj, facts in of.get(vim.ClusterComputeResource, [])]
    datastores = [
        Datastore(facts["name"], obj, facts["browser"], bool(facts.get("summary.accessible", True)) and facts.get(
            "summary.maintenanceMode") in (None, "normal"), pods.get(obj, ""))
        for obj, facts in of.get(vim.Datastore, [])
    ]
    groups = [*of.get(vim.Network, []), *of.get(vim.dvs.DistributedVirtualPortgroup, [])]
    nets = [_net(obj, facts, switches, objects) for obj, facts in groups if obj not in uplinks]
    folder = objects.get(ref, {}).get("vmFolder")
    if folder is None:
        raise Denied(
            "vCenter does not show this user the datacenter's folders", code="NoPermission", resource=ref._moId,
            suggestion="Give its role to the datacenter, with propagation: docs/clouds/vsphere.md tells how.")
    return Snapshot(
        ref, folder, tuple(sorted(clusters, key=_name)), tuple(sorted(datastores, key=_name)),
        tuple(sorted(nets, key=_name)))


def _name(item: Cluster | Datastore | Net) -> str:
    return item.name


def _cluster(
    obj: Any, facts: Mapping[str, Any], pools: Iterable[tuple[Any, Mapping[str, Any]]], objects: Mapping[Any, Mapping[str, Any]],
) -> Cluster:
    root = facts["resourcePool"]
    own = {_path(pool, objects, root): pool for pool, pool_facts in pools if pool_facts.get("owner") == obj and pool != root}
    return Cluster(
        facts["name"], _path(obj, objects), obj, root, tuple(facts.get("datastore") or ()), tuple(facts.get("network") or ()),
        tuple(facts.get("host") or ()), own)


def _net(obj: Any, facts: Mapping[str, Any], switches: Mapping[Any, str], objects: Mapping[Any, Mapping[str, Any]]) -> Net:
    name = facts["name"].replace("%2f", "/")
    card = vim.vm.device.VirtualEthernetCard
    if isinstance(obj, vim.dvs.DistributedVirtualPortgroup):
        switch = switches.get(facts["config.distributedVirtualSwitch"], "")
        port = vim.dvs.PortConnection(portgroupKey=facts["config.key"], switchUuid=switch)
        backing: Any = card.DistributedVirtualPortBackingInfo(port=port)
    elif isinstance(obj, vim.OpaqueNetwork):
        summary = facts["summary"]
        backing = card.OpaqueNetworkBackingInfo(opaqueNetworkId=summary.opaqueNetworkId, opaqueNetworkType=summary.opaqueNetworkType)
    else:
        backing = card.NetworkBackingInfo(deviceName=name, network=obj)
    return Net(name, _path(obj, objects), obj, backing)


def _path(obj: Any, objects: Mapping[Any, Mapping[str, Any]], until: Any = None) -> str:
    """Names from below the datacenter's own folder (or `until`) down to the object."""
    names: list[str] = []
    while obj in objects and obj != until and not isinstance(obj, vim.Datacenter):
        parent = objects[obj].get("parent")
        if isinstance(obj, vim.Folder) and isinstance(parent, vim.Datacenter):
            break
        names.insert(0, objects[obj].get("name", ""))
        obj = parent
    return "/".join(names)
