"""What differs between hosts: who holds a machine's processes, its limits and its devices.

    Host
    +-- DirectHost     no systemd: control groups (v1 or v2) of our own and a detached process
    +-- SystemdHost    transient units, which outlive the director and are delegated to the machine
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from cpis.contract import CpiError, Unavailable
from cpis.local.cgroups import Hierarchy, discover, kill_all, members, remove_group
from cpis.local.names import Names
from cpis.local.run import CommandFailed, need, need_root, run

_STOP_SECONDS = 30.0
_INOTIFY_INSTANCES = 8192
_NAMESPACES = ("net", "pid", "mnt", "uts", "ipc")


@dataclasses.dataclass(frozen=True)
class Limits:
    """`memory_mib` and `cpus` (cores, fractions allowed); None leaves the machine unlimited. `privileged` opens all devices."""

    memory_mib: int | None = None
    cpus: float | None = None
    privileged: bool = False


class Host(Protocol):
    """How machines are held on this computer. All but `start` can be repeated."""

    def start(self, cid: str, script: Path, limits: Limits, devices: Sequence[str]) -> None:
        """Run a machine's script detached, in its limits, with block devices (`major:minor`). Post: it runs, or nothing of it does."""

    def running(self, cid: str) -> bool:
        """Whether any process of the machine is there."""

    def stop(self, cid: str, grace_seconds: float) -> None:
        """Post: no process of the machine is left. It is asked to shut down first when `grace_seconds` is not 0."""

    def remove(self, cid: str) -> None:
        """Stop at once, and take away what held the machine."""

    def allow(self, cid: str, device: str) -> None:
        """Let the machine use a block device (`major:minor`)."""

    def deny(self, cid: str, device: str) -> None:
        """Take it back."""

    def held(self) -> list[str]:
        """CIDs for which something is there, also when no record is."""

    def clean(self) -> None:
        """Remove everything of this director."""


def ensure_kernel_limits() -> None:
    """Raise what all machines share and each systemd needs some of; the kernel's default is enough for about 40 machines."""
    instances = Path("/proc/sys/fs/inotify/max_user_instances")
    # Where /proc/sys is read-only (a container), the host's administrator has to do it; a machine that fails says so on its console.
    with contextlib.suppress(OSError):
        if int(instances.read_text()) < _INOTIFY_INSTANCES:
            instances.write_text(f"{_INOTIFY_INSTANCES}\n")


def detect(names: Names, *, booted_with_systemd: bool | None = None) -> Host:
    """The host that this computer is. Raises Denied, Unavailable with everything that is missing."""
    need_root()
    need("ip", "systemd-nspawn", "unshare", "setsid", "mount", "losetup")
    _need_kernel()
    systemd = Path("/run/systemd/system").is_dir() if booted_with_systemd is None else booted_with_systemd
    if systemd:
        need("systemd-run")
        return SystemdHost(names)
    return DirectHost(names, discover())


def _need_kernel() -> None:
    filesystems = Path("/proc/filesystems").read_text().split()
    if "overlay" not in filesystems:
        with contextlib.suppress(CpiError):
            run(["modprobe", "overlay"])
        filesystems = Path("/proc/filesystems").read_text().split()
    absent = [] if "overlay" in filesystems else ["overlayfs (CONFIG_OVERLAY_FS)"]
    absent += [f"{name} namespaces" for name in _NAMESPACES if not Path("/proc/self/ns", name).exists()]
    if absent:
        suggestion = "run on a kernel that has them, or load the module"
        raise Unavailable(f"the kernel of this computer lacks: {', '.join(absent)}", suggestion=suggestion)


class DirectHost:
    """Control groups of our own below this process's, and a detached process in them."""

    def __init__(
        self, names: Names, hierarchies: Sequence[Hierarchy],
        *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._names = names
        self._hierarchies = hierarchies
        self._clock = clock
        self._sleep = sleep

    def _groups(self, cid: str) -> list[Path]:
        """The machine's groups: where they are by now, or where they would be made. They may hang below another process's group,
        when the director was started from another place than last time."""
        return [found for hierarchy in self._hierarchies for found in hierarchy.find(f"{self._names.group}/{cid}")]

    def start(self, cid: str, script: Path, limits: Limits, devices: Sequence[str]) -> None:
        groups = []
        for hierarchy in self._hierarchies:
            group = hierarchy.make(f"{self._names.group}/{cid}")
            groups.append(group)
            if "memory" in hierarchy.controllers:
                hierarchy.limit_memory(group, limits.memory_mib)
            if "cpu" in hierarchy.controllers:
                hierarchy.limit_cpu(group, limits.cpus)
                hierarchy.share_cpu(group.parent)
            if "devices" in hierarchy.controllers and not limits.privileged:
                hierarchy.close_devices(group, devices)
        joined = [str(group / "cgroup.procs") for group in groups]
        # The new process joins before it does anything, so whoever empties and removes the groups has caught it.
        launcher = 'for group; do echo $$ > "$group" || exit 1; done; exec /bin/sh "$SCRIPT"'
        environment = [f"SCRIPT={script}", f"LOG={console_log(script)}"]
        run(["setsid", "--fork", "env", *environment, "/bin/sh", "-c", f'exec </dev/null >>"$LOG" 2>&1; {launcher}', "sh", *joined])
        self._wait_started(cid, script)

    def _wait_started(self, cid: str, script: Path) -> None:
        deadline = self._clock() + _STOP_SECONDS
        missing_since: float | None = None
        pause = 0.01
        # The group that is joined last tells as much as all; many machines start at once, and looking costs each of them.
        last = self._groups(cid)[-1]
        while self._clock() < deadline:
            found = members(last)
            if any(_is_payload(process) for process in found):
                return
            if found:
                missing_since = None
            elif missing_since is None:
                missing_since = self._clock()
            elif self._clock() - missing_since > 1.0:
                break
            self._sleep(pause)
            pause = min(pause * 1.5, 0.1)
        self.stop(cid, 0)
        raise did_not_start(cid, console_log(script))

    def running(self, cid: str) -> bool:
        return any(members(group) for group in self._groups(cid))

    def stop(self, cid: str, grace_seconds: float) -> None:
        groups = self._groups(cid)
        if grace_seconds:
            self._ask(groups, grace_seconds)
        kill_all(groups, _STOP_SECONDS, self._clock, self._sleep)

    def _ask(self, groups: Iterable[Path], seconds: float) -> None:
        """Ask the machine's init to power off, and wait until it has."""
        asked = False
        deadline = self._clock() + seconds
        while self._clock() < deadline:
            found = {process for group in groups for process in members(group)}
            if not found:
                return
            if not asked:
                asked = True
                for process in found:
                    if _is_payload(process):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(process, signal.SIGRTMIN + 4)
            self._sleep(0.02)

    def remove(self, cid: str) -> None:
        self.stop(cid, 0)
        for group in self._groups(cid):
            remove_group(group, _STOP_SECONDS, self._clock, self._sleep)

    def allow(self, cid: str, device: str) -> None:
        self._device(cid, "devices.allow", device)

    def deny(self, cid: str, device: str) -> None:
        self._device(cid, "devices.deny", device)

    def _device(self, cid: str, file: str, device: str) -> None:
        for hierarchy in self._hierarchies:
            if "devices" in hierarchy.controllers:
                for group in hierarchy.find(f"{self._names.group}/{cid}"):
                    # Groups that the guest's init has made below hold a copy of the rules; a grant does not reach them by itself.
                    for path in (group, *(Path(folder) for folder, _, _ in os.walk(group) if folder != str(group))):
                        with contextlib.suppress(FileNotFoundError):
                            (path / file).write_text(f"b {device} rwm\n")

    def held(self) -> list[str]:
        return sorted({
            entry.name
            for hierarchy in self._hierarchies for group in hierarchy.find(self._names.group)
            for entry in group.iterdir() if entry.is_dir()
        })

    def clean(self) -> None:
        for cid in self.held():
            self.remove(cid)
        for hierarchy in self._hierarchies:
            for group in hierarchy.find(self._names.group):
                remove_group(group, _STOP_SECONDS, self._clock, self._sleep)


def _is_payload(process: int) -> bool:
    """Whether it is the init of the machine: the first process of a process namespace one level below ours."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        ours = Path("/proc/self/status").read_text()
    except OSError:
        return False
    depths = [next(line.split()[1:] for line in text.splitlines() if line.startswith("NSpid:")) for text in (status, ours)]
    return len(depths[0]) == len(depths[1]) + 1 and depths[0][-1] == "1"


def console_log(script: Path) -> Path:
    """Where a machine's console goes."""
    return script.with_name("console.log")


def did_not_start(cid: str, log: Path) -> CpiError:
    """The error with the last words of a machine that ended at once."""
    try:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        said = []
    return Unavailable(f"the machine {cid} did not start: {' / '.join(said[-5:]) or 'it said nothing'}", resource=cid)


class SystemdHost:
    """Transient units of the host's systemd."""

    def __init__(
        self, names: Names, *, command: Callable[[Sequence[str]], str] = run,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._names = names
        self._run = command
        self._clock = clock
        self._sleep = sleep

    def start_command(self, cid: str, script: Path, limits: Limits, devices: Sequence[str]) -> list[str]:
        """The `systemd-run` call: the unit is delegated, so that the machine's own systemd may divide it."""
        log = console_log(script)
        properties = {
            "Slice": f"{self._names.group.replace('-', '_')}.slice", "Delegate": "yes", "KillMode": "mixed", "TasksMax": "infinity",
            "StandardOutput": f"append:{log}", "StandardError": f"append:{log}",
            "TimeoutStopSec": f"{_STOP_SECONDS:.0f}",
        }
        if limits.memory_mib:
            properties["MemoryMax"] = f"{limits.memory_mib}M"
        if limits.cpus:
            properties["CPUQuota"] = f"{limits.cpus * 100:.0f}%"
        command = ["systemd-run", "--quiet", "--collect", "--service-type=exec"]
        command += [f"--unit={self._names.unit(cid)}", f"--description=Caisson machine {cid}"]
        command += [f"--property={key}={value}" for key, value in properties.items()]
        if not limits.privileged:
            allowed = ["/dev/net/tun rwm", "/dev/fuse rwm", "char-pts rwm", *(f"{_block_path(device)} rw" for device in devices)]
            command += ["--property=DevicePolicy=closed", *(f"--property=DeviceAllow={rule}" for rule in allowed)]
        return [*command, "/bin/sh", str(script)]

    def start(self, cid: str, script: Path, limits: Limits, devices: Sequence[str]) -> None:
        # A unit that failed earlier would keep its name from being used again.
        with contextlib.suppress(CommandFailed):
            self._run(["systemctl", "reset-failed", self._names.unit(cid)])
        self._run(self.start_command(cid, script, limits, devices))
        deadline = self._clock() + _STOP_SECONDS
        while self._clock() < deadline:
            if self._state(cid) not in ("active", "activating", "reloading"):
                break
            if any(_is_payload(process) for process in self._processes(cid)):
                return
            self._sleep(0.01)
        self.stop(cid, 0)
        raise did_not_start(cid, console_log(script))

    def _show(self, cid: str, name: str) -> str:
        return self._run(["systemctl", "show", "--value", f"--property={name}", self._names.unit(cid)]).strip()

    def _state(self, cid: str) -> str:
        return self._show(cid, "ActiveState")

    def _processes(self, cid: str) -> list[int]:
        group = self._show(cid, "ControlGroup")
        return [process for hierarchy in discover() if not hierarchy.v1 or "systemd" in hierarchy.controllers
                for process in members(hierarchy.mount / group.lstrip("/"))] if group else []

    def running(self, cid: str) -> bool:
        return self._state(cid) in ("active", "activating", "deactivating", "reloading")

    def stop(self, cid: str, grace_seconds: float) -> None:
        unit = self._names.unit(cid)
        if not self.running(cid):
            return
        if grace_seconds:
            for process in self._processes(cid):
                if _is_payload(process):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGRTMIN + 4)
            self._wait_gone(cid, grace_seconds)
        with contextlib.suppress(CommandFailed):
            self._run(["systemctl", "kill", "--kill-whom=all", "--signal=SIGKILL", unit])
        if not self._wait_gone(cid, _STOP_SECONDS):
            raise Unavailable(f"the unit {unit} does not end", resource=cid, suggestion=f"systemctl status {unit}")

    def _wait_gone(self, cid: str, seconds: float) -> bool:
        deadline = self._clock() + seconds
        while self.running(cid):
            if self._clock() >= deadline:
                return False
            self._sleep(0.02)
        return True

    def remove(self, cid: str) -> None:
        self.stop(cid, 0)
        with contextlib.suppress(CommandFailed):
            self._run(["systemctl", "reset-failed", self._names.unit(cid)])

    def allow(self, cid: str, device: str) -> None:
        self._run(["systemctl", "set-property", "--runtime", self._names.unit(cid), f"DeviceAllow={_block_path(device)} rw"])

    def deny(self, cid: str, device: str) -> None:
        # systemd can only empty the whole list. The node is gone from the machine's /dev, and the next start is without the grant.
        del cid, device

    def held(self) -> list[str]:
        listed = self._run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "--full", f"{self._names.group}-*.service"])
        names = (line.split()[0] for line in listed.splitlines() if line.split())
        return sorted(name.removeprefix(f"{self._names.group}-").removesuffix(".service") for name in names)

    def clean(self) -> None:
        for cid in self.held():
            self.remove(cid)
        with contextlib.suppress(CommandFailed):
            self._run(["systemctl", "stop", f"{self._names.group.replace('-', '_')}.slice"])


def _block_path(device: str) -> str:
    """The node of a block device on the host, which systemd wants by path."""
    return os.path.realpath(f"/dev/block/{device}") if Path(f"/dev/block/{device}").exists() else f"/dev/block/{device}"
