"""The vCenter simulator as a cloud config wants it: its datacenter, clusters, resource pools, host groups and networks by their names.

Started anew with as many clusters as are named, then told the names by the API, as a vSphere administrator would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from cpis.conformance.furnish import Furnished, Room, Wanted
from cpis.contract import Invalid
from cpis.vsphere.config import Place, places
from cpis.vsphere.inventory import Inventory, read
from cpis.vsphere.session import Session
from cpis.vsphere.tasks import run

if TYPE_CHECKING:
    from cpis.conformance.clouds.vsphere import VsphereStandIn

_STORES = "the simulator's datastores have names of its own"
_MEMORY_MIB = 512 * 1024
_SHARES = vim.SharesInfo(shares=4000, level="normal")


def furnish(cloud: VsphereStandIn, wanted: Wanted) -> Furnished:
    """Raises Invalid for zones of several datacenters."""
    from cpis.conformance.clouds.vsphere import Datacenter

    room = Room(wanted)
    room.leave_out(["datastores"], _STORES)
    for where, properties in room.named("disk_types"):
        if properties.pop("datastores", None):
            room.tell(f"datastores of {where} left out: {_STORES}")
    room.leave_out(["storage_policy", "tags"], "the simulator has no policies and tags of yours")
    room.leave_out(["pci_passthroughs", "vgpus"], "the simulator's hosts have no such devices")
    name, found = _places(room)
    clusters = tuple(dict.fromkeys(place.cluster.rpartition("/")[2] for place in found)) or ("cluster",)
    cloud.restart(Datacenter(name, clusters), "-clusters", str(len(clusters)), "-memory", str(_MEMORY_MIB))
    session = cloud.session()
    datacenter = session.content.searchIndex.FindByInventoryPath("DC0")
    _rename(session, datacenter, name)
    for number, cluster in enumerate(clusters):
        ref = session.content.searchIndex.FindByInventoryPath(f"{name}/host/DC0_C{number}")
        _rename(session, ref, cluster)
        _cluster(session, ref, [place for place in found if place.cluster.rpartition("/")[2] == cluster])
    _networks(session, name, room)
    return Furnished(room.tree, cloud.config, cloud.site().stemcell_properties, room.told)


def _places(room: Room) -> tuple[str, list[Place]]:
    """The datacenter's name, and where machines may go, paths shortened to names."""
    known: set[str] = set()
    found: list[Place] = []
    for where, properties in [*room.named("azs"), *room.machines()]:
        for entry in properties.get("datacenters") or ():
            name = str(entry["name"])
            known.add(name)
            found += places(entry["clusters"], where) if entry.get("clusters") else ()
            if "/" in name.strip("/"):
                raise Invalid(f"{where} has the datacenter '{name}' in a folder", suggestion="Name it without its folders here.")
    if len(known) > 1:
        raise Invalid(
            f"the zones are of the datacenters {', '.join(sorted(known))}",
            suggestion="A CPI config of vSphere is for one datacenter: give each a cloud config of its own.")
    return next(iter(known), "DC0").strip("/"), found


def _rename(session: Session, ref: Any, name: str) -> None:
    run(session, f"name of {name}", lambda: ref.Rename_Task(name))


def _cluster(session: Session, ref: Any, found: list[Place]) -> None:
    facts = read(session, ref, "resourcePool", "host", "name")
    for pool in dict.fromkeys(place.pool.strip("/") for place in found if place.pool):
        parent = facts["resourcePool"]
        for name in pool.split("/"):
            children = read(session, parent, "resourcePool").get("resourcePool") or ()
            have = {read(session, child, "name")["name"]: child for child in children}
            parent = have.get(name) or parent.CreateResourcePool(name, _pool())
    groups = dict.fromkeys(place.host_group for place in found if place.host_group)
    if groups:
        spec = vim.cluster.ConfigSpecEx(groupSpec=[
            vim.cluster.GroupSpec(operation="add", info=vim.cluster.HostGroup(name=name, host=list(facts["host"]))) for name in groups])
        run(session, f"host groups of {facts['name']}", lambda: ref.ReconfigureComputeResource_Task(spec, True))


def _pool() -> Any:
    def allocation() -> Any:
        return vim.ResourceAllocationInfo(reservation=0, limit=-1, expandableReservation=True, shares=_SHARES)

    return vim.ResourceConfigSpec(cpuAllocation=allocation(), memoryAllocation=allocation())


def _networks(session: Session, datacenter: str, room: Room) -> None:
    there = {network.path for network in Inventory(session, datacenter).now().networks}
    switch = session.content.searchIndex.FindByInventoryPath(f"{datacenter}/network/DVS0")
    for _, _, properties in room.subnets():
        name = str(properties.get("name") or "").strip("/")
        if "/" in name:
            properties["name"] = name = name.rpartition("/")[2]
            room.tell(f"the network '{name}' is in no folder")
        if name and name not in there:
            there.add(name)
            spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name=name, numPorts=128, type="earlyBinding")
            run(session, f"port group {name}", lambda spec=spec: switch.AddDVPortgroup_Task([spec]))  # type: ignore[misc]
