"""Machines in memory whose agents obey the agent contract, and the cloud that makes them.

`Session` is a `director.machine.agent.Caller`, so the real `Agent` speaks to it; a machine keeps what a real one keeps (blobs, spec,
processes, mounts, host keys), refuses what a real one refuses, and outlives the director.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cpis import contract
from cpis.fake import FakeCpi
from director.errors import AgentError, ScriptFailed, Unreachable
from director.guest.agent.actions import sync_names
from director.machine import keys
from director.machine.agent import BLOBS, bare, blobs_of

Tree = dict[str, Any]
Effect = Callable[[str], None]

MUTES = frozenset({"get_state", "ping", "missing_blobs", "list_disk", "tail_logs"})


@dataclasses.dataclass
class Machine:
    """What a machine keeps on itself. `mounts` are disk CIDs by place (`store`, `store_migration_target`). A `dead` one is off, a `deaf`
    one runs and refuses connections."""

    cid: str
    host_key: str
    next_host_key: str = ""
    settings: Tree = dataclasses.field(default_factory=dict)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    spec: Tree = dataclasses.field(default_factory=dict)
    supervised: tuple[str, ...] = ()
    running: bool = False
    mounts: dict[str, str] = dataclasses.field(default_factory=dict)
    dns_version: int = 0
    records: str = ""
    ring: Tree = dataclasses.field(default_factory=dict)
    dead: bool = False
    deaf: bool = False

    @property
    def jobs(self) -> tuple[str, ...]:
        return tuple(job["name"] for job in (self.spec.get("job") or {}).get("templates", ()))


@dataclasses.dataclass(frozen=True)
class Call:
    """One thing that was asked of a machine; `detail` is the script's name, the drain type, the disk, the package."""

    cid: str
    action: str
    detail: str = ""
    env: tuple[tuple[str, str], ...] = ()


class Fleet:
    """All machines, what is on persistent disks, and what was asked. `sick` names jobs that never run, `errands` exit codes by job."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.contents: dict[str, list[str]] = {}
        self.calls: list[Call] = []
        self.sick: set[str] = set()
        self.errands: dict[str, int] = {}
        self.refuse: Callable[[Machine, str, Tree], None] = lambda machine, action, arguments: None
        self.lock = threading.RLock()

    def twin(self) -> Fleet:
        other = Fleet()
        other.machines, other.contents, other.calls, other.sick = copy.deepcopy(
            (self.machines, self.contents, self.calls, self.sick))
        other.refuse = self.refuse
        return other

    def of(self, cid: str, action: str = "") -> list[str]:
        """Details of what was asked of a machine."""
        return [call.detail for call in self.calls if call.cid == cid and action in ("", call.action)]


class Cloud(FakeCpi):
    """The fake cloud, whose machines are those of the fleet. `effect` is told of each call after it was done."""

    def __init__(self, fleet: Fleet, effect: Effect) -> None:
        super().__init__({"director": "test"}, sleep=lambda seconds: None)
        self.fleet = fleet
        self._effect = effect
        self.made: list[tuple[str, str]] = []

    def twin(self, fleet: Fleet, effect: Effect) -> Cloud:
        other = Cloud(fleet, effect)
        other._resources, other._last, other.made = copy.deepcopy(self._resources), dict(self._last), list(self.made)
        return other

    def create_vm(self, request: contract.VmRequest) -> contract.Vm:
        try:
            return super().create_vm(request)
        finally:  # also when only the answer is lost
            for vm in self._of("vm"):
                if vm["cid"] not in self.fleet.machines:
                    self.made.append(("vm", request.token))
                    self.fleet.machines[vm["cid"]] = Machine(vm["cid"], request.login.host_public_key)
                    self._effect("create_vm")

    def delete_vm(self, cid: str) -> None:
        super().delete_vm(cid)
        if self.fleet.machines.pop(cid, None):
            self._effect("delete_vm")

    def create_disk(self, request: contract.DiskRequest) -> str:
        try:
            return super().create_disk(request)
        finally:
            for disk in self._of("disk"):
                if disk["cid"] not in self.fleet.contents:
                    self.made.append(("disk", request.token))
                    self.fleet.contents[disk["cid"]] = []
                    self._effect("create_disk")

    def delete_disk(self, cid: str) -> None:
        super().delete_disk(cid)
        self.fleet.contents.pop(cid, None)
        self._effect("delete_disk")

    def attach_disk(self, vm_cid: str, disk_cid: str) -> contract.DiskHint:
        hint = super().attach_disk(vm_cid, disk_cid)
        self._effect("attach_disk")
        return hint

    def detach_disk(self, vm_cid: str, disk_cid: str) -> None:
        machine = self.fleet.machines.get(vm_cid)
        if machine is not None and disk_cid in machine.mounts.values() and not machine.dead:
            raise contract.Conflict(f"the disk {disk_cid} is mounted on {vm_cid}", resource=disk_cid)
        super().detach_disk(vm_cid, disk_cid)
        self._effect("detach_disk")

    def attached(self, vm_cid: str) -> set[str]:
        return {disk["cid"] for disk in self._of("disk") if disk["vm"] == vm_cid}


class Session:
    """A connection to a machine and its agent: the `Caller` behind a real `Agent`."""

    def __init__(self, cloud: Cloud, machine: Machine, effect: Effect) -> None:
        self._cloud, self._machine, self._effect = cloud, machine, effect
        self._fleet = cloud.fleet
        self._shown = machine.host_key
        self._closed = False

    @property
    def host_public_key(self) -> str:
        return self._shown

    @property
    def is_alive(self) -> bool:
        there = self._fleet.machines.get(self._machine.cid) is self._machine
        return there and not (self._closed or self._machine.dead or self._machine.deaf)

    def close(self) -> None:
        self._closed = True

    def call(
        self, action: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 45.0,
        on_progress: Callable[[Tree], None] | None = None, cancel: Any = None,
    ) -> Any:
        given = dict(arguments or {})
        self._fleet.refuse(self._machine, action, given)
        with self._fleet.lock:
            self._reach()
            self._fleet.calls.append(Call(self._machine.cid, action, _detail(action, given), tuple((given.get("env") or {}).items())))
            answer = getattr(self, f"_do_{action}")(**given)
            if action not in MUTES:
                self._effect(action)
        return json.loads(json.dumps(answer))

    def put_file(self, source: Path | bytes, target: str) -> str:
        data = source if isinstance(source, bytes) else source.read_bytes()
        with self._fleet.lock:
            self._reach()
            self._machine.files[target] = data
        return hashlib.sha256(data).hexdigest()

    def get_file(self, path: str, target: Path) -> str:
        self._reach()
        if path not in self._machine.files:
            raise AgentError(f"cat: {path}: No such file or directory")
        target.write_bytes(self._machine.files[path])
        return hashlib.sha256(self._machine.files[path]).hexdigest()

    def _reach(self) -> None:
        if not self.is_alive:
            raise Unreachable(f"The connection to machine '{self._machine.cid}' was lost")

    # Actions, in the words of the agent contract

    def _do_ping(self) -> str:
        return "pong"

    def _do_bootstrap(self, settings: Tree) -> Tree:
        self._machine.settings = settings
        return {"changed": [], "seconds": 0.0}

    def _do_rotate_host_key(self, phase: str, public_key: str = "") -> Tree:
        machine = self._machine
        if phase == "prepare":
            machine.next_host_key = machine.next_host_key or keys.generate().public_line
            return {"public_key": machine.next_host_key}
        if public_key != (machine.next_host_key or machine.host_key):
            raise AgentError("The host key to activate is not the one that was prepared")
        machine.host_key, machine.next_host_key = public_key, ""
        return {"public_key": public_key}

    def _do_get_state(self, full: bool) -> Tree:
        machine = self._machine
        states = {name: self._process_state(name) for name in machine.supervised}
        worst = next((state for state in ("failing", "stopped") if state in states.values()), "running")
        return {
            "agent_id": machine.settings.get("agent_id", ""), "spec": machine.spec,
            "configuration_hash": machine.spec.get("configuration_hash", ""), "job_state": worst,
            "processes": [{"name": name, "state": state} for name, state in states.items()], "disks": self._do_list_disk(),
            "dns_version": machine.dns_version, "vitals": {} if full else None,
        }

    def _process_state(self, name: str) -> str:
        return "stopped" if not self._machine.running else "failing" if name in self._fleet.sick else "running"

    def _do_missing_blobs(self, digests: list[str]) -> list[str]:
        return [digest for digest in digests if f"{BLOBS}/{bare(digest)}" not in self._machine.files]

    def _do_store_file(self, upload: str, target: str, digest: str, mode: int, size: int) -> str:
        data = self._machine.files.pop(upload)
        if hashlib.sha256(data).hexdigest() != digest:
            raise AgentError("Payload corrupted. Checksum mismatch.")
        self._machine.files[target] = data
        return "stored"

    def _do_write_file(self, data: str, target: str, digest: str, mode: int) -> str:
        self._machine.files["upload"] = base64.b64decode(data)
        return self._do_store_file("upload", target, digest, mode, 0)

    def _do_remove_file(self, path: str) -> None:
        self._machine.files.pop(path, None)

    def _do_prepare(self, spec: Tree) -> str:
        self._needs_blobs(spec)
        return "prepared"

    def _do_apply(self, spec: Tree) -> str:
        self._ready()
        self._needs_blobs(spec)
        self._machine.spec, self._machine.supervised = spec, ()
        return "applied"

    def _do_start(self) -> str:
        self._ready()
        self._machine.supervised, self._machine.running = self._machine.jobs, True
        for cid in self._machine.mounts.values():
            self._fleet.contents[cid].append("started")
        return "started"

    def _do_stop(self, seconds: float) -> str:
        self._machine.running = False
        return "stopped"

    def _do_run_script(self, name: str, env: Tree) -> None:
        self._ready()

    def _do_drain(self, type: str, spec: Tree | None = None) -> int:
        if type == "update" and spec is None:
            raise AgentError("Drain update requires new spec")
        return 0

    def _do_run_errand(self, job: str, stream: bool) -> Tree:
        if job not in self._machine.jobs:
            raise AgentError(f"Could not find errand {job}")
        return {"exit_code": self._fleet.errands.get(job, 0), "stdout": f"{job} ran", "stderr": ""}

    def _do_compile_package(
        self, name: str, version: str, digest: str, seconds: float, stream: bool, dependencies: list[Tree],
    ) -> Tree:
        self._ready()
        for needed in (digest, *(item["digest"] for item in dependencies)):
            if f"{BLOBS}/{bare(needed)}" not in self._machine.files:
                raise AgentError(f"Blob {needed} of package '{name}' is not on the machine")
        source = self._machine.files[f"{BLOBS}/{bare(digest)}"]
        if b"never compiles" in gzip.decompress(source):
            raise ScriptFailed(f"Compiling package {name}: 'bash -x packaging' failed with exit code 1")
        made = _packed("made", f"{name} {version} {[item['digest'] for item in dependencies]}".encode())
        path = f"/var/vcap/data/tmp/compiled-{name}.tgz"
        self._machine.files[path] = made
        return {"path": path, "digest": "sha256:" + hashlib.sha256(made).hexdigest(), "size": len(made)}

    def _do_list_disk(self) -> list[str]:
        return list(self._machine.mounts.values())

    def _do_mount_disk(self, cid: str, hint: Any, fs: str, options: list[str]) -> None:
        mounts = self._machine.mounts
        if cid not in self._cloud.attached(self._machine.cid):
            raise AgentError(f"Disk with hint {hint} did not appear")
        if cid in mounts.values():
            return
        place = "store" if "store" not in mounts else "store_migration_target"
        if place in mounts:
            raise AgentError(f"Both /var/vcap/store and /var/vcap/store_migration_target hold other disks; cannot mount '{cid}'")
        mounts[place] = cid

    def _do_unmount_disk(self, cid: str) -> Tree:
        place = next((place for place, mounted in self._machine.mounts.items() if mounted == cid), "")
        if not place:
            return {"message": f"Partition of {cid} is not mounted"}
        if self._machine.running and place == "store":
            raise AgentError("/var/vcap/store cannot be unmounted: target is busy")
        del self._machine.mounts[place]
        return {"message": f"Unmounted partition of {cid}"}

    def _do_migrate_disk(self, cid: str = "") -> None:
        mounts = self._machine.mounts
        if cid and mounts.get("store") == cid:
            return
        if "store" not in mounts or "store_migration_target" not in mounts:
            raise AgentError("No disk is mounted at /var/vcap/store_migration_target")
        self._fleet.contents[mounts["store_migration_target"]] = [*self._fleet.contents[mounts["store"]], "migrated"]
        mounts["store"] = mounts.pop("store_migration_target")

    def _do_remove_persistent_disk(self, cid: str) -> None:
        if cid in self._machine.mounts.values():
            raise AgentError(f"Persistent disk '{cid}' is still mounted")

    def _do_sync_names(
        self, version: int, digest: str, word: str, ring: Tree, use_seconds: float, records: str | None = None, base: int = 0,
        delta: Tree | None = None,
    ) -> Tree:
        machine = self._machine
        if machine.dns_version >= version:
            return {"version": machine.dns_version, "result": "synced", "in_use": None}
        if records is None:
            if machine.dns_version != base or not machine.records:
                return {"version": machine.dns_version, "result": "behind", "in_use": None}
            records = sync_names._changed(json.loads(machine.records), delta or {}, version)
        if hashlib.sha256(records.encode()).hexdigest() != digest:
            raise AgentError("The DNS records are not those that the director sent: their digest differs")
        machine.records, machine.dns_version = records, version
        machine.ring = {**ring, "peers": {**machine.ring.get("peers", {}), **ring["peers"]}}
        return {"version": version, "result": "synced", "in_use": True if use_seconds else None}

    def _do_sync_dns(self, records: str, version: int) -> str:
        if json.loads(records)["version"] != version:
            raise AgentError("version from unpacked dns blob does not match version supplied by director")
        self._machine.dns_version = max(version, self._machine.dns_version)
        return "synced"

    def _do_shutdown(self) -> str:
        self._machine.dead, self._machine.running = True, False
        return "shutting down"

    def _do_update_settings(self, settings: Tree) -> None:
        self._machine.settings.update(settings)

    def _do_tail_logs(self, jobs: list[str], lines: int) -> Tree:
        return {f"{job}/{job}.log": f"the last words of {job}" for job in jobs if job in self._fleet.sick}

    def _ready(self) -> None:
        if not self._machine.settings:
            raise AgentError("The machine was not bootstrapped")

    def _needs_blobs(self, spec: Tree) -> None:
        missing = self._do_missing_blobs(list(blobs_of(spec)))
        if missing:
            raise AgentError(f"Blob sha256:{missing[0]} is not on the machine")


def _packed(name: str, content: bytes) -> bytes:
    """An archive of one file."""
    raw = io.BytesIO()
    with tarfile.TarFile(fileobj=raw, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), 1, mtime=0)


def _detail(action: str, arguments: Tree) -> str:
    for key in ("name", "type", "cid", "job", "phase"):
        if key in arguments:
            return str(arguments[key])
    return ""


def rendered(machine: Machine, name: str) -> str:
    """A file below `jobs` that was rendered for the machine."""
    digest = machine.spec["rendered_templates_archive"]["sha256"]
    with tarfile.open(fileobj=io.BytesIO(machine.files[f"{BLOBS}/{digest}"]), mode="r:gz") as archive:
        file = archive.extractfile(next(member for member in archive if member.name.endswith(name)))
        assert file is not None
        return file.read().decode()
