"""The life of machines: made, taken over after a crash, restarted, deleted. Requests of a plain creation: insert, wait (2; 3 when an
address is to be read).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.text import redact
from cpis.cloud.waiting import wait_for
from cpis.contract import (
    Conflict,
    CpiError,
    Denied,
    Invalid,
    Network,
    NotFound,
    Unavailable,
    Vm,
    VmRequest,
    check_interfaces,
    dialled,
)
from cpis.gcp.api import Body, Compute, Places, absolute, quoted
from cpis.gcp.balancing import Balancers
from cpis.gcp.errors import ADDRESS_TAKEN, EXISTS
from cpis.gcp.machines import LOCAL_SSD, Plan, plan
from cpis.gcp.names import POOL, is_ours, last, replaced
from cpis.gcp.settings import Settings

_UP_SECONDS = 600.0
_ADDRESS_SECONDS = 120.0
_ADDRESS_EVERY = 10.0
_LATE_SECONDS = 5.0
_MOST_MEETINGS = 3
_TAKEN_IP = re.compile(r"IP '([0-9a-fA-F.:]+)'")
_GOING = ("STOPPING", "SUSPENDING")
_COMING = ("PROVISIONING", "STAGING", "REPAIRING")
_SHORTEST_SECRET_LINE = 16

log = logging.getLogger("cpis")


class _NothingMade(Exception):
    """Carries an error after which nothing is there that was not there before."""

    def __init__(self, error: CpiError) -> None:
        super().__init__(str(error))
        self.error = error


class Vms:
    """Machines of one project."""

    def __init__(
        self, settings: Settings, compute: Compute, places: Places, *,
        clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._compute = compute
        self._places = places
        self._balancers = Balancers(compute)
        self._clock = clock
        self._sleep = sleep
        self._once = OnePerToken()
        self._subnets: dict[str, Body] = {}

    # Making

    def create(self, request: VmRequest) -> Vm:
        """See the contract. Raises Invalid before any request for what can be seen in the request itself."""
        check_interfaces("gcp", request.networks)
        properties = Schema.of("gcp").check("vm_type", request.cloud_properties)
        zone = properties.get("zone") or self._settings.zone
        if not zone:
            raise Invalid("a machine needs a zone", suggestion="Name it in the AZ's cloud_properties.")
        made = plan(self._settings, request, properties, zone, image_link(self._settings.project, request.stemcell_cid))
        self._check_disks(request.disk_cids, zone)
        with self._once(request.token):
            try:
                return self._make(made, request)
            except CpiError as error:
                raise _hidden(error, request) from error.__cause__

    def _check_disks(self, cids: Sequence[str], zone: str) -> None:
        for cid in cids:
            there = last(self._places.get("disks", cid).get("zone"))
            if there != zone:
                raise Invalid(
                    f"the disk {cid} is in zone {there}, the machine is to be in {zone}", resource=cid, kind="disk",
                    suggestion="Take the AZ of the disk, or let the disk be copied.")

    def _make(self, made: Plan, request: VmRequest) -> Vm:
        other = self._places.zone("instances", made.name)
        if other and other != made.zone and self._places.find("instances", made.name) is not None:
            raise Conflict(f"the token '{made.token}' has made a machine in zone {other}", resource=made.name, kind="vm")
        group = self._balancers.group_of(made.backend_service, made.zone) if made.backend_service else ""
        try:
            instance = self._inserted(made)
        except _NothingMade as nothing:
            raise nothing.error from nothing.error.__cause__
        except CpiError as error:
            raise self._cleaned(made, error) from error.__cause__
        self._places.remember("instances", made.name, made.zone)
        try:
            if made.target_pool:
                self._balancers.join_pool(made.target_pool, made.zone, made.name)
            if group:
                self._balancers.join_group(group, made.zone, made.name)
            return self._answer(made, request, instance)
        except CpiError as error:
            if instance is not None:  # an earlier call made it, and somebody may work on it
                raise
            raise self._cleaned(made, error) from error.__cause__

    def _inserted(self, made: Plan) -> Body | None:
        """Make it, or take over what the token made before (then it is answered). Raises _NothingMade for what was refused at once."""
        started, meetings = self._clock(), 0
        while True:
            try:
                operation = self._compute.start("POST", f"/zones/{made.zone}/instances", made.body)
            except CpiError as error:
                if isinstance(error, Conflict) and error.code in EXISTS and meetings < _MOST_MEETINGS:
                    meetings += 1
                    there = self._met(made)
                    if there is not None:
                        return there
                    continue
                if isinstance(error, Unavailable):
                    raise
                raise _NothingMade(error) from error
            try:
                self._compute.wait(operation, f"create machine {made.name}")
                return None
            except Conflict as error:
                if error.code not in ADDRESS_TAKEN:
                    raise
                self._wait_for_address(error, started)

    def _met(self, made: Plan) -> Body | None:
        """What is there under the name: the machine, taken over; None when nothing is (any more). A root disk that a machine of this token
        left behind is deleted. Raises _NothingMade.
        """
        try:
            instance = self._taken_over(made)
            if instance is None:
                path = f"/zones/{made.zone}/disks/{quoted(made.name)}"
                disk = self._compute.look(path)
                if disk is not None and not disk.get("users") and is_ours(disk.get("labels") or {}, self._settings.director, made.token):
                    log.info("disk %s was left behind by an earlier try: deleting it", made.name)
                    self._compute.run("DELETE", path)
            return instance
        except NotFound:
            return None
        except CpiError as error:
            raise _NothingMade(error) from error

    def _wait_for_address(self, error: Conflict, started: float) -> None:
        """A while, when a taken address may soon be free: its machine is on its way out, or is none that we see. Else raises Conflict."""
        found = _TAKEN_IP.search(error.message)
        ip = found.group(1) if found else ""
        holder = self._holder(ip) if ip else None
        if holder is not None and holder.get("status") not in _GOING:
            raise Conflict(
                f"the address {ip} is in use by machine {holder.get('name')}: {error.message}", resource=ip, kind="address",
                code=error.code, request_id=error.request_id) from error
        if self._clock() - started + _ADDRESS_EVERY > _ADDRESS_SECONDS:
            raise error
        log.info("address %s is still taken%s: trying again", ip, f" by {holder.get('name')}, which goes" if holder else "")
        self._sleep(_ADDRESS_EVERY)

    def _holder(self, ip: str) -> Body | None:
        """The machine that has an address, internal or external; None when it cannot be told."""
        for field in ("networkIP", "accessConfigs.natIP"):
            try:
                found = self._compute.aggregated("instances", filter=f'networkInterfaces.{field}="{ip}"')
            except (Invalid, Denied):
                return None
            for item in found:
                if ip in [address for nic in item.get("networkInterfaces") or () for address in _addresses(nic)]:
                    return item
        return None

    def _taken_over(self, made: Plan) -> Body | None:
        """The machine of this name when it is what the token made before; None when it has gone meanwhile. Raises Conflict."""
        what = f"machine {made.name} to run"

        def look() -> tuple[Body | None] | None:
            instance = self._compute.look(f"/zones/{made.zone}/instances/{quoted(made.name)}")
            if instance is None:
                return (None,)
            if not is_ours(instance.get("labels") or {}, self._settings.director, made.token, made.shape):
                raise Conflict(
                    f"there is a machine '{made.name}' that was made with other arguments or by somebody else", resource=made.name,
                    kind="vm", code="alreadyExists")
            status = instance.get("status")
            if status in ("TERMINATED", "SUSPENDED"):
                self._start(made.zone, made.name, str(status))
            return (instance,) if status == "RUNNING" else None

        return wait_for(what, look, deadline=_UP_SECONDS, clock=self._clock, sleep=self._sleep)[0]

    def _cleaned(self, made: Plan, error: CpiError) -> CpiError:
        """The error, after everything of a machine that failed is deleted. When that fails too, an error that says both.

        Looked at first: what an insert with a lost answer made may come late, and a name may be somebody else's.
        """
        try:
            for pause in (0.0, _LATE_SECONDS) if isinstance(error, Unavailable) else (0.0,):
                if pause:
                    self._sleep(pause)
                there = self._compute.look(f"/zones/{made.zone}/instances/{quoted(made.name)}")
                if there is not None and is_ours(there.get("labels") or {}, self._settings.director, made.token):
                    self._delete(made.zone, made.name, made.target_pool)
                    break
        except CpiError as second:
            return type(error)(
                f"{error.message}; and deleting machine {made.name} failed too: {second.message}", resource=made.name, kind="vm",
                code=error.code, request_id=error.request_id, limit=error.limit, used=error.used,
                retry_after_seconds=error.retry_after_seconds,
                suggestion=f"What is left carries the token '{made.token}': `caisson orphans` lists it.")
        self._places.forget("instances", made.name)
        return error

    def _answer(self, made: Plan, request: VmRequest, instance: Body | None) -> Vm:
        public = self._settings.ssh_over_public and bool(made.body["networkInterfaces"][0].get("accessConfigs"))
        if instance is None and (public or not all(network.ip for network in made.nics)):
            instance = self._compute.get(f"/zones/{made.zone}/instances/{quoted(made.name)}")
        known = {network.name: network for network in made.nics}
        address = ""
        if instance is not None:
            if instance.get("status") not in ("RUNNING", *_COMING):
                reason = instance.get("statusMessage") or "no reason given"
                raise Unavailable(
                    f"machine {made.name} is {instance.get('status')} after its creation: {reason}",
                    resource=made.name, kind="vm", code=str(instance.get("status")))
            told = instance["networkInterfaces"]
            known = {network.name: self._assigned(network, nic) for network, nic in zip(made.nics, told, strict=True)}
            address = next(iter(_addresses(told[0])[1:]), "") if public else ""
        networks = tuple(known.get(network.name, network) for network in request.networks)
        local = any(disk["type"] == "SCRATCH" for disk in made.body["disks"])
        return Vm(made.name, networks, address or dialled(networks), ephemeral_disk=LOCAL_SSD if local else None)

    def _assigned(self, network: Network, nic: Body) -> Network:
        """The network with what the cloud gave: the address, and of a dynamic network the subnet's size and gateway."""
        result = dataclasses.replace(network, ip=str(nic["networkIP"]))
        if network.ip or not nic.get("subnetwork"):
            return result
        path = absolute(nic["subnetwork"], self._settings.project)
        subnet = self._subnets.get(path) or self._compute.look(path)
        if subnet is None:
            return result
        self._subnets[path] = subnet
        length = ipaddress.ip_network(subnet["ipCidrRange"]).prefixlen
        return dataclasses.replace(result, prefix_length=length, gateway=network.gateway or str(subnet.get("gatewayAddress") or ""))

    # Afterwards

    def delete(self, cid: str) -> None:
        """Certainly gone afterwards, its persistent disks whole."""
        instance = self._places.find("instances", cid)
        if instance is None:
            return
        zone = last(instance.get("zone"))
        for disk in instance.get("disks") or ():
            # Somebody may have said otherwise in the console: what carries data is not deleted with a machine.
            if disk.get("autoDelete") and disk.get("type") != "SCRATCH" and not disk.get("boot"):
                query = f"deviceName={quoted(str(disk.get('deviceName')))}&autoDelete=false"
                self._compute.run("POST", f"/zones/{zone}/instances/{quoted(cid)}/setDiskAutoDelete?{query}")
        self._delete(zone, cid, (instance.get("labels") or {}).get(POOL, ""))
        self._places.forget("instances", cid)

    def _delete(self, zone: str, name: str, pool: str) -> None:
        if pool:
            self._balancers.leave_pool(pool, zone, name)  # groups forget a machine by themselves, pools do not
        try:
            self._compute.driver.destroy_node(self._compute.driver.node(zone, name))
        except NotFound:
            log.debug("machine %s is gone already", name)

    def exists(self, cid: str) -> bool:
        return self._places.find("instances", cid) is not None

    def reboot(self, cid: str) -> None:
        """Reset, or start when it is off. Raises NotFound."""
        def settled() -> Body | None:
            instance = self._places.get("instances", cid)
            return instance if instance.get("status") not in (*_GOING, *_COMING) else None

        instance = wait_for(f"machine {cid} to be on or off", settled, deadline=_UP_SECONDS, clock=self._clock, sleep=self._sleep)
        zone, status = last(instance.get("zone")), str(instance.get("status"))
        if status == "RUNNING":
            self._compute.driver.reboot_node(self._compute.driver.node(zone, cid))
        else:
            self._start(zone, cid, status)

    def _start(self, zone: str, name: str, status: str) -> None:
        if status == "SUSPENDED":
            self._compute.run("POST", f"/zones/{zone}/instances/{quoted(name)}/resume")  # Libcloud has no `resume`
        else:
            self._compute.driver.start_node(self._compute.driver.node(zone, name))

    def set_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        """As labels. Raises NotFound. (BOSH's CPI writes them into the instance metadata too, where a tag named `startup-script` would be
        run by the guest agent.)
        """
        zone = self._places.zone("instances", cid) or last(self._places.get("instances", cid).get("zone"))
        self._compute.relabel(f"/zones/{zone}/instances/{quoted(cid)}", lambda labels: replaced(labels, metadata))

    def disks(self, cid: str) -> list[str]:
        """Raises NotFound."""
        instance = self._places.get("instances", cid)
        return [
            last(disk.get("source")) for disk in instance.get("disks") or () if not disk.get("boot") and disk.get("type") != "SCRATCH"]


def image_link(project: str, stemcell_cid: str) -> str:
    """The path of the image of a stemcell: a light one's CID is that path. Raises NotFound for what can be no image."""
    if stemcell_cid.startswith("projects/"):
        return stemcell_cid
    if "/" in stemcell_cid or not stemcell_cid:
        raise NotFound(f"there is no stemcell '{stemcell_cid}'", resource=stemcell_cid, kind="stemcell")
    return f"projects/{project}/global/images/{stemcell_cid}"


def _addresses(nic: Mapping[str, Any]) -> list[str]:
    """The internal address of an interface, then its external ones."""
    return [str(nic.get("networkIP") or ""), *(str(item["natIP"]) for item in nic.get("accessConfigs") or () if item.get("natIP"))]


def _hidden(error: CpiError, request: VmRequest) -> CpiError:
    """Without what the request held of secrets: Google repeats wrong values in its errors."""
    login = request.login
    lines = [line for line in login.host_private_key.splitlines() if len(line) >= _SHORTEST_SECRET_LINE]
    text = redact(error.message, [login.agent_settings, login.host_private_key, *lines])
    if text != error.message:
        error.message, error.args = text, (text,)
        error.__cause__, error.__suppress_context__ = None, True
    return error
