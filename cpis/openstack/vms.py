"""Machines: planned without a request where that goes, then ports, then the server, then what leads to it; or nothing of all that."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cpis.cloud import tags
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.userdata import cloud_config, fit
from cpis.cloud.waiting import wait_for
from cpis.contract import (
    CpiError,
    Denied,
    DiskHint,
    Invalid,
    Login,
    NoCapacity,
    NotFound,
    Properties,
    Unavailable,
    Vm,
    VmRequest,
    check_interfaces,
    dialled,
)
from cpis.openstack import marks, networks
from cpis.openstack.answers import Flavor, Port, Server
from cpis.openstack.flavors import Flavors
from cpis.openstack.groups import Groups
from cpis.openstack.marks import Marks
from cpis.openstack.networks import Floating, Networks
from cpis.openstack.pools import Pools
from cpis.openstack.servers import Servers, parameters
from cpis.openstack.volumes import Volumes

# Source: Nova's API, `user_data` of a new server. CPI contract, section 9.3.
USER_DATA_BYTES = 65_535
# Nova gives a flavor's ephemeral disk the second place. The guest takes this for /dev/vdb where disks are virtio's.
_EPHEMERAL = "/dev/sdb"
# cloud-init would mount it at /mnt.
_NOT_MOUNTED = {"mounts": [["ephemeral0", None]]}
_ATTEMPTS = 2
_NO_TRACE = "no-trace"

log = logging.getLogger("cpis")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a machine is made of, all of it resolved and looked up."""

    properties: Properties
    shape: str
    userdata: str = dataclasses.field(repr=False)
    image: str
    flavor: Flavor
    groups: list[str] | None
    zones: tuple[str, ...]
    floating: tuple[Floating, ...]
    pools: tuple[tuple[str, int], ...]
    root_gib: int
    name: str


class Vms:
    """`config` is the checked CPI config. Methods promise and raise what `cpis.contract.Cpi` says."""

    def __init__(
        self, config: Properties, marks_: Marks, servers: Servers, networks_: Networks, volumes: Volumes, flavors: Flavors, pools: Pools,
        groups: Groups, *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._marks = marks_
        self._servers = servers
        self._networks = networks_
        self._volumes = volumes
        self._flavors = flavors
        self._pools = pools
        self._groups = groups
        self._clock = clock
        self._sleep = sleep
        self._lost = float(config["lost_answer_wait"])
        self._once = OnePerToken()

    # Creation

    def create(self, request: VmRequest, image: str) -> Vm:
        check_interfaces("openstack", request.networks)
        properties = self._checked(request)
        userdata = _userdata(request.login)
        shape = marks.shape_of(request)
        with self._once(request.token):
            ports = self._networks.ports(request.token)
            server = self._there(request.token, ports, shape) if ports else None
            plan = self._plan(request, properties, userdata, shape, image, ports if server else ())
            if server is None:
                return self._anew(request, plan)
            try:
                return self._finished(request, plan, self._servers.until_active(server.id).id, ports)
            except CpiError as error:
                self._undo(request.token, error)
                raise

    def _anew(self, request: VmRequest, plan: Plan) -> Vm:
        """The machine, made from nothing; nothing of it stays when that fails."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                vm = self._made(request, plan)
                if attempt > 1:
                    self._without_late(request.token, vm.cid)
                return vm
            except CpiError as error:
                self._undo(request.token, error)
                if error.code != _NO_TRACE or attempt == _ATTEMPTS:
                    raise
                # The ports are deleted: should the lost request come to life now, its server fails for want of them.
                log.info("machine %s: asked for anew, the first request left no trace", request.token)
        raise AssertionError("unreachable")

    def _without_late(self, token: str, cid: str) -> None:
        """Delete the server of a lost request that came after all."""
        for server in self._servers.tagged(token):
            if server.id != cid:
                self._servers.delete(server.id)

    def _checked(self, request: VmRequest) -> dict[str, Any]:
        """The machine's properties; what is wrong with them and the networks is said before any request."""
        schema = Schema.of("openstack")
        properties = schema.check("vm_type", request.cloud_properties)
        for network in request.networks:
            if network.type != "vip":
                schema.check("network", network.cloud_properties)
        networks.check(request.networks)
        return properties

    def _plan(
        self, request: VmRequest, properties: Mapping[str, Any], userdata: str, shape: str, image: str, own: Sequence[Port],
    ) -> Plan:
        """Reads only; what cannot work is said here, before anything is made."""
        flavor = self._flavors.named(properties["instance_type"])
        floating = tuple(self._networks.floating(request.networks))
        self._networks.check_floating(floating, own)
        root = properties.get("boot_from_volume")
        size = 0
        if self._config["boot_from_volume"] if root is None else root:
            size = int((properties.get("root_disk") or {}).get("size") or flavor.disk)
            if size < 1:
                raise Invalid(
                    f"flavor '{flavor.name}' has no root disk, and the machine boots from a volume of unknown size",
                    suggestion="Give root_disk.size in GiB.")
        name = request.metadata.get("name") if self._config["human_readable_vm_names"] else ""
        return Plan(
            properties, shape, userdata, image, flavor,
            self._networks.groups(properties, request.networks, self._config.get("default_security_groups")),
            self._zones(request, properties), floating, tuple(self._pools.resolve(properties.get("loadbalancer_pools") or ())), size,
            marks.RULES.value(str(name)) if name else request.token)

    def _zones(self, request: VmRequest, properties: Mapping[str, Any]) -> tuple[str, ...]:
        """Where the machine may be, in the order of trying; empty text leaves it to Nova. Raises Invalid when its disks are elsewhere."""
        zones = tuple(properties.get("availability_zones") or ()) or (properties.get("availability_zone") or "",)
        if self._config["ignore_server_availability_zone"] or not request.disk_cids:
            return zones
        disks = {cid: self._volumes.get(cid).zone for cid in request.disk_cids}
        places = set(disks.values())
        if len(places) > 1:
            raise Invalid("the machine's disks are in different zones: " + ", ".join(f"{cid} in '{zone}'" for cid, zone in disks.items()))
        (place,) = places
        if zones == ("",) or place in zones:
            return (place,)
        raise Invalid(
            f"the disk {next(iter(disks))} is in zone '{place}', and the machine is to be in zone '{', '.join(zones)}'",
            suggestion="Set ignore_server_availability_zone if this cloud attaches volumes across zones.")

    def _made(self, request: VmRequest, plan: Plan) -> Vm:
        ports = self._networks.make_ports(request.token, request.networks, plan.groups, plan.properties)
        metadata = self._marks.metadata(request.token, plan.shape, request.metadata)
        root = self._root(request, plan)
        if root:
            metadata[marks.ROOT] = root
        if plan.pools:
            metadata[marks.POOLS] = ",".join(pool for pool, _ in plan.pools)
        for number, zone in enumerate(plan.zones, 1):
            with self._hints(request, plan, metadata) as hints:
                cid = self._server(request, plan, ports, metadata, hints, root, zone)
            try:
                self._servers.until_active(cid)
            except NoCapacity as error:
                if number == len(plan.zones):
                    raise
                log.info("machine %s: no room in zone '%s' (%s), trying '%s'", request.token, zone, error, plan.zones[number])
                self._servers.delete(cid)
                continue
            return self._finished(request, plan, cid, ports)
        raise AssertionError("unreachable")

    def _root(self, request: VmRequest, plan: Plan) -> str:
        """The root volume, made before the server: one that Nova makes itself carries no mark, and stays when its copy fails."""
        if not plan.root_gib:
            return ""
        shape: dict[str, Any] = {
            "size": plan.root_gib, "name": request.token, "imageRef": plan.image,
            "metadata": {**self._marks.metadata(request.token, plan.shape, request.metadata), marks.ROOT: "yes"}}
        kind = (plan.properties.get("root_disk") or {}).get("type") or self._config.get("default_volume_type")
        if kind:
            shape["volume_type"] = kind
        if plan.zones[0] and not self._config["ignore_server_availability_zone"]:
            shape["availability_zone"] = plan.zones[0]
        return self._volumes.create(shape)

    @contextlib.contextmanager
    def _hints(self, request: VmRequest, plan: Plan, metadata: dict[str, str]) -> Iterator[Mapping[str, Any]]:
        hints = dict(plan.properties.get("scheduler_hints") or {})
        group = str((request.env.get("bosh") or {}).get("group") or "")
        if not group or not self._config["enable_auto_anti_affinity"] or "group" in hints:
            yield hints
            return
        with self._groups.held(group) as cid:
            metadata[marks.GROUP] = cid
            yield {**hints, "group": cid}

    def _server(
        self, request: VmRequest, plan: Plan, ports: Sequence[Port], metadata: Mapping[str, str], hints: Mapping[str, Any], root: str,
        zone: str,
    ) -> str:
        """The id of the server. When the request is not answered it is looked for, and never sent again with the same ports.

        Raises Unavailable with code _NO_TRACE when none shows in that time.
        """
        try:
            return self._servers.create(lambda driver: parameters(
                driver, name=plan.name, flavor=plan.flavor.id, image=plan.image, ports=[port.id for port in ports],
                tags=[request.token, self._marks.tag], metadata=metadata, userdata=plan.userdata,
                config_drive=bool(self._config.get("config_drive")), zone=zone,
                key_name=plan.properties.get("key_name") or self._config.get("default_key_name") or "", root_volume=root), hints)
        except Unavailable as error:
            found = self._lost_one(request.token, self._lost)
            if found is None:
                raise Unavailable(
                    f"{error.message}; no machine showed in {self._lost:.0f} s", code=_NO_TRACE, request_id=error.request_id,
                    suggestion=error.suggestion) from error
            return found.id

    def _lost_one(self, token: str, seconds: float) -> Server | None:
        """The server of an unanswered request, looked for so long."""
        try:
            return wait_for(
                f"a server tagged {token}", lambda: _best(self._servers.tagged(token)), deadline=seconds, every=1.0, longest=5.0,
                clock=self._clock, sleep=self._sleep)
        except Unavailable as late:
            if late.code != "timeout":
                raise
            return None

    def _there(self, token: str, ports: Sequence[Port], shape: str) -> Server | None:
        """The server that an earlier call made, if it is well. What else is left of that call is deleted.

        Ports without a server may belong to a request under way, whose maker is dead: it is waited for as long as for a lost answer.
        """
        age = self._clock() - max(port.created_at or 0.0 for port in ports)
        found = self._lost_one(token, max(0.0, self._lost - max(0.0, age)))
        if found is not None:
            marks.same(token, shape, found.metadata, found.id)
            if found.status != "ERROR":
                return found
        self.delete(token)
        return None

    def _finished(self, request: VmRequest, plan: Plan, cid: str, ports: Sequence[Port]) -> Vm:
        """Lead addresses and load balancers to it. Done again it changes nothing."""
        told = self._networks.told(request.networks, ports)
        main = networks.gateway_of([network for network in told if network.type != "vip"])
        ephemeral = DiskHint(path=_EPHEMERAL) if plan.flavor.ephemeral else None
        port = networks.port_of(main, ports)
        self._networks.lead(plan.floating, port)
        self._pools.join(request.token, plan.pools, main.ip, port.addresses[0][0])
        return Vm(cid, told, dialled(told), ephemeral_disk=ephemeral)

    def _undo(self, token: str, error: CpiError) -> None:
        """Delete what there is for the token. What cannot be is added to the error's words."""
        try:
            self.delete(token)
        except CpiError as second:
            error.message = f"{error.message}; and what was made could not be deleted: {second.message}"
            error.args = (error.message,)
            error.suggestion = f"{error.suggestion} `caisson orphans --cloud` finds what carries {token}.".strip()

    # Deletion

    def delete(self, cid: str) -> None:
        """`cid` is a server's id, or the token of a machine that is half made.

        Neutron lets nobody delete a server's port, so that the ports come last. They are tagged with the server's id before: should this
        end in between, the next call finds them by it, though the server that knew their token is gone. Another server of the same token
        (this one came of a request that was given up and sent anew) keeps its ports and its places in pools.
        """
        if not is_uuid(cid):
            self._delete_marked(cid)
            return
        try:
            server = self._servers.get(cid)
        except NotFound:
            self._networks.delete_ports(self._networks.ports_tagged(cid))
            return
        token = server.metadata.get(tags.TOKEN, "")
        self._leave_pools(token, server)
        ports = [port for port in self._networks.ports(token) if port.device in ("", cid)] if token else []
        for port in ports:
            self._networks.tag(port, cid)
        self._servers.delete(cid)
        self._networks.delete_ports(ports)
        self._after(server)

    def _delete_marked(self, token: str) -> None:
        """Everything with this token. A server that shows up only when its ports are to be deleted is deleted, too."""
        for last in (False, True):
            found = [server for server in self._servers.tagged(token) if server.metadata.get(tags.TOKEN) == token]
            for server in found:
                self._leave_pools(token, server)
                self._servers.delete(server.id)
            try:
                self._networks.delete_ports(self._networks.ports(token))
            except Denied:
                if last:
                    raise
                continue
            for server in found:
                self._after(server)
            break
        volume = self._volumes.named(token)
        if volume is not None and marks.ROOT in volume.metadata:
            self._volumes.delete(volume.id)

    def _leave_pools(self, token: str, server: Server) -> None:
        pools = [pool for pool in server.metadata.get(marks.POOLS, "").split(",") if pool]
        if pools and not any(other.id != server.id and other.status != "ERROR" for other in self._servers.tagged(token)):
            self._pools.leave(token, pools)

    def _after(self, server: Server) -> None:
        """What goes with a server: its root volume (Cinder deletes it by itself, unless the server never had it) and one more that a lost
        request made long after, an empty group."""
        if server.metadata.get(marks.ROOT):
            self._volumes.delete(server.metadata[marks.ROOT])
            late = self._volumes.named(server.metadata.get(tags.TOKEN, ""))
            if late is not None and marks.ROOT in late.metadata and not late.attachments:
                self._volumes.delete(late.id)
        if server.metadata.get(marks.GROUP):
            self._groups.release(server.metadata[marks.GROUP])

    # The rest

    def has(self, cid: str) -> bool:
        try:
            self._servers.get(cid)
        except NotFound:
            return False
        return True

    def reboot(self, cid: str) -> None:
        """Softly while it runs; one that is off is started, one that hangs in an error is reset."""
        server = self._servers.get(cid)
        if server.status == "SHUTOFF":
            self._servers.start(cid)
        else:
            self._servers.reboot(cid, hard=server.status != "ACTIVE")
        self._servers.until_active(cid)

    def set_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        there = self._servers.get(cid).metadata
        self._servers.replace_metadata(cid, self._marks.replaced(there, metadata))
        name = marks.RULES.value(str(metadata.get("name") or ""))
        if name and self._config["human_readable_vm_names"]:
            self._servers.rename(cid, name)

    def disks(self, cid: str) -> list[str]:
        """Those that outlive the machine."""
        return [volume for volume, goes_with in self._servers.get(cid).volumes if not goes_with]


def is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _best(found: Sequence[Server]) -> Server | None:
    """A server that is well, else one that failed; the oldest."""
    return min(found, key=lambda server: server.status == "ERROR", default=None)


def _userdata(login: Login) -> str:
    """Raises Invalid when it is longer than Nova takes, as it is counted there: in base64."""
    text = login.agent_settings or cloud_config(login, extra=_NOT_MOUNTED)
    fit(base64.b64encode(text.encode()), USER_DATA_BYTES, "OpenStack (in base64)")
    return text
