"""A deterministic cloud in memory: with latency, limits and faults, for tests, rehearsals and dry runs at scale.

It keeps the contract strictly, so that what works on it does not lean on a cloud's mercy. Nothing in it is random and nothing waits for
real time unless the `sleep` given does: the same calls in the same order give the same answers, CIDs included.

`config` (all optional):

    state_file   path of a JSON file; the cloud is read from it and written to it after each effect, so it survives the director
    state_dir    a folder for that file (`cloud.json`), as directors name it to the CPI of their own cloud
    director     mark of what this director owns (default `fake`); `owned` answers that only
    latency      seconds by method, `default` for the others: {create_vm: 2.0, default: 0.05}
    limits       {vms: 10, disks: 20, snapshots: 5}; beyond them Quota is raised
    largest      {cpu: 64, ram_mib: 262144, ephemeral_disk_size_mib: 1048576}, for calculate_vm_cloud_properties
    prefix       of every CID (`east-`), so that two such clouds under one director do not use the same ones
    faults       list of {method, error, nth, times, when, message, retry_after_seconds}: see Fault
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from cpis import contract
from cpis.contract import (
    Check,
    Conflict,
    CpiError,
    CpiInfo,
    DiskHint,
    DiskRequest,
    Found,
    Invalid,
    MadeNetwork,
    Network,
    NetworkRequest,
    NotFound,
    NotSupported,
    Properties,
    Quota,
    Uses,
    Vm,
    VmRequest,
    VmResources,
)

_KEYS = frozenset({"state_file", "state_dir", "director", "latency", "limits", "largest", "prefix", "faults"})
_VM_KEYS = frozenset({"cpu", "ram", "ephemeral_disk", "instance_type", "privileged", "memory", "cpus"})
_LARGEST = {"cpu": 64, "ram_mib": 262_144, "ephemeral_disk_size_mib": 1_048_576}
_LONGEST_VALUE = 255
_DYNAMIC_RANGE = "10.254.0.0/16"
_MADE_RANGE = "10.128.0.0/10"

Resource = dict[str, Any]


@dataclasses.dataclass
class Fault:
    """What goes wrong: calls number `nth` to `nth + times - 1` (from 1) of `method` raise `error`, the name of a CpiError.

    `when` is `before` the effect, or `after` it: the effect is there, and only its answer is lost.
    """

    method: str
    error: str = "Unavailable"
    nth: int = 1
    times: int = 1
    when: str = "before"
    message: str = ""
    retry_after_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.when not in ("before", "after"):
            raise Invalid(f"a fault happens 'before' or 'after' the effect, not '{self.when}'")
        kind = getattr(contract, self.error, None)
        if not (isinstance(kind, type) and issubclass(kind, CpiError)):
            raise Invalid(f"there is no CPI error '{self.error}'")
        self._kind: type[CpiError] = kind

    def hits(self, call: int) -> bool:
        return self.nth <= call < self.nth + self.times

    def raise_it(self) -> None:
        text = self.message or f"fault in {self.method}, {self.when} its effect"
        raise self._kind(text, retry_after_seconds=self.retry_after_seconds, request_id=f"fake-{self.method}")


class FakeCpi:
    """Implements `cpis.contract.Cpi`; the module tells its configuration.

    `calls` counts calls by method and `log` lists them in order, for assertions.
    """

    name = "fake"

    def __init__(
        self, config: Mapping[str, Any] | None = None,
        *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        config = config or {}
        unknown = sorted(set(config) - _KEYS)
        if unknown:
            raise Invalid(f"the fake CPI has no setting '{unknown[0]}'", suggestion=f"known: {', '.join(sorted(_KEYS))}")
        self._director = str(config.get("director", "fake"))
        self._latency: dict[str, float] = dict(config.get("latency", {}))
        self._limits = dict(config.get("limits", {}))
        self._prefix = str(config.get("prefix", ""))
        self._largest = {**_LARGEST, **config.get("largest", {})}
        self.faults = [fault if isinstance(fault, Fault) else Fault(**fault) for fault in config.get("faults", [])]
        file = config.get("state_file") or (Path(config["state_dir"]) / "cloud.json" if config.get("state_dir") else "")
        self._file = Path(file) if file else None
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.RLock()
        self.calls: dict[str, int] = {}
        self.log: list[tuple[str, str]] = []
        self._last: dict[str, int] = {}
        self._resources: dict[str, Resource] = json.loads(self._file.read_text()) if self._file and self._file.exists() else {}

    # How a call goes

    @contextlib.contextmanager
    def _call(self, method: str, subject: str = "") -> Iterator[None]:
        """Count the call, wait as long as this cloud takes, fail as scripted; the body is the effect, done under the lock."""
        with self._lock:
            self.calls[method] = call = self.calls.get(method, 0) + 1
            self.log.append((method, subject))
            due = [fault for fault in self.faults if fault.method in (method, "*") and fault.hits(call)]
        delay = self._latency.get(method, self._latency.get("default", 0.0))
        if delay:
            self._sleep(delay)
        for fault in due:
            if fault.when == "before":
                fault.raise_it()
        with self._lock:
            yield
            self._save()
        for fault in due:
            if fault.when == "after":
                fault.raise_it()

    def _save(self) -> None:
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_name(f".{self._file.name}.new")
            temporary.write_text(json.dumps(self._resources, sort_keys=True, indent=1))
            os.replace(temporary, self._file)

    def _get(self, kind: str, cid: str) -> Resource:
        found = self._resources.get(cid)
        if found is None or found["kind"] != kind:
            raise NotFound(f"there is no {kind} {cid}", resource=cid, kind=kind)
        return found

    def _of(self, kind: str) -> list[Resource]:
        return [resource for resource in self._resources.values() if resource["kind"] == kind]

    def _made(self, kind: str, token: str, shape: Mapping[str, Any]) -> Resource | None:
        """What this token has made before. Raises Conflict when it was something else."""
        for resource in self._of(kind):
            if resource["token"] == token:
                if resource["shape"] != json.loads(json.dumps(shape)):
                    raise Conflict(f"the token '{token}' has made {resource['cid']} with other arguments", resource=resource["cid"])
                return resource
        return None

    def _make(self, kind: str, token: str, shape: Mapping[str, Any], metadata: Mapping[str, Any], **more: Any) -> Resource:
        plural = f"{kind}s"
        limit = self._limits.get(plural)
        used = len(self._of(kind))
        if limit is not None and used >= limit:
            raise Quota(f"quota of {plural} is used up", limit=str(limit), used=str(used), suggestion=f"delete {plural}, or ask for more")
        there = (int(cid.rpartition("-")[2]) for cid, r in self._resources.items() if r["kind"] == kind)
        self._last[kind] = number = 1 + max(self._last.get(kind, 0), *there, 0)  # no cloud gives a CID twice
        resource: Resource = {
            "kind": kind, "cid": f"{self._prefix}{kind}-{number:06d}", "token": token, "shape": json.loads(json.dumps(shape)),
            "metadata": _clean(metadata), "created_at": self._clock(), "director": self._director, **more,
        }
        self._resources[resource["cid"]] = resource
        return resource

    # Contract

    def info(self) -> CpiInfo:
        return CpiInfo(("caisson-light", "fake"), 2)

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        with self._call("create_stemcell", token):
            shape = {"properties": dict(cloud_properties)}
            made = self._made("stemcell", token, shape) or self._make("stemcell", token, shape, {})
        return str(made["cid"])

    def delete_stemcell(self, cid: str) -> None:
        with self._call("delete_stemcell", cid):
            self._resources.pop(cid, None)

    def create_vm(self, request: VmRequest) -> Vm:
        with self._call("create_vm", request.token):
            shape = {
                "agent": request.agent_id, "stemcell": request.stemcell_cid, "properties": dict(request.cloud_properties),
                "networks": [dataclasses.asdict(network) for network in request.networks],
            }
            made = self._made("vm", request.token, shape)
            if made is None:
                self._check(request)
                networks = self._addresses(request.networks)
                shapes = [dataclasses.asdict(network) for network in networks]
                made = self._make("vm", request.token, shape, request.metadata, power="on", networks=shapes)
            networks = tuple(_network(shape) for shape in made["networks"])
        return Vm(made["cid"], networks, contract.dialled(networks))

    def _check(self, request: VmRequest) -> None:
        self._get("stemcell", request.stemcell_cid)
        for disk in request.disk_cids:
            self._get("disk", disk)
        unknown = sorted(set(request.cloud_properties) - _VM_KEYS)
        if unknown:
            raise Invalid(f"unknown cloud property '{unknown[0]}'", suggestion=f"known: {', '.join(sorted(_VM_KEYS))}")
        wrong = sorted(key for key, value in request.cloud_properties.items() if isinstance(value, (dict, list)))
        if wrong:
            raise Invalid(f"the cloud property '{wrong[0]}' must be one value, not {request.cloud_properties[wrong[0]]!r}")
        if not any(network.type != "vip" for network in request.networks):
            raise Invalid("a machine needs a manual or dynamic network")

    def _addresses(self, networks: Sequence[Network]) -> tuple[Network, ...]:
        taken = {shape["ip"]: vm["cid"] for vm in self._of("vm") for shape in vm["networks"]}
        result = []
        for network in networks:
            if not network.ip:
                network = _chosen(network, taken)
            if network.ip in taken:
                raise Conflict(f"the address {network.ip} is in use by {taken[network.ip]}", resource=network.ip)
            taken[network.ip] = "this machine"
            result.append(network)
        return tuple(result)

    def delete_vm(self, cid: str) -> None:
        with self._call("delete_vm", cid):
            if self._resources.get(cid, {}).get("kind") == "vm":
                for disk in self._of("disk"):
                    if disk["vm"] == cid:
                        disk["vm"] = ""
                del self._resources[cid]

    def has_vm(self, cid: str) -> bool:
        with self._call("has_vm", cid):
            return self._resources.get(cid, {}).get("kind") == "vm"

    def reboot_vm(self, cid: str) -> None:
        with self._call("reboot_vm", cid):
            self._get("vm", cid)["power"] = "on"

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        with self._call("set_vm_metadata", cid):
            self._get("vm", cid)["metadata"] = _clean(metadata)

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        with self._call("calculate_vm_cloud_properties"):
            asked = dataclasses.asdict(resources)
            for key, value in asked.items():
                if value <= 0:
                    raise Invalid(f"{key} must be more than 0")
                if value > self._largest[key]:
                    raise Invalid(f"{key} of {value} is more than the largest machine has ({self._largest[key]})")
            return {"cpu": resources.cpu, "ram": resources.ram_mib, "ephemeral_disk": resources.ephemeral_disk_size_mib}

    def create_disk(self, request: DiskRequest) -> str:
        with self._call("create_disk", request.token):
            if request.size_mib < 1:
                raise Invalid(f"a disk must have at least 1 MiB, not {request.size_mib}")
            shape = {"size_mib": request.size_mib, "properties": dict(request.cloud_properties)}
            made = self._made("disk", request.token, shape)
            made = made or self._make("disk", request.token, shape, request.metadata, vm="", size_mib=request.size_mib)
        return str(made["cid"])

    def delete_disk(self, cid: str) -> None:
        with self._call("delete_disk", cid):
            disk = self._resources.get(cid)
            if disk is not None and disk["kind"] == "disk":
                if disk["vm"]:
                    raise Conflict(f"the disk {cid} is attached to {disk['vm']}", resource=cid)
                for snapshot in self._of("snapshot"):
                    if snapshot["shape"]["disk"] == cid:
                        del self._resources[snapshot["cid"]]
                del self._resources[cid]

    def has_disk(self, cid: str) -> bool:
        with self._call("has_disk", cid):
            return self._resources.get(cid, {}).get("kind") == "disk"

    def attach_disk(self, vm_cid: str, disk_cid: str) -> DiskHint:
        with self._call("attach_disk", disk_cid):
            self._get("vm", vm_cid)
            disk = self._get("disk", disk_cid)
            if disk["vm"] not in ("", vm_cid):
                raise Conflict(f"the disk {disk_cid} is attached to {disk['vm']}", resource=disk_cid)
            disk["vm"] = vm_cid
        return DiskHint(path=f"/dev/disk/by-id/{disk_cid}", id=disk_cid)

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        with self._call("detach_disk", disk_cid):
            disk = self._resources.get(disk_cid)
            if disk is not None and disk["kind"] == "disk" and disk["vm"] == vm_cid:
                disk["vm"] = ""

    def resize_disk(self, cid: str, size_mib: int) -> None:
        with self._call("resize_disk", cid):
            self._resize(cid, size_mib)

    def _resize(self, cid: str, size_mib: int) -> None:
        disk = self._get("disk", cid)
        if disk["vm"]:
            raise Conflict(f"the disk {cid} is attached to {disk['vm']}", resource=cid)
        if size_mib < disk["size_mib"]:
            raise NotSupported(f"the disk {cid} of {disk['size_mib']} MiB cannot be made smaller", resource=cid)
        disk["size_mib"] = size_mib

    def update_disk(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        with self._call("update_disk", cid):
            self._resize(cid, size_mib)
        return cid

    def set_disk_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        with self._call("set_disk_metadata", cid):
            self._get("disk", cid)["metadata"] = _clean(metadata)

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        with self._call("get_disks", vm_cid):
            self._get("vm", vm_cid)
            return [disk["cid"] for disk in self._of("disk") if disk["vm"] == vm_cid]

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        with self._call("snapshot_disk", cid):
            self._get("disk", cid)
            made = self._made("snapshot", token, {"disk": cid}) or self._make("snapshot", token, {"disk": cid}, metadata)
        return str(made["cid"])

    def delete_snapshot(self, cid: str) -> None:
        with self._call("delete_snapshot", cid):
            self._resources.pop(cid, None)

    def create_network(self, request: NetworkRequest) -> MadeNetwork:
        with self._call("create_network", request.token):
            shape = dataclasses.asdict(request)
            made = self._made("network", request.token, shape)
            if made is None:
                subnet = self._subnet(request)
                gateway = request.gateway or str(subnet[1])
                made = self._make("network", request.token, shape, {}, range=str(subnet), gateway=gateway, reserved=[str(subnet[2])])
            properties = {**request.cloud_properties, "network": made["cid"]}
        return MadeNetwork(made["cid"], made["range"], made["gateway"], tuple(made["reserved"]), properties)

    def _subnet(self, request: NetworkRequest) -> IPv4Network:
        """The range asked for, or the next free one of that size."""
        taken = [IPv4Network(network["range"]) for network in self._of("network")]
        if not request.range and request.netmask_bits is None:
            raise Invalid("a network needs a range or netmask_bits")
        choices = [IPv4Network(request.range)] if request.range else IPv4Network(_MADE_RANGE).subnets(new_prefix=request.netmask_bits)
        found = next((subnet for subnet in choices if not any(subnet.overlaps(other) for other in taken)), None)
        if found is None:
            raise Conflict(f"the range {request.range} is in use" if request.range else "no range is left")
        return found

    def delete_network(self, cid: str) -> None:
        with self._call("delete_network", cid):
            users = [vm["cid"] for vm in self._of("vm") if any(
                shape.get("cloud_properties", {}).get("network") == cid for shape in vm["networks"])]
            if users:
                raise Conflict(f"the network {cid} is in use by {users[0]}", resource=cid)
            if self._resources.get(cid, {}).get("kind") == "network":
                del self._resources[cid]

    def find(self, token: str) -> Sequence[Found]:
        with self._call("find", token):
            return [_found(resource) for resource in self._resources.values() if resource["token"] == token]

    def owned(self) -> Sequence[Found]:
        with self._call("owned"):
            return [_found(resource) for resource in self._resources.values() if resource["director"] == self._director]

    def checks(self, uses: Uses) -> Iterator[Check]:
        try:
            with self._call("checks"):
                pass
        except CpiError as error:
            yield Check.failed("the fake cloud", "reach", error)
            return
        yield Check("the fake cloud", "reach", True, str(self._file or "in memory"))
        for plural, limit in sorted(self._limits.items()):
            used = len(self._of(plural.removesuffix("s")))
            words = (f"{used} of {limit} used", "" if used < limit else f"Delete {plural}, or ask for more.")
            yield Check(plural, "quota", used < limit, *words)
        for cid in uses.stemcell_cids:
            there = self._resources.get(cid, {}).get("kind") == "stemcell"
            words = ("", "") if there else ("there is no such stemcell", "Upload it again with `caisson upload-stemcell --fix`.")
            yield Check(cid, "image", there, *words)

    def close(self) -> None:
        """Nothing is open."""

    # What only a fake can do

    def power_off(self, cid: str) -> None:
        """The machine stops by itself, as after a kernel panic."""
        with self._lock:
            self._get("vm", cid)["power"] = "off"
            self._save()

    def vanish(self, cid: str) -> None:
        """The resource goes without the director's doing, as when somebody deletes it in the cloud's console."""
        with self._lock:
            for disk in self._of("disk"):
                if disk["vm"] == cid:
                    disk["vm"] = ""
            self._resources.pop(cid, None)
            self._save()


def _chosen(network: Network, taken: Mapping[str, str]) -> Network:
    """The next address of the range that this cloud gives by itself; its first one is the gateway."""
    whole = IPv4Network(_DYNAMIC_RANGE)
    gateway = str(whole[1])
    ip = next(text for host in whole.hosts() if (text := str(host)) not in taken and text != gateway)
    return dataclasses.replace(network, ip=ip, prefix_length=whole.prefixlen, gateway=gateway)


def _clean(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value)[:_LONGEST_VALUE] for key, value in metadata.items() if value not in (None, "")}


def _network(shape: Mapping[str, Any]) -> Network:
    return Network(**{**shape, "dns": tuple(shape["dns"]), "default": tuple(shape["default"])})


def _found(resource: Resource) -> Found:
    return Found(resource["kind"], resource["cid"], resource["token"], resource["metadata"], resource["created_at"])
