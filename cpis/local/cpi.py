"""The CPI of this computer: the contract's methods over machines, networks, disks and images."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cpis.contract import (
    Check,
    Conflict,
    CpiInfo,
    DiskHint,
    DiskRequest,
    Found,
    Invalid,
    NotFound,
    NotSupported,
    Properties,
    Quota,
    Unavailable,
    Uses,
    Vm,
    VmRequest,
    VmResources,
    check_interfaces,
)
from cpis.local import disks
from cpis.local.checks import checks
from cpis.local.host import Host, detect
from cpis.local.images import DEFAULT_CACHE, DEFAULT_RECIPE, Images, recipe_of
from cpis.local.names import Names
from cpis.local.net import Net
from cpis.local.properties import nearest, smallest
from cpis.local.records import Record, Records, cid_of, locked
from cpis.local.vms import Vms

_AT_ONCE = 8
_KEYS = ("state_dir", "director", "image_cache")
_UNCLEAN = re.compile(r"[^\x20-\x7e]")
_LONGEST_VALUE = 256


class LocalCpi:
    """Machines on this computer. Implements `cpis.contract.Cpi`; see there for what methods promise and raise.

    `config`: `state_dir` (required, a folder on a local file system; all that this CPI knows is there), `director` (a name that is told
    to other directors on this computer), `image_cache` (default `/var/cache/caisson/images`, shared by all directors).
    `checkpoint` is called with a step's name right before the step; crash tests end the process there.
    """

    name = "local"

    def __init__(
        self, config: Mapping[str, Any], *, host: Host | None = None, progress: Callable[[str], None] | None = None,
        checkpoint: Callable[[str], None] = lambda step: None, clock: Callable[[], float] = time.time,
    ) -> None:
        for key in config:
            if key not in _KEYS:
                raise Invalid(f"the local CPI has no setting '{key}'", suggestion=nearest(key, _KEYS))
        if not config.get("state_dir"):
            raise Invalid("the local CPI needs 'state_dir'")
        self._state = Path(os.path.abspath(config["state_dir"]))
        self._director = str(config.get("director") or "caisson")
        self._names = Names(self._state)
        self._found_host = host
        self._host_lock = threading.Lock()
        self._checkpoint = checkpoint
        self._clock = clock
        self._images = Images(Path(config.get("image_cache") or DEFAULT_CACHE), progress)
        self._vm_records = Records(self._state / "vms", "vm")
        self._disk_records = Records(self._state / "disks", "disk")
        self._snapshot_records = Records(self._state / "snapshots", "snapshot")
        self._stemcell_records = Records(self._state / "stemcells", "stemcell")
        self._net = Net(self._names, f"director '{self._director}' ({self._state})", checkpoint)
        self._vms = Vms(
            self._state, self._names, self._host, self._net, self._vm_records, self._disk_records, checkpoint=checkpoint, clock=clock,
        )

    def _host(self) -> Host:
        """Found out at the first use, so that `info` works anywhere."""
        with self._host_lock:
            if self._found_host is None:
                self._found_host = detect(self._names)
            return self._found_host

    @contextlib.contextmanager
    def _locked(self, *cids: str) -> Iterator[None]:
        """Hold the locks of resources, in one order for all. What the system refuses becomes an error of the contract."""
        try:
            with contextlib.ExitStack() as stack:
                for cid in sorted({cid for cid in cids if cid and "/" not in cid}):
                    stack.enter_context(locked(self._state / "locks" / cid))
                yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Quota(f"this computer is full: {error}", suggestion=f"make room for {self._state}") from error
            raise Unavailable(f"this computer refuses: {error}", resource=" ".join(cids)) from error

    def info(self) -> CpiInfo:
        return CpiInfo(("caisson-light", "general-tar", "caisson-rootfs"), 2)

    def check(self) -> None:
        """Raises Denied when this is not root, Unavailable with the commands or kernel features that this computer lacks."""
        self._host()

    def checks(self, uses: Uses) -> Iterator[Check]:
        """See `cpis.contract.CloudChecker`."""
        return checks(self._host, self._state, self._stemcell_records, uses)

    # Stemcells

    def create_stemcell(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """Light: `recipe` (a name, or a mapping with suite and packages). Heavy: a tar archive of a root file system."""
        cid = cid_of("stemcell", token)
        path = Path(image_path) if image_path else None
        heavy = path is not None and path.is_file() and path.stat().st_size > 0
        with self._locked(cid):
            known = self._stemcell_records.get(cid)
            if known is not None and Path(known["image"]).is_dir():
                return cid
            base = {"cid": cid, "token": token, "metadata": {}, "created_at": self._clock()}
            if heavy and path is not None:
                folder = self._stemcell_records.home(cid)
                folder.mkdir(parents=True, exist_ok=True)
                self._checkpoint("unpack")
                try:
                    image = self._images.unpack(path, folder / "image")
                except Exception:
                    self._stemcell_records.remove(cid)
                    raise
            else:
                recipe = recipe_of(cloud_properties.get("recipe") or DEFAULT_RECIPE)
                self._checkpoint("image")
                image = self._images.build(recipe)
            self._checkpoint("stemcell-record")
            self._stemcell_records.put(cid, {**base, "image": str(image), "heavy": heavy})
        return cid

    def delete_stemcell(self, cid: str) -> None:
        """An image in the cache stays there for the next one. Raises Conflict while a machine stands on an unpacked one."""
        with self._locked(cid):
            record = self._stemcell_records.get(cid)
            users = [vm["cid"] for vm in self._vm_records.all() if vm["stemcell"] == cid]
            if record is not None and record["heavy"] and users:
                raise Conflict(f"the stemcell {cid} is in use by {', '.join(users)}", resource=cid)
            self._stemcell_records.remove(cid)

    # Machines

    def create_vm(self, request: VmRequest) -> Vm:
        check_interfaces("local", request.networks)
        cid = cid_of("vm", request.token)
        stemcell = self._stemcell_records.get(request.stemcell_cid)
        if stemcell is None:
            raise NotFound(f"there is no stemcell {request.stemcell_cid}", resource=request.stemcell_cid)
        absent = [disk for disk in request.disk_cids if self._disk_records.get(disk) is None]
        if absent:
            raise NotFound(f"there is no disk {', '.join(absent)}", resource=absent[0])
        with self._locked(cid):
            return self._vms.create(cid, request, Path(stemcell["image"]))

    def delete_vm(self, cid: str) -> None:
        with self._locked(cid):
            self._vms.remove(cid)

    def has_vm(self, cid: str) -> bool:
        return self._vm_records.get(cid) is not None

    def reboot_vm(self, cid: str) -> None:
        with self._locked(cid):
            self._vms.get(cid)
            self._vms.stop(cid, graceful=True)
            self._vms.start(cid)

    def set_vm_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        with self._locked(cid):
            self._vm_records.put(cid, {**self._vms.get(cid), "metadata": _clean_metadata(metadata)})

    def calculate_vm_cloud_properties(self, resources: VmResources) -> dict[str, Any]:
        return smallest(resources)

    # Disks

    def create_disk(self, request: DiskRequest) -> str:
        _check_disk(request.size_mib, request.cloud_properties)
        cid = cid_of("disk", request.token)
        with self._locked(cid):
            known = self._disk_records.get(cid)
            if known is None:
                self._checkpoint("disk-record")
                record = {
                    "cid": cid, "token": request.token, "size_mib": request.size_mib, "vm": "", "created_at": self._clock(),
                    "metadata": _clean_metadata(request.metadata),
                }
                self._disk_records.put(cid, record)
            elif known["size_mib"] < request.size_mib:
                raise Conflict(f"the token '{request.token}' has made a disk of {known['size_mib']} MiB", resource=cid)
            self._checkpoint("disk-data")
            disks.make(self._disk_records.home(cid) / "data", (known or {"size_mib": request.size_mib})["size_mib"])
        return cid

    def delete_disk(self, cid: str) -> None:
        with self._locked(cid):
            record = self._disk_records.get(cid)
            if record is None:
                return
            if record["vm"]:
                raise Conflict(f"the disk {cid} is attached to {record['vm']}", resource=cid)
            for snapshot in self._snapshot_records.all():
                if snapshot["disk"] == cid:
                    self._checkpoint("remove-snapshot")
                    self._snapshot_records.remove(snapshot["cid"])
            self._checkpoint("remove-loop")
            disks.detach_loop(self._disk_records.home(cid) / "data")
            self._checkpoint("remove-disk")
            self._disk_records.remove(cid)

    def has_disk(self, cid: str) -> bool:
        return self._disk_records.get(cid) is not None

    def _disk(self, cid: str) -> Record:
        record = self._disk_records.get(cid)
        if record is None:
            raise NotFound(f"there is no disk {cid}", resource=cid, kind="disk")
        return record

    def attach_disk(self, vm_cid: str, disk_cid: str) -> DiskHint:
        """The guest finds the disk at `/dev/caisson/<disk cid>`, now and after each reboot."""
        with self._locked(vm_cid, disk_cid):
            self._vms.get(vm_cid)
            record = self._disk(disk_cid)
            if record["vm"] not in ("", vm_cid):
                raise Conflict(f"the disk {disk_cid} is attached to {record['vm']}", resource=disk_cid)
            self._checkpoint("attach-record")
            self._disk_records.put(disk_cid, {**record, "vm": vm_cid})
            self._checkpoint("attach-loop")
            _, device = disks.attach_loop(self._disk_records.home(disk_cid) / "data")
            host = self._host()
            if host.running(vm_cid):
                self._checkpoint("attach-allow")
                host.allow(vm_cid, device)
            nodes = self._names.devices / vm_cid
            nodes.mkdir(parents=True, exist_ok=True)
            self._checkpoint("attach-node")
            disks.make_node(nodes, disk_cid, device)
        return DiskHint(path=f"/dev/caisson/{disk_cid}", id=disk_cid)

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        """Raises Conflict while the machine has it mounted."""
        with self._locked(vm_cid, disk_cid):
            record = self._disk_records.get(disk_cid)
            if record is None or record["vm"] != vm_cid:
                return
            device = disks.loop_of(self._disk_records.home(disk_cid) / "data")
            if device and disks.in_use(device):
                raise Conflict(f"the disk {disk_cid} is mounted in {vm_cid}", resource=disk_cid, suggestion="unmount it there first")
            (self._names.devices / vm_cid / disk_cid).unlink(missing_ok=True)
            host = self._host()
            if device and host.running(vm_cid):
                number = os.stat(device).st_rdev
                self._checkpoint("detach-deny")
                host.deny(vm_cid, f"{os.major(number)}:{os.minor(number)}")
            self._vms.release(disk_cid)

    def resize_disk(self, cid: str, size_mib: int) -> None:
        _check_disk(size_mib, {})
        with self._locked(cid):
            record = self._disk(cid)
            if record["vm"]:
                raise Conflict(f"the disk {cid} is attached to {record['vm']}", resource=cid)
            if size_mib < record["size_mib"]:
                raise NotSupported(f"the disk {cid} of {record['size_mib']} MiB cannot be made smaller", resource=cid)
            if size_mib > record["size_mib"]:
                self._checkpoint("resize")
                disks.grow(self._disk_records.home(cid) / "data", size_mib)
                self._disk_records.put(cid, {**record, "size_mib": size_mib})

    def update_disk(self, cid: str, size_mib: int, cloud_properties: Properties) -> str:
        """Disks have no properties here, so this is a resize."""
        _check_disk(size_mib, cloud_properties)
        self.resize_disk(cid, size_mib)
        return cid

    def set_disk_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        with self._locked(cid):
            self._disk_records.put(cid, {**self._disk(cid), "metadata": _clean_metadata(metadata)})

    def get_disks(self, vm_cid: str) -> Sequence[str]:
        self._vms.get(vm_cid)
        return self._vms.attached(vm_cid)

    def snapshot_disk(self, cid: str, metadata: Mapping[str, str], token: str) -> str:
        snapshot = cid_of("snapshot", token)
        with self._locked(cid, snapshot):
            self._disk(cid)
            known = self._snapshot_records.get(snapshot)
            if known is not None and known["disk"] != cid:
                raise Conflict(f"the token '{token}' has made a snapshot of {known['disk']}", resource=snapshot)
            if known is not None and known["state"] == "made":
                return snapshot
            record = {
                "cid": snapshot, "token": token, "disk": cid, "state": "making", "created_at": self._clock(),
                "metadata": _clean_metadata(metadata),
            }
            self._checkpoint("snapshot-record")
            self._snapshot_records.put(snapshot, record)
            try:
                self._checkpoint("snapshot-copy")
                disks.copy(self._disk_records.home(cid) / "data", self._snapshot_records.home(snapshot) / "data")
            except Exception:
                self._snapshot_records.remove(snapshot)
                raise
            self._snapshot_records.put(snapshot, {**record, "state": "made"})
        return snapshot

    def delete_snapshot(self, cid: str) -> None:
        with self._locked(cid):
            self._snapshot_records.remove(cid)

    # Sweeping

    def find(self, token: str) -> Sequence[Found]:
        for records in self._all_records():
            cid = cid_of(records.kind, token)
            if cid in records.strays():
                with self._locked(cid):
                    if records.get(cid) is None:
                        records.remove(cid)
        return [found for found in self._recorded() if found.token == token]

    def owned(self) -> Sequence[Found]:
        """All records, and what is on this computer under this director's names without one."""
        found = self._recorded()
        known = {item.cid for item in found}
        strays = set(self._net.namespaces()) | (set(self._host().held()) if os.geteuid() == 0 else set())
        return [*found, *(Found("vm", cid, "") for cid in sorted(strays - known))]

    def _recorded(self) -> list[Found]:
        return [
            Found(records.kind, record["cid"], record["token"], record["metadata"], record["created_at"])
            for records in self._all_records() for record in records.all()
        ]

    def power_off(self) -> None:
        """Switch all machines off, gracefully. No process, mount, device or interface of this director stays; its files do."""
        cids = [record["cid"] for record in self._vm_records.all()]
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            list(pool.map(self._halt, cids))
        self._host().clean()
        self._net.clean()

    def power_on(self) -> None:
        """Start all machines that do not run: after `power_off`, or after a restart of this computer."""
        states = self._vms.states([record["cid"] for record in self._vm_records.all() if record["state"] != "removing"])
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            list(pool.map(self.reboot_vm, [cid for cid, runs in states.items() if not runs]))

    def _halt(self, cid: str) -> None:
        with self._locked(cid):
            self._vms.halt(cid)

    def clean(self) -> None:
        """Remove everything of this director from this computer: machines, disks, networks, files. Images in the cache stay."""
        host = self._host()
        for found in self.owned():
            if found.kind == "vm":
                self.delete_vm(found.cid)
        host.clean()
        self._net.clean()
        for record in self._disk_records.all():
            disks.detach_loop(self._disk_records.home(record["cid"]) / "data")
        for records in (self._snapshot_records, self._disk_records, self._stemcell_records):
            for record in records.all():
                records.remove(record["cid"])
        for records in self._all_records():
            for stray in records.strays():
                records.remove(stray)
        for folder in (self._names.devices, self._names.devices.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()
        shutil.rmtree(self._state / "locks", ignore_errors=True)
        for folder in (*(records.folder for records in self._all_records()), self._state):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _all_records(self) -> tuple[Records, ...]:
        return (self._vm_records, self._disk_records, self._snapshot_records, self._stemcell_records)

    def close(self) -> None:
        """Machines go on."""


def _check_disk(size_mib: int, properties: Properties) -> None:
    if size_mib < 1:
        raise Invalid(f"a disk must have at least 1 MiB, not {size_mib}")
    if properties:
        unknown = ", ".join(sorted(properties))
        raise Invalid(f"disks of this computer have no cloud properties; unknown: {unknown}", suggestion="remove them")


def _clean_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Values become printable text of bounded length; empty ones are dropped."""
    return {
        _UNCLEAN.sub("_", str(key))[:_LONGEST_VALUE]: _UNCLEAN.sub("_", str(value))[:_LONGEST_VALUE]
        for key, value in metadata.items() if value not in (None, "")
    }


__all__ = ["LocalCpi"]
