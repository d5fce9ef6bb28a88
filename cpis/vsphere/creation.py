"""Making a machine: clone, tell it who it is, power on. Source: CPI contract, sections 4.1, 10.2 and 10.3.

All steps after the clone may be done again: a machine that an interrupted call left half made is finished by the next call with its token.
The requests of a call, once inventory and stemcell are known: the look for the token, what is free, the addresses in use, then clone, its
hardware (vCenter gives the MACs), its options, and power on, each task with one look or more at its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pyVmomi import vim

from cpis.cloud.faults import NOT_SENT
from cpis.cloud.tags import clean
from cpis.cloud.waiting import wait_for
from cpis.contract import Conflict, CpiError, DiskHint, Invalid, Network, NoCapacity, NotFound, Unavailable, Vm, VmRequest, check_interfaces
from cpis.vsphere import config as configuration
from cpis.vsphere import guest, hardware, iso
from cpis.vsphere.config import Config
from cpis.vsphere.inventory import Inventory, Net, Start, collect, read, traverse
from cpis.vsphere.machines import RULES, SETTINGS, Machine, Machines
from cpis.vsphere.marks import Marks, instance_uuid, options, shape
from cpis.vsphere.placement import Placement, Spot
from cpis.vsphere.policies import Policies
from cpis.vsphere.rules import Rules, Wanted, wanted
from cpis.vsphere.session import Session
from cpis.vsphere.stemcells import Stemcells
from cpis.vsphere.tagging import Tagging
from cpis.vsphere.tasks import run

_LOST_SECONDS = 60.0
_LONGEST_NAME = 80


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked request. `values` are its cloud properties with defaults, `nets` its networks in the inventory."""

    request: VmRequest
    values: Mapping[str, Any]
    networks: tuple[Network, ...]
    nets: tuple[Net, ...]
    shape: str

    @property
    def cid(self) -> str:
        """The machine's CID, which is the token."""
        return self.request.token


class Creation:
    """Safe to use from many threads. `disk_stores` tells where persistent disks are."""

    def __init__(
        self, session: Session, inventory: Inventory, placement: Placement, stemcells: Stemcells, machines: Machines, config: Config,
        disk_stores: Callable[[tuple[str, ...]], Sequence[Any]], clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._inventory = inventory
        self._placement = placement
        self._stemcells = stemcells
        self._machines = machines
        self._config = config
        self._disk_stores = disk_stores
        self._clock = clock
        self._rules = Rules(session, inventory)
        self._policies = Policies(session)
        self._tagging = Tagging(session)
        self._clones = threading.BoundedSemaphore(max(1, config.values["concurrent_clones"]))
        self._address_lock = threading.Lock()
        self._addresses: dict[tuple[str, str], str] = {}

    def create(self, request: VmRequest) -> Vm:
        """As the contract says."""
        check_interfaces("vsphere", request.networks)
        plan = self._plan(request)
        with self._machines.alone(plan.cid):
            machine = self._machines.find(plan.cid, by_name=False)  # of that name, but not of its id, is what vCenter refuses itself
            if machine is not None:
                if machine.marks.shape != plan.shape:
                    raise Conflict(f"the token '{plan.cid}' has made a machine with other arguments", resource=plan.cid, kind="vm")
                if machine.running:
                    return self._answer(plan, machine)
            with self._reserved(plan):
                return self._made(plan, machine)

    def _plan(self, request: VmRequest) -> Plan:
        """All that can be said without changing anything; nothing is asked of vCenter that the inventory knows."""
        values = configuration.machine(request.cloud_properties)
        networks = guest.check_networks(request.networks)
        names = [configuration.SCHEMA.check("network", network.cloud_properties)["name"] for network in networks]
        guest.data(request.token, request.login, networks, ["00:00:00:00:00:00"] * len(networks))  # fits, or raises
        nets = tuple(self._inventory.network(name) for name in names)
        its_shape = shape(
            "vm", request.agent_id, request.stemcell_cid, dict(request.cloud_properties), [dataclasses.asdict(one) for one in networks])
        return Plan(request, values, networks, nets, its_shape)

    def _made(self, plan: Plan, machine: Machine | None) -> Vm:
        """The machine, made or finished. What fails is taken away; a cluster that has no room for it gives way to the next."""
        if machine is not None:
            return self._finished(plan, machine.ref, None)
        self._refuse_taken(plan)
        spots = self._spots(plan)
        for number, spot in enumerate(spots):
            try:
                ref = self._cloned(plan, spot)
                return self._finished(plan, ref, spot)
            except BaseException as error:
                self._away(plan.cid, error)
                if not isinstance(error, NoCapacity) or number == len(spots) - 1:
                    raise
        raise NoCapacity(f"no cluster takes {plan.cid}")  # pragma: no cover - spots are never none

    def _spots(self, plan: Plan) -> list[Spot]:
        values = plan.values
        policy = self._policies.find(self._policy(plan))
        return self._placement.spots(
            plan.cid, self._config.places_of(values), configuration.stores(values, self._config.stores), ram_mib=values["ram"],
            disk_mib=values["disk"] + values["ram"], must_reach=self._disk_stores(plan.request.disk_cids),
            compatible=self._policies.datastores(policy) if policy else None)

    def _policy(self, plan: Plan) -> str:
        return str((plan.values.get("storage_policy") or {}).get("name") or self._config.values.get("vm_storage_policy_name") or "")

    # Addresses

    @contextlib.contextmanager
    def _reserved(self, plan: Plan) -> Iterator[None]:
        """While this machine is made, its addresses are nobody else's in this process. Raises Conflict."""
        keys = [(net.ref._moId, network.ip) for net, network in zip(plan.nets, plan.networks, strict=True)]
        with self._address_lock:
            taken = next((key for key in keys if self._addresses.get(key, plan.cid) != plan.cid), None)
            if taken is not None:
                raise _taken(taken[1], self._addresses[taken])
            self._addresses.update(dict.fromkeys(keys, plan.cid))
        try:
            yield
        finally:
            with self._address_lock:
                for key in keys:
                    self._addresses.pop(key, None)

    def _refuse_taken(self, plan: Plan) -> None:
        """Raises Conflict when a machine on one of the networks has the address: nothing in vSphere gives addresses or guards them."""
        if not self._config.values["ensure_no_ip_conflicts"]:
            return
        on = tuple(Start(net.ref, [traverse("on", vim.Network, "vm")], True) for net in dict.fromkeys(plan.nets))
        wanted_ips = {(net.ref._moId, network.ip) for net, network in zip(plan.nets, plan.networks, strict=True)}
        names = {(net.name, network.ip) for net, network in zip(plan.nets, plan.networks, strict=True)}
        for facts, marks in self._machines.marked("name", "guest.net", more=on).values():
            if marks.token == plan.cid:
                continue
            ours = {(net, ip) for net, ips in marks.addresses.items() for ip in ips}
            seen = {(nic.network, ip) for nic in facts.get("guest.net") or [] for ip in nic.ipAddress or []}
            for _, ip in (ours & wanted_ips) | (seen & names):
                raise _taken(ip, facts.get("name", "another machine"))

    # Cloning

    def _cloned(self, plan: Plan, spot: Spot) -> Any:
        policy = self._policies.find(self._policy(plan))
        wish = self._wish(plan, spot)
        for second in (False, True):
            template = self._stemcells.template(plan.request.stemcell_cid, spot.datastore, spot.pool)
            spec = self._clone_spec(plan, spot, template, policy, wish)
            folder = self._inventory.folder(self._config.vm_folder)
            try:
                with self._clones:
                    return run(self._session, f"clone of {plan.cid}", lambda: template.ref.CloneVM_Task(folder, self._name(plan), spec))  # noqa: B023
            except NotFound:
                # What was remembered is gone, stemcell or folder; the next look says what there is.
                self._stemcells.forget(plan.request.stemcell_cid)
                self._inventory.forget()
                if second:
                    raise
            except (Unavailable, Conflict) as error:
                found = self._after(plan.cid, error)
                if found is None:
                    raise
                return found
        raise AssertionError("unreachable")

    def _after(self, cid: str, error: CpiError) -> Any:
        """The machine that a clone made whose answer was lost, or that another process was faster with; None without one."""
        if error.code == NOT_SENT or (isinstance(error, Conflict) and error.code != "DuplicateName"):
            return None
        with contextlib.suppress(Unavailable):
            ref = wait_for(
                f"{cid} to appear", lambda: self._machines.ref(cid), deadline=_LOST_SECONDS, every=1.0, clock=self._session.clock,
                sleep=self._session.sleep)
            return ref if self._machines.look(cid, ref).marks.token == cid else None
        return None

    def _clone_spec(self, plan: Plan, spot: Spot, template: Any, policy: Any, wish: Wanted) -> Any:
        values, config = plan.values, self._config.values
        slots = hardware.Slots(template.devices, config["default_scsi_controller_type"])
        profile = self._policies.spec(policy)
        kept = [change for nic in hardware.nics(template.devices) for change in [hardware.change(nic, "remove")]]
        ephemeral = hardware.new_disk(
            slots, spot.datastore.ref, f"[{spot.datastore.name}]", values["disk"], config["default_disk_type"], profile)
        passthroughs = hardware.passthroughs(slots, values)
        root = hardware.disks(template.devices)
        changes = [*kept, *slots.added, ephemeral, *hardware.new_nics(slots, plan.nets), *passthroughs]
        if values.get("root_disk_size_gb"):
            if not root:
                raise Invalid("root_disk_size_gb: the stemcell has no disk")
            changes.insert(0, hardware.grown(root[0], values["root_disk_size_gb"]))
        locked = values.get("memory_reservation_locked_to_max", config["memory_reservation_locked_to_max"]) or bool(passthroughs)
        machine = vim.vm.ConfigSpec(
            numCPUs=values["cpu"], memoryMB=values["ram"], instanceUuid=instance_uuid(plan.cid), deviceChange=changes, vmProfile=profile,
            cpuHotAddEnabled=values.get("cpu_hot_add_enabled"), memoryHotAddEnabled=values.get("memory_hot_add_enabled"),
            nestedHVEnabled=values.get("nested_hardware_virtualization"), memoryReservationLockedToMax=locked or None,
            cpuAllocation=self._reservation(plan, spot), extraConfig=self._options(plan, spot, wish))
        move = "createNewChildDiskBacking" if template.snapshot is not None else "moveAllDiskBackingsAndDisallowSharing"
        place = vim.vm.RelocateSpec(pool=spot.pool, datastore=spot.datastore.ref, diskMoveType=move, profile=profile)
        return vim.vm.CloneSpec(location=place, snapshot=template.snapshot, powerOn=False, template=False, config=machine)

    def _reservation(self, plan: Plan, spot: Spot) -> Any:
        if not plan.values.get("cpu_reserve_full_mhz", self._config.values["cpu_reserve_full_mhz"]):
            return None
        facts = collect(self._session, [Start(host) for host in spot.cluster.hosts], {vim.HostSystem: ["summary.hardware.cpuMhz"]})
        speeds = [found["summary.hardware.cpuMhz"] for found in facts.values() if found.get("summary.hardware.cpuMhz")]
        if not speeds:
            raise NoCapacity(f"cpu_reserve_full_mhz: no host of {spot.cluster.name} tells its speed")
        return vim.ResourceAllocationInfo(reservation=plan.values["cpu"] * min(speeds))

    def _options(self, plan: Plan, spot: Spot, wish: Wanted) -> list[Any]:
        addresses: dict[str, list[str]] = {}
        for net, network in zip(plan.nets, plan.networks, strict=True):
            addresses.setdefault(net.ref._moId, []).append(network.ip)
        marks = Marks(
            plan.cid, self._config.director, plan.shape, self._clock(), addresses, clean(plan.request.metadata, RULES),
            wish.marks(spot.cluster))
        given = {**(self._config.values.get("vmx_options") or {}), **(plan.values.get("vmx_options") or {})}
        return [*options({"disk.enableUUID": "TRUE", **given}), *marks.options()]

    def _name(self, plan: Plan) -> str:
        """The token, or with `enable_human_readable_name` instance group, deployment and the token's end, as BOSH's CPI does it."""
        if not plan.values.get("enable_human_readable_name", self._config.values["enable_human_readable_name"]):
            return plan.cid
        metadata = plan.request.metadata
        parts = [metadata.get("instance_group") or metadata.get("job") or "", metadata.get("deployment") or ""]
        words = [re.sub(r"[^A-Za-z0-9-]+", "-", part).strip("-") for part in parts if part]
        end = plan.cid[-12:]
        return "_".join(["_".join(words)[: _LONGEST_NAME - len(end) - 1], end]) if words else plan.cid

    def _wish(self, plan: Plan, spot: Spot) -> Wanted:
        bosh = plan.request.env.get("bosh") or {}
        group = str(bosh.get("group") or "") if isinstance(bosh, Mapping) else ""
        automatic = group or "-".join(
            part for part in (plan.request.metadata.get("deployment", ""), plan.request.metadata.get("instance_group", "")) if part)
        return wanted(spot.place, plan.values, automatic if self._config.values["enable_auto_anti_affinity_drs_rules"] else "")

    # Finishing

    def _finished(self, plan: Plan, ref: Any, spot: Spot | None) -> Vm:
        machine = self._machines.look(plan.cid, ref)
        macs = hardware.macs(machine.devices, len(plan.networks))
        cluster = spot.cluster if spot else self._machines.cluster_of(plan.cid)
        if spot is None and cluster is not None:
            place = next((one for one in self._config.places_of(plan.values) if self._inventory.cluster(one.cluster) == cluster), None)
            spot = Spot(place, cluster, None, None) if place else None  # type: ignore[arg-type]
        told = options(guest.data(plan.cid, plan.request.login, plan.networks, macs))
        spec = vim.vm.ConfigSpec(extraConfig=told, deviceChange=self._disc(plan, machine, macs))
        run(self._session, f"options of {plan.cid}", lambda: ref.ReconfigVM_Task(spec))
        if plan.values.get("upgrade_hw_version", self._config.values["upgrade_hw_version"]):
            self._upgrade(plan.cid, ref)
        if spot is not None:
            self._rules.join(plan.cid, ref, spot.cluster, self._wish(plan, spot))
        if plan.values.get("tags"):
            self._tagging.attach(ref, plan.values["tags"])
        self._machines.power_on(plan.cid, ref)
        return self._answer(plan, machine)

    def _disc(self, plan: Plan, machine: Machine, macs: Sequence[str]) -> list[Any]:
        """For a BOSH agent, which looks for its settings on the CD-ROM: the changes that put them there."""
        settings = plan.request.login.agent_settings
        if not settings:
            return []
        path = str(read(self._session, machine.ref, "config.files.vmPathName")["config.files.vmPathName"])
        folder = path.rpartition("/")[0]
        store, _, directory = folder.removeprefix("[").partition("] ")
        image = iso.image("env", guest.with_macs(settings, plan.networks, macs).encode())
        self._session.put_file(self._inventory.datacenter, store, f"{directory}/{SETTINGS}", image)
        return hardware.disc(machine.devices, f"{folder}/{SETTINGS}")

    def _upgrade(self, cid: str, ref: Any) -> None:
        version = f"vmx-{self._config.values['default_hw_version']}"
        try:
            run(self._session, f"hardware version of {cid}", lambda: ref.UpgradeVM_Task(version))
        except CpiError as error:
            if error.code != "AlreadyUpgraded":
                raise

    def _answer(self, plan: Plan, machine: Machine) -> Vm:
        gateway = next((network for network in plan.networks if "gateway" in network.default), plan.networks[0])
        return Vm(plan.cid, plan.networks, gateway.ip, ephemeral_disk=_ephemeral(machine))

    def _away(self, cid: str, error: BaseException) -> None:
        """Take a half-made machine away. When that fails too, the error says so and names it: the sweep finds it by its mark."""
        try:
            machine = self._machines.find(cid)
            if machine is not None and machine.marks.token == cid:
                self._machines.destroy(machine)
        except NotFound:
            return
        except CpiError as second:
            error.add_note(f"and the half-made machine {cid} could not be deleted: {second}")
            if isinstance(error, CpiError):
                error.message = f"{error.message}; and the half-made machine {cid} could not be deleted: {second}"
                error.args = (error.message,)


def _taken(ip: str, by: str) -> Conflict:
    return Conflict(
        f"the address {ip} is in use by {by}", resource=ip, kind="address",
        suggestion="Delete that machine, or take another address (`reserved` in the cloud config keeps the director off those of others).")


def _ephemeral(machine: Machine) -> DiskHint | None:
    """The newest disk that is the machine's own, beside its root disk."""
    own = [disk for disk in hardware.disks(machine.devices) if disk.backing.diskMode != hardware.PERSISTENT]
    if len(own) < 2:
        return None
    disk = max(own, key=lambda one: one.key)
    uuid = hardware.disk_id(disk.backing.uuid or "")
    if not uuid:
        return DiskHint(lun=str(disk.unitNumber))
    return DiskHint(path=f"/dev/disk/by-id/wwn-0x{uuid.replace('-', '')}", id=uuid)
