"""Machines: made, started, stopped and removed, each step recorded before it is done and repeatable after a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from cpis.contract import Conflict, CpiError, Invalid, Network, NotFound, Unavailable, Vm, VmRequest, dialled
from cpis.local import disks
from cpis.local.host import Host, ensure_kernel_limits
from cpis.local.launch import Launch, script
from cpis.local.names import Names
from cpis.local.net import Net, Subnet, name_servers
from cpis.local.properties import VmProperties
from cpis.local.records import Record, Records, locked, write_atomically
from cpis.local.seed import write_seed

_NSPAWN_FOLDERS = Path("/run/systemd/nspawn/propagate")
_GRACE_SECONDS = 10.0


def digest_of(request: VmRequest) -> str:
    """Tells whether a token is used again for something else. Keys are not in it: they are made anew when the caller has lost them."""
    shape = {
        "stemcell": request.stemcell_cid, "properties": dict(request.cloud_properties), "agent": request.agent_id,
        "user": request.login.user, "networks": [dataclasses.asdict(network) for network in request.networks],
    }
    return hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()


def network_of(shape: Record) -> Network:
    """A network out of a record."""
    return Network(**{**shape, "dns": tuple(shape["dns"]), "default": tuple(shape["default"])})


class Vms:
    """Machines of one director. The caller holds the machine's own lock around every method but `reserve`."""

    def __init__(
        self, state_dir: Path, names: Names, host: Callable[[], Host], net: Net, records: Records, disk_records: Records,
        *, checkpoint: Callable[[str], None], clock: Callable[[], float] = time.time,
    ) -> None:
        self._lock = state_dir / "locks" / "addresses"
        self._names = names
        self._host = host
        self._net = net
        self._records = records
        self._disks = disk_records
        self._checkpoint = checkpoint
        self._clock = clock

    def get(self, cid: str) -> Record:
        """The record. Raises NotFound."""
        record = self._records.get(cid)
        if record is None:
            raise NotFound(f"there is no machine {cid}", resource=cid)
        return record

    def create(self, cid: str, request: VmRequest, image: Path) -> Vm:
        """Make and start the machine, or answer with the one that the token has made. Cleans up what it made when it fails."""
        properties = VmProperties.read(request.cloud_properties)
        if not request.networks:
            raise Invalid("a machine needs a network")
        existing = self._records.get(cid)
        if existing is not None and existing["state"] == "made":
            if existing["digest"] != digest_of(request):
                raise Conflict(f"the token '{request.token}' has made another machine, {cid}", resource=cid)
            if not self._host().running(cid):
                self.start(cid)
            return self.vm(existing)
        if existing is not None:
            self.remove(cid)
        record = self._reserve(cid, request, image, properties)
        try:
            self._make(record, request, properties)
        except Exception as error:
            self._undo(cid, error)
            raise
        return self.vm(record)

    def _undo(self, cid: str, error: Exception) -> None:
        try:
            self.remove(cid)
        except CpiError as second:
            raise Unavailable(f"{error}; and what it had made cannot be removed: {second.message}", resource=cid) from error

    def vm(self, record: Record) -> Vm:
        networks = tuple(network_of(shape) for shape in record["networks"])
        return Vm(record["cid"], networks, dialled(networks))

    def _reserve(self, cid: str, request: VmRequest, image: Path, properties: VmProperties) -> Record:
        """Write the record with all addresses, none of which another machine has."""
        with locked(self._lock):
            taken = {shape["ip"]: other["cid"] for other in self._records.all() for shape in other["networks"]}
            networks: list[Network] = []
            for network in request.networks:
                subnet = Subnet.of(network)
                ip = network.ip or _free(subnet, taken)
                if ip in taken:
                    raise Conflict(f"the address {ip} is in use by {taken[ip]}", resource=ip)
                taken[ip] = cid
                # A dynamic network has the way out that this computer makes; a manual one has what the cloud config says.
                gateway = network.gateway if network.ip else str(subnet.host)
                networks.append(dataclasses.replace(network, ip=ip, prefix_length=subnet.range.prefixlen, gateway=gateway))
            record: Record = {
                "cid": cid, "token": request.token, "digest": digest_of(request), "state": "making", "agent_id": request.agent_id,
                "stemcell": request.stemcell_cid, "image": str(image), "networks": [dataclasses.asdict(network) for network in networks],
                "properties": dataclasses.asdict(properties), "metadata": dict(request.metadata), "created_at": self._clock(),
            }
            self._checkpoint("record")
            self._records.put(cid, record)
        return record

    def _make(self, record: Record, request: VmRequest, properties: VmProperties) -> None:
        cid = record["cid"]
        home = self._records.home(cid)
        self._checkpoint("seed")
        for name in ("upper", "work", "root", *(("docker",) if properties.privileged else ())):
            (home / name).mkdir(mode=0o755)
        networks = [network_of(shape) for shape in record["networks"]]
        write_seed(home / "seed", Path(record["image"]), cid, request.login, networks, name_servers(), privileged=properties.privileged)
        if properties.ephemeral_disk:
            (home / "quota").mkdir()
            disks.format_quota(home / "quota.ext4", properties.ephemeral_disk)
        self.start(cid)
        self._checkpoint("made")
        record["state"] = "made"
        self._records.put(cid, record)

    def start(self, cid: str) -> None:
        """Start a machine that does not run: networks, disks, processes; after a restart of this computer, too."""
        record = self.get(cid)
        if record["state"] == "removing":
            raise NotFound(f"the machine {cid} is being deleted", resource=cid)
        home = self._records.home(cid)
        properties = VmProperties(**record["properties"])
        networks = [network_of(shape) for shape in record["networks"]]
        pairs = [(network, Subnet.of(network)) for network in networks]
        for _, subnet in pairs:
            self._net.ensure_bridge(subnet)
        namespace = self._net.ensure_namespace(cid, pairs)
        self._checkpoint("devices")
        nodes = self._names.devices / cid
        nodes.mkdir(parents=True, exist_ok=True)
        devices = []
        for disk in self.attached(cid):
            self._checkpoint("loop")
            _, device = disks.attach_loop(self._disks.home(disk) / "data")
            disks.make_node(nodes, disk, device)
            devices.append(device)
        quota = ""
        if (home / "quota.ext4").exists():
            self._checkpoint("quota")
            quota, device = disks.attach_loop(home / "quota.ext4")
            devices.append(device)
        launch = Launch(
            cid, self._names.machine(cid), home, Path(record["image"]), namespace, nodes, privileged=properties.privileged, quota=quota,
        )
        write_atomically(home / "run.sh", script(launch))
        ensure_kernel_limits()
        self._checkpoint("start")
        self._host().start(cid, home / "run.sh", properties.limits, devices)

    def stop(self, cid: str, *, graceful: bool) -> None:
        self._checkpoint("stop")
        self._host().stop(cid, _GRACE_SECONDS if graceful else 0)

    def halt(self, cid: str) -> None:
        """Stop the machine and take away all but its files; `start` makes it whole again."""
        record = self._records.get(cid)
        self.stop(cid, graceful=True)
        self._let_go(cid, len(record["networks"]) if record else 0)
        for disk in self.attached(cid):
            disks.detach_loop(self._disks.home(disk) / "data")
        self._drop_nodes(cid)

    def remove(self, cid: str) -> None:
        """Take away the machine and all that was made for it, from whatever state. Its disks stay, detached."""
        record = self._records.get(cid)
        shapes = record["networks"] if record else []
        if record is not None and record["state"] != "removing":
            # From here on the token makes the machine anew, whatever is still there of this one.
            self._checkpoint("mark")
            self._records.put(cid, {**record, "state": "removing"})
        self._checkpoint("kill")
        self._let_go(cid, len(shapes))
        for disk in self.attached(cid):
            self.release(disk)
        self._checkpoint("remove-devices")
        self._drop_nodes(cid)
        self._checkpoint("remove-files")
        self._records.empty(cid)
        # In one lock with the record, or the last two machines would each leave the bridge to the other.
        with locked(self._lock):
            spans = {Subnet.of(network_of(shape)).range for shape in shapes}
            for span in spans - self._ranges(without=cid):
                self._net.remove_bridge(span)
            self._records.remove(cid)

    def _let_go(self, cid: str, interfaces: int) -> None:
        """Processes, network, quota: what the machine holds of this computer beside its disks."""
        self._host().remove(cid)
        self._net.remove_namespace(cid, interfaces or 4)
        quota = self._records.home(cid) / "quota.ext4"
        if quota.exists():
            disks.detach_loop(quota)

    def _drop_nodes(self, cid: str) -> None:
        nodes = self._names.devices / cid
        if nodes.is_dir():
            shutil.rmtree(nodes)
        # systemd-nspawn that was killed leaves its folder for mounts to pass on.
        with contextlib.suppress(FileNotFoundError):
            (_NSPAWN_FOLDERS / self._names.machine(cid)).rmdir()

    def _ranges(self, without: str) -> set[IPv4Network]:
        return {
            Subnet.of(network_of(shape)).range
            for record in self._records.all() if record["cid"] != without for shape in record["networks"]
        }

    def attached(self, cid: str) -> list[str]:
        """CIDs of the disks attached to a machine."""
        return [disk["cid"] for disk in self._disks.all() if disk["vm"] == cid]

    def release(self, disk: str) -> None:
        """Write down that the disk is with no machine; the loop device goes first, so that a crash leaves it attached, not lost."""
        self._checkpoint("detach-loop")
        disks.detach_loop(self._disks.home(disk) / "data")
        record = self._disks.get(disk)
        if record is not None:
            self._checkpoint("release-disk")
            self._disks.put(disk, {**record, "vm": ""})

    def states(self, cids: Sequence[str]) -> dict[str, bool]:
        """Which of these machines run."""
        host = self._host()
        return {cid: host.running(cid) for cid in cids}


def _free(subnet: Subnet, taken: dict[str, str]) -> str:
    for address in subnet.range.hosts():
        if address != subnet.host and str(address) not in taken:
            return str(IPv4Address(address))
    raise Conflict(f"no address of {subnet.range} is free", resource=str(subnet.range))
