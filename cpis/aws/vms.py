"""Machines: made by one request, waited for, joined to what is around them, and deleted with all of it."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cpis.aws import metadata
from cpis.aws.api import Api
from cpis.aws.driver import Tree, filters, items, tags_of
from cpis.aws.errors import ADDRESS_IN_USE, MISMATCH, TERMINATED
from cpis.aws.facts import is_nitro
from cpis.aws.hints import hint
from cpis.aws.instances import LIVE, Instances, only_one, reason, reason_code, state
from cpis.aws.launch import EPHEMERAL_DEVICE, Plan, Planner
from cpis.aws.surroundings import Surroundings
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.tags import SHAPE
from cpis.contract import Conflict, CpiError, DiskHint, Invalid, Network, NoCapacity, NotFound, Quota, Unavailable, Vm, VmRequest, dialled

_ID = re.compile(r"i-[0-9a-f]{8,17}")
_TRIES = 3
_OLD_TOKENS = 20
_FREEING_SECONDS = 300.0

log = logging.getLogger("cpis")


class _Died(Exception):
    """The instance ended before it ran."""

    def __init__(self, cid: str, code: str, words: str) -> None:
        super().__init__(f"{cid} died at boot: {words}")
        self.cid = cid
        self.code = code
        self.words = words


class Vms:
    """Safe to use from many threads."""

    def __init__(
        self, api: Api, instances: Instances, planner: Planner, surroundings: Surroundings, *, over_public: bool = False,
    ) -> None:
        self._api = api
        self._over_public = over_public
        self._instances = instances
        self._planner = planner
        self._surroundings = surroundings
        self._once = OnePerToken()

    def create(self, request: VmRequest) -> Vm:
        """See `Cpi.create_vm`. One request and as many looks as it takes to run; more only for what the properties ask besides."""
        with self._once(request.token):
            plan = self._planner.plan(request, self._disks(request))
            instance = self._launch(plan, request.token)
            cid = str(instance["instanceId"])
            try:
                self._surroundings.join(instance, plan)
                networks = self._networks(request, plan, instance)
                data = self._data_disk(plan, instance)
            except Exception as error:
                raise self._undone(cid, error) from error
        address = self._public(plan, instance) if self._over_public else ""
        return Vm(cid, networks, address or dialled(networks), ephemeral_disk=data)

    def _disks(self, request: VmRequest) -> list[Tree]:
        """The persistent disks that the machine will have. Raises NotFound."""
        if not request.disk_cids:
            return []
        params = filters(**{"volume-id": request.disk_cids})
        found = {disk["volumeId"]: disk for disk in self._api.pages("DescribeVolumes", "volumeSet", params)}
        missing = [cid for cid in request.disk_cids if cid not in found]
        if missing:
            raise NotFound(f"there is no disk {missing[0]}", resource=missing[0], kind="disk", code="InvalidVolume.NotFound")
        return [found[cid] for cid in request.disk_cids]

    # Launching

    def _launch(self, plan: Plan, token: str) -> Tree:
        """The running instance of the token. A new client token is taken when the last one's instance is dead: deleted, or died at boot."""
        spot = plan.is_spot
        if plan.may_fall_back:
            # Only here may a second call go another way than the first did.
            there = only_one(token, self._instances.of_token(token))
            if there is not None:
                return self._running(self._same(plan, token, there))
        number, deaths = 1, 0
        while True:
            client = token if number == 1 else f"{token}.{number}"
            params = {**plan.params, **(plan.market() if spot else {}), "ClientToken": client if spot == plan.is_spot else f"{client}.od"}
            try:
                return self._running(self._run(plan, params, token))
            except _Died as death:
                old = death.code in (TERMINATED, "Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown")
                deaths += not old
                number += 1
                if deaths >= _TRIES or number > _OLD_TOKENS or _is_for_good(death.code):
                    raise _of_death(death) from None
                log.info("%s; trying again with another token", death)
            except (NoCapacity, Quota) as error:
                if not (spot and plan.may_fall_back):
                    raise
                log.info("no spot instance is to be had (%s): taking an ordinary one", error.code)
                spot = False

    def _run(self, plan: Plan, params: Mapping[str, str], token: str) -> Tree:
        refused: list[Conflict] = []

        def look() -> Tree | None:
            try:
                return self._ask(plan, params, token)
            except Conflict as error:
                if error.code != ADDRESS_IN_USE or not self._is_freed_soon(error, plan):
                    raise
                refused.append(error)
                return None

        try:
            return self._api.wait("an address to be free", look, _FREEING_SECONDS)
        except Unavailable as error:
            raise refused[-1] if error.code == "timeout" and refused else error from None

    def _ask(self, plan: Plan, params: Mapping[str, str], token: str) -> Tree:
        try:
            answer = self._api.ask("RunInstances", params)
        except Conflict as error:
            if error.code == TERMINATED:
                raise _Died("the machine of this token", TERMINATED, error.message) from None
            if error.code == MISMATCH:
                return self._adopted(plan, token, error)
            raise
        except Unavailable as error:
            raise self._uncertain(token, error) from error
        except CpiError as error:
            if error.code == "InvalidGroup.NotFound":
                self._planner.forget_groups()  # made anew under the same name, perhaps
            raise
        instance: Tree = items(answer, "instancesSet")[0]
        return instance

    def _adopted(self, plan: Plan, token: str, error: Conflict) -> Tree:
        """The machine that this token made before with other tags or user data, but the same otherwise."""
        there = only_one(token, self._instances.of_token(token))
        if there is not None:
            return self._same(plan, token, there)
        dead = self._instances.dead_of_token(token)
        if dead:
            raise _Died(str(dead[0]["instanceId"]), TERMINATED, error.message) from None
        raise error

    def _same(self, plan: Plan, token: str, instance: Tree) -> Tree:
        if tags_of(instance).get(SHAPE) != plan.shape:
            cid = instance["instanceId"]
            raise Conflict(f"the token '{token}' has made {cid} with other arguments", resource=cid, kind="vm", code=MISMATCH)
        return instance

    def _is_freed_soon(self, error: Conflict, plan: Plan) -> bool:
        """Whether the interface that holds the address belongs to a machine that is going. Source: CPI contract, row 21."""
        wanted = [value for key, value in plan.params.items() if key.endswith((".PrivateIpAddress", ".Ipv6Address"))]
        for interface in self._holders(wanted, list(plan.subnets)):
            owner = (interface.get("attachment") or {}).get("instanceId") if interface.get("attachment") else ""
            holder = self._instances.get(owner) if owner else None
            if holder is not None and state(holder) in LIVE:
                error.suggestion = f"The machine {owner} has it: delete that one, or take another address."
                return False
            if not owner and interface.get("status") == "available":
                error.suggestion = f"The network interface {interface['networkInterfaceId']} holds it and belongs to no machine: delete it."
                return False
        return True

    def _holders(self, ips: Sequence[str], subnets: Sequence[str]) -> Iterator[Tree]:
        """The network interfaces that have one of these addresses."""
        asked = {
            "addresses.private-ip-address": [ip for ip in ips if ":" not in ip],
            "ipv6-addresses.ipv6-address": [ip for ip in ips if ":" in ip],
        }
        for name, some in asked.items():
            if some:
                params = filters(**{name: some, "subnet-id": subnets})
                yield from self._api.pages("DescribeNetworkInterfaces", "networkInterfaceSet", params)

    def _uncertain(self, token: str, error: Unavailable) -> CpiError:
        """After an answer that never came: whatever was made is deleted, and the error says what is not known."""
        try:
            for instance in self._instances.of_token(token):
                self._instances.terminate(instance["instanceId"])
        except CpiError as second:
            error.message += f"; and it cannot be told whether a machine was made, or it could not be deleted: {second.message}"
            error.args = (error.message,)
        return error

    def _running(self, instance: Tree) -> Tree:
        cid = str(instance["instanceId"])
        try:
            found = self._instances.wait(cid, ("running", "stopped"))
            return found if state(found) == "running" else self._started(cid)
        except NotFound as error:
            found = self._instances.get(cid) or {}
            raise _Died(cid, reason_code(found) or TERMINATED, reason(found) if found else error.message) from error
        except Exception as error:
            raise self._undone(cid, error) from error

    def _undone(self, cid: str, error: Exception) -> Exception:
        """The error to raise after the machine was deleted again; it tells when that failed, too. Source: CPI contract, row 3."""
        try:
            self._instances.terminate(cid)
        except CpiError as second:
            words = f"{error}; and the machine {cid} could not be deleted: {second.message}"
            if isinstance(error, CpiError):
                error.message, error.args = words, (words,)
                error.resource = error.resource or cid
            else:
                return Unavailable(words, resource=cid, kind="vm")
        return error

    def _networks(self, request: VmRequest, plan: Plan, instance: Tree) -> tuple[Network, ...]:
        """The networks of the request in its order, with what was assigned."""
        interfaces = {int(item["attachment"]["deviceIndex"]): item for item in items(instance, "networkInterfaceSet")}
        made = {}
        for number, network in ((number, network) for number, shared in enumerate(plan.interfaces) for network in shared):
            interface = interfaces[number]
            ip = network.ip if network.ip and network.type == "manual" else str(interface["privateIpAddress"])
            prefix, gateway = plan.subnets[interface["subnetId"]].prefix_and_gateway(ip)
            made[network.name] = dataclasses.replace(
                network, ip=ip, prefix_length=prefix, gateway=network.gateway if network.type == "manual" and network.gateway else gateway)
        return tuple(made.get(network.name, network) for network in request.networks)

    @staticmethod
    def _public(plan: Plan, instance: Tree) -> str:
        """Its address in the internet, when it has one."""
        return plan.vips[0].ip if plan.vips else str(instance.get("ipAddress") or "")

    def _data_disk(self, plan: Plan, instance: Tree) -> DiskHint | None:
        """Where the guest finds its disk for /var/vcap/data."""
        if not plan.has_data_volume:
            return None
        kind, cid = str(plan.properties["instance_type"]), str(instance["instanceId"])
        if (plan.properties.get("ephemeral_disk") or {}).get("use_instance_storage"):
            return None if is_nitro(kind) else DiskHint(path=EPHEMERAL_DEVICE.replace("/dev/sd", "/dev/xvd"))

        def look() -> str | None:
            return _volume_at(self._instances.live(cid), EPHEMERAL_DEVICE)

        volume = _volume_at(instance, EPHEMERAL_DEVICE) or self._api.wait(f"the ephemeral disk of {cid}", look)
        return hint(kind, volume, EPHEMERAL_DEVICE)

    # Others

    def delete(self, cid: str) -> None:
        """See `Cpi.delete_vm`."""
        if not _ID.fullmatch(cid):
            return
        gone = self._instances.terminate(cid)
        if gone is not None:
            self._surroundings.leave(cid, tags_of(gone))

    def exists(self, cid: str) -> bool:
        """See `Cpi.has_vm`."""
        found = self._instances.get(cid) if _ID.fullmatch(cid) else None
        return found is not None and state(found) != "terminated"

    def reboot(self, cid: str) -> None:
        """See `Cpi.reboot_vm`."""
        found = self._instances.live(cid)
        if state(found) == "pending":
            found = self._instances.wait(cid, ("running",))
        if state(found) == "stopping":
            found = self._instances.wait(cid, ("stopped",))
        if state(found) == "stopped":
            self._started(cid)
        else:
            self._api.do("RebootInstances", lambda driver: driver.reboot_node(driver.node(cid)))

    def _started(self, cid: str) -> Tree:
        self._api.do("StartInstances", lambda driver: driver.start_node(driver.node(cid)))
        return self._instances.wait(cid, ("running",))

    def set_metadata(self, cid: str, values: Mapping[str, Any]) -> None:
        """See `Cpi.set_vm_metadata`."""
        now = tags_of(self._instances.live(cid))
        metadata.replace(self._api, cid, now, values)


def _volume_at(instance: Tree, device: str) -> str | None:
    """The volume that is attached under this name."""
    return next((str(item["ebs"]["volumeId"]) for item in items(instance, "blockDeviceMapping") if item["deviceName"] == device), None)


def _is_for_good(code: str) -> bool:
    return code.startswith("Client.") and code not in ("Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown")


def _of_death(death: _Died) -> CpiError:
    """Source: "Troubleshoot instance termination" in the EC2 user guide."""
    kind: type[CpiError] = Unavailable
    if death.code.endswith("LimitExceeded"):
        kind = Quota
    elif "InsufficientInstanceCapacity" in death.code or "Spot" in death.code:
        kind = NoCapacity
    elif _is_for_good(death.code):
        kind = Invalid
    suggestion = "May the identity use the key that encrypts the disks (kms:CreateGrant)?" if death.code == "Client.InternalError" else ""
    return kind(f"RunInstances: {death}", code=death.code, resource=death.cid, kind="vm", suggestion=suggestion)
