"""Machines: made whole or not at all, and certainly gone. Source: CPI contract, sections 4.1 and 7."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cpis.azure import bodies
from cpis.azure.arm import Answer, Arm, Tree
from cpis.azure.disks import blank, hint
from cpis.azure.errors import HELD, with_more
from cpis.azure.names import (
    DISK,
    NIC,
    PIP,
    PUBLIC,
    SETS,
    VM,
    Ref,
    checked,
    ephemeral_name,
    nic_name,
    os_disk_name,
    public_ip_name,
    ref_of,
    shape_of,
    tags_anew,
    tags_of,
    vm_cid,
)
from cpis.azure.networks import Networks, Plan, Subnet, answered, plan
from cpis.cloud import faults
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.tags import SHAPE, TOKEN
from cpis.contract import Conflict, CpiError, Invalid, NoCapacity, NotFound, Properties, Vm, VmRequest, check_interfaces, dialled

_HELD_SECONDS = 300.0
_SET_MARK = "caisson-set-of"
_MOST_NICS = 8

log = logging.getLogger("cpis")


@dataclasses.dataclass(frozen=True)
class _Order:
    """A request that was looked through: all that is needed to make the machine."""

    request: VmRequest
    properties: Mapping[str, Any] = dataclasses.field(repr=False)
    plan: Plan
    ref: Ref
    shape: str
    zone: str
    tags: Mapping[str, str] = dataclasses.field(repr=False)
    image: Mapping[str, Any]
    own: str = ""


class Vms:
    """`image_of(stemcell CID)` gives the image's reference."""

    def __init__(self, arm: Arm, networks: Networks, image_of: Callable[[str], Mapping[str, Any]]) -> None:
        self._arm = arm
        self._settings = arm.settings
        self._networks = networks
        self._image_of = image_of
        self._sets = OnePerToken()

    def path(self, ref: Ref) -> str:
        return self._settings.id_of(VM, ref.name, ref.group)

    def get(self, cid: str) -> Tree:
        """Raises NotFound naming the machine."""
        ref = ref_of(self._settings, cid, "agent_id")
        found = self._arm.find(self.path(ref), f"machine {ref.name}")
        if found is None:
            raise NotFound(f"there is no machine {cid}", resource=cid, kind="vm")
        return found

    def exists(self, cid: str) -> bool:
        ref = ref_of(self._settings, cid, "agent_id")
        return self._arm.find(self.path(ref), f"machine {ref.name}") is not None

    # Creation

    def create(self, request: VmRequest) -> Vm:
        """The machine of this token, made unless it is there."""
        check_interfaces("azure", request.networks)
        order = self._order(request)
        path = self.path(order.ref)
        found = self._arm.find(path, f"machine {order.ref.name}")
        if found is not None:
            vm = self._adopted(order, found)
            if vm is not None:
                return vm
        self._check_disks(order)
        wished = bodies.sizes(order.properties)
        for number, size in enumerate(wished):
            try:
                return self._make(order, size)
            except NoCapacity as error:
                if number + 1 == len(wished):
                    raise
                log.info("Azure has no %s left (%s): trying %s", size, error, wished[number + 1])
        raise AssertionError("a machine has a size")

    def _order(self, request: VmRequest) -> _Order:
        """Everything that can be refused without asking Azure is refused here. Raises Invalid."""
        token = checked(request.token)
        properties = bodies.checked(request.cloud_properties)
        if request.login.agent_settings:
            properties.setdefault("ephemeral_disk", {})  # BOSH's CPI makes one, and BOSH's agents expect it
        planned = plan(request.networks, properties)
        bodies.administrator(self._settings, request.login)
        bodies.user_data(request.login, token)
        zone = str(properties.get("availability_zone") or "")
        shape = shape_of(
            agent=request.agent_id, stemcell=request.stemcell_cid, properties=dict(request.cloud_properties),
            networks=[dataclasses.asdict(network) for network in request.networks])
        group = str(properties.get("resource_group_name") or self._settings.group)
        more = {PUBLIC: "made"} if planned.public else {}
        tags = tags_of(request.metadata, self._settings, token, shape, more, lasting=properties.get("tags"))
        return _Order(
            request, properties, planned, Ref(token, group), shape, zone, tags, self._image_of(request.stemcell_cid))

    def _adopted(self, order: _Order, found: Tree) -> Vm | None:
        """The machine that the token has made before, when it is well. One that failed is taken away: None."""
        tags = {key.lower(): value for key, value in (found.get("tags") or {}).items()}
        path, name = self.path(order.ref), order.ref.name
        state = str(found["properties"].get("provisioningState") or "").lower()
        if state == "deleting":
            self._arm.finished(Answer(202, {}, {}), path, f"deletion of {name}", gone=True)
            self._erase(order.ref, None)
            return None
        if tags.get(SHAPE) != order.shape:
            raise Conflict(f"the token '{name}' has made {vm_cid(name, order.ref.group)} with other arguments", resource=name, kind="vm")
        if state != "failed":
            try:
                found = self._arm.settled(path, f"machine {name}", found)
            except CpiError as error:
                if error.code not in ("Failed", "Canceled"):
                    raise
                state = "failed"
        if state == "failed" and not self._runs(path, name):
            log.info("the machine %s failed before: it is taken away and made anew", name)
            self._erase(order.ref, found)
            return None
        return self._answer_of(order, found)

    def _runs(self, path: str, name: str) -> bool:
        return self.power(path, name) == "running"

    def power(self, path: str, name: str) -> str:
        """running, stopped, deallocated ...; empty when it has no state of power. Raises NotFound."""
        found = self._arm.get(path, f"machine {name}", {"$expand": "instanceView"})
        statuses = (found["properties"].get("instanceView") or {}).get("statuses") or []
        codes = [str(item.get("code") or "") for item in statuses]
        return next((code.partition("/")[2].lower() for code in codes if code.lower().startswith("powerstate/")), "")

    def _answer_of(self, order: _Order, found: Tree) -> Vm:
        """What `create_vm` answers for a machine that is there: its addresses are read from its interfaces."""
        addresses, subnets, public = {}, {}, ""
        nics = [str(item["id"]) for item in found["properties"]["networkProfile"]["networkInterfaces"]]
        for network, nic in zip(order.plan.inside, nics, strict=True):
            config = self._arm.get(nic, f"interface of {order.ref.name}")["properties"]["ipConfigurations"][0]["properties"]
            addresses[network.name] = str(config["privateIPAddress"])
            subnets[network.name] = self._networks.subnet(network)
        if order.plan.public:
            path = self._settings.id_of(PIP, public_ip_name(order.ref.name), order.ref.group)
            public = str(self._arm.get(path, f"public address of {order.ref.name}")["properties"].get("ipAddress") or "")
        return self._vm(order, subnets, addresses, public or (order.plan.vip.ip if order.plan.vip else ""))

    def _vm(self, order: _Order, subnets: Mapping[str, Subnet], addresses: Mapping[str, str], public: str) -> Vm:
        made = answered(order.request.networks, subnets, addresses)
        dial = public if public and self._settings.config.get("ssh_over_public") else dialled(made)
        own = hint(bodies.EPHEMERAL_LUN) if bodies.own_disk(order.properties) else None
        return Vm(vm_cid(order.ref.name, order.ref.group), made, dial, ephemeral_disk=own)

    def _check_disks(self, order: _Order) -> None:
        """Row 31: disks that are to be attached must be where the machine will be. Nothing is made before."""
        for cid in order.request.disk_cids:
            ref = ref_of(self._settings, cid, "disk_name")
            disk = self._arm.find(self._settings.id_of(DISK, ref.name, ref.group), f"disk {ref.name}")
            if disk is None:
                raise NotFound(f"there is no disk {cid}", resource=cid, kind="disk")
            zones = [str(zone) for zone in disk.get("zones") or []]
            everywhere = str((disk.get("sku") or {}).get("name") or "").endswith("_ZRS")
            if (zones or order.zone) and order.zone not in zones and not everywhere:
                where = [f"zone {zone}" if zone else "no zone" for zone in (", ".join(zones), order.zone)]
                raise Invalid(
                    f"the disk {cid} is in {where[0]}, the machine would be in {where[1]}", resource=cid,
                    kind="disk", suggestion="Keep the instance in the zone of its disk, or copy the disk through a snapshot.")

    def _make(self, order: _Order, size: str) -> Vm:
        """One try with one size. Whatever happens, all is there afterwards or nothing."""
        try:
            return self._made(order, size)
        except Exception as error:
            explained = faults.unexplained(f"machine {order.ref.name}", error)
            if self._settings.config.get("keep_failed_vms") and not isinstance(explained, NoCapacity):
                log.warning("the machine %s failed and is kept, as keep_failed_vms says: %s", order.ref.name, explained)
                raise explained from error
            try:
                self._erase(order.ref, self._arm.find(self.path(order.ref), f"machine {order.ref.name}"))
            except CpiError as second:
                raise with_more(
                    explained, f"and what was made of it could not be deleted ({second}); it carries the token {order.ref.name}") from error
            raise explained from error

    def _made(self, order: _Order, size: str) -> Vm:
        name, group, properties = order.ref.name, order.ref.group, order.properties
        subnets = {network.name: self._networks.subnet(network) for network in order.plan.inside}
        location = subnets[order.plan.inside[0].name].location
        public_id, public = self._networks.public_address(name, group, order.plan, location, order.zone, order.tags)
        nics, addresses = [], {}
        for number, network in enumerate(order.plan.inside):
            nic, addresses[network.name] = self._networks.interface(
                name, group, number, network, subnets[network.name], properties, public_id if number == 0 else "", order.tags)
            nics.append(nic)
        own = bodies.data_disk(self._settings, name, properties, self._own_disk(order, location))
        path, what = self.path(order.ref), f"machine {name}"
        with self._in_set(order, location) as set_id:
            body = bodies.machine(
                self._settings, name, size, properties, order.image, nics, order.request.login, location=location, zone=order.zone,
                tags=order.tags, set_id=set_id, own=own)
            # Raw, since `create_node` knows one interface, no zone, set, data disk or identity, and fails with a TypeError for user data.
            answer = self._sent(path, what, body, order)
        self._arm.finished(answer, path, what)
        return self._vm(order, subnets, addresses, public)

    def _sent(self, path: str, what: str, body: Tree, order: _Order) -> Answer:
        """Ask for the machine. When a first request had its effect though its answer was lost, the second one may be refused."""
        try:
            return self._arm.send("PUT", path, what, body)
        except Conflict as error:
            if error.code != "PropertyChangeNotAllowed":
                raise
            found = self._arm.get(path, what)
            if (found.get("tags") or {}).get(SHAPE) != order.shape:
                raise
            return Answer(200, found, {})

    def _own_disk(self, order: _Order, location: str) -> str:
        """Make the ephemeral disk beforehand when it has a speed of its own, which a machine's creation cannot give it."""
        own = bodies.own_disk(order.properties)
        if own is None or not (own.get("iops") or own.get("mbps")):
            return ""
        path = self._settings.id_of(DISK, ephemeral_name(order.ref.name), order.ref.group)
        kind = bodies.disk_kind(self._settings, own.get("type"), order.properties.get("storage_account_type"))
        self._arm.put(path, f"ephemeral disk of {order.ref.name}", blank(
            self._settings, int(own["size"]), {**own, "storage_account_type": kind}, location, order.zone, order.tags))
        return path

    @contextlib.contextmanager
    def _in_set(self, order: _Order, location: str) -> Iterator[str]:
        """The id of the availability set, which is there and stays while the machine is asked for; empty without one."""
        wished = order.properties.get("availability_set")
        if not wished:
            yield ""
            return
        own = wished if isinstance(wished, Mapping) else {"name": wished}
        path = self._settings.id_of(SETS, str(own["name"]), order.ref.group)
        with self._sets(path.lower()):
            if self._arm.find(path, f"availability set {own['name']}") is None:
                few = self._settings.stack
                update, fault = (own.get(f"platform_{kind}_domain_count") or order.properties.get(f"platform_{kind}_domain_count")
                                 for kind in ("update", "fault"))
                self._arm.put(path, f"availability set {own['name']}", {
                    "location": location, "tags": {_SET_MARK: self._settings.director}, "sku": {"name": "Aligned"},
                    "properties": {"platformUpdateDomainCount": update or (1 if few else 5),
                                   "platformFaultDomainCount": fault or (1 if few else 2)}})
            yield path

    # Deletion

    def delete(self, cid: str) -> None:
        """Certainly gone, with all that was made for it."""
        ref = ref_of(self._settings, cid, "agent_id")
        self._erase(ref, self._arm.find(self.path(ref), f"machine {ref.name}"))

    def _erase(self, ref: Ref, found: Tree | None) -> None:
        """Delete the machine and what goes with it. What Azure has deleted with the machine is asked for by name all the same.

        Raw, since `destroy_node` gives up after 100 seconds and says that it was done, and knows no public addresses.
        """
        paths = self._parts(ref, found)
        set_id = str(((found or {}).get("properties", {}).get("availabilitySet") or {}).get("id") or "")
        if found is not None:
            self._arm.delete(self.path(ref), f"machine {ref.name}")

        def held(error: CpiError) -> bool:
            return error.code in HELD or (error.code == "OperationNotAllowed" and "attached" in error.message)

        for path in paths:
            what = f"{path.rsplit('/', 1)[-1]} of {ref.name}"
            # Azure allows so many looks and so many deletions: half of the questions are of one kind, half of the other.
            if "/disks/" in path or self._arm.find(path, what) is not None:
                self._arm.delete(path, what, also=self._arm.bounded(_HELD_SECONDS, held))
        if set_id:
            self._drop_set(set_id)

    def _parts(self, ref: Ref, found: Tree | None) -> list[str]:
        """What goes with the machine, in the order in which it can go; all that there can be when the machine does not tell."""
        disks = [os_disk_name(ref.name)]
        data = ((found or {}).get("properties", {}).get("storageProfile") or {}).get("dataDisks") or []
        if found is None or any(int(disk.get("lun", -1)) == bodies.EPHEMERAL_LUN for disk in data):
            disks.append(ephemeral_name(ref.name))
        paths = [*self._interfaces(ref, found), *(self._settings.id_of(DISK, name, ref.group) for name in disks)]
        tags = (found or {}).get("tags") or {}
        if PUBLIC in tags or TOKEN not in tags:
            paths.append(self._settings.id_of(PIP, public_ip_name(ref.name), ref.group))
        return paths

    def _interfaces(self, ref: Ref, found: Tree | None) -> Sequence[str]:
        """The machine's interfaces, the last first; by their names, which are counted up, when there is no machine."""
        if found is not None:
            profile = found["properties"].get("networkProfile") or {}
            return [str(item["id"]) for item in reversed(profile.get("networkInterfaces") or [])]
        paths = [self._settings.id_of(NIC, nic_name(ref.name, number), ref.group) for number in range(_MOST_NICS)]
        count = next((number for number, path in enumerate(paths) if self._arm.find(path, f"interface of {ref.name}") is None), len(paths))
        return list(reversed(paths[:count]))

    def _drop_set(self, path: str) -> None:
        """Delete an availability set of ours that nothing is in any more."""
        with self._sets(path.lower()):
            found = self._arm.find(path, "availability set")
            if found is None or (found.get("tags") or {}).get(_SET_MARK) != self._settings.director:
                return
            if found["properties"].get("virtualMachines"):
                return
            try:
                self._arm.delete(path, "availability set")
            except Conflict as error:
                log.debug("the availability set %s stays: %s", path, error)

    # What else there is to do with a machine

    def reboot(self, cid: str) -> None:
        """Start it when it is off. Raw, since `reboot_node` answers False for whatever went wrong."""
        ref = ref_of(self._settings, cid, "agent_id")
        try:
            power = self.power(self.path(ref), ref.name)
        except NotFound as error:
            raise NotFound(f"there is no machine {cid}", resource=cid, kind="vm") from error
        action = "restart" if power in ("running", "starting", "") else "start"
        self._arm.post(f"{self.path(ref)}/{action}", f"{action} of {ref.name}")

    def set_metadata(self, cid: str, metadata: Properties) -> None:
        """A PATCH with all tags, since it replaces them all."""
        found = self.get(cid)
        ref = ref_of(self._settings, cid, "agent_id")
        self._arm.patch(self.path(ref), f"tags of {ref.name}", {"tags": tags_anew(metadata, found.get("tags") or {})})
