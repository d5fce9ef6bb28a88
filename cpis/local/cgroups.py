"""Control groups, version 1 and 2, made by hand where no systemd does it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cpis.contract import Unavailable

_PERIOD_USEC = 100_000
# What the kernel gives to a group by default, and the most that it takes. Source: its documents on the cpu controller, v1 and v2.
_SHARES, _MOST_SHARES = 1024, 262_144
_WEIGHT, _MOST_WEIGHT = 100, 10_000
# Nodes every machine may use: null, zero, full, random, urandom, tty, console, ptmx, pts, fuse, tun. Any node may be made, but not used.
_DEVICES = (
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm",
    "c 136:* rwm", "c 10:229 rwm", "c 10:200 rwm",
)


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy. `own` is the group of this process in it, and `controllers` what it steers (`systemd` for the named one)."""

    mount: Path
    own: str
    controllers: frozenset[str]
    v1: bool

    def make(self, name: str) -> Path:
        """Make a group below this process's, with the controllers that it needs."""
        group = self.mount / self.own.lstrip("/")
        for part in name.split("/"):
            if not self.v1 and self.controllers:
                self._delegate(group)
            group = group / part
            group.mkdir(exist_ok=True)
        return group

    def _delegate(self, group: Path) -> None:
        """Hand the controllers to the groups below. Only the root may do that while it has processes itself."""
        wanted = " ".join(f"+{name}" for name in sorted(self.controllers & {"cpu", "memory", "pids", "io"}))
        try:
            (group / "cgroup.subtree_control").write_text(wanted)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise Unavailable(
                f"the control group {group} has processes, so no limits can be set below it",
                suggestion="start the director in a group of its own, or under systemd",
            ) from error

    def find(self, name: str) -> list[Path]:
        """All groups of this name, wherever the processes that made them belonged."""
        likely = self.mount / self.own.lstrip("/") / name
        if likely.is_dir():
            return [likely]
        first = name.split("/")[0]
        for folder, children, _ in os.walk(self.mount):
            if first in children:
                found = Path(folder) / name
                return [found] if found.is_dir() else []
        return []

    def limit_memory(self, group: Path, mib: int | None) -> None:
        """Limit memory, or lift the limit."""
        if self.v1:
            (group / "memory.limit_in_bytes").write_text(str(mib * 1024 * 1024) if mib else "-1")
        else:
            (group / "memory.max").write_text(str(mib * 1024 * 1024) if mib else "max")

    def limit_cpu(self, group: Path, cpus: float | None) -> None:
        """Limit processor time to so many cores, or lift the limit."""
        quota = str(int(cpus * _PERIOD_USEC)) if cpus else ""
        if self.v1:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_USEC))
            (group / "cpu.cfs_quota_us").write_text(quota or "-1")
        else:
            (group / "cpu.max").write_text(f"{quota or 'max'} {_PERIOD_USEC}")

    def share_cpu(self, group: Path) -> None:
        """Let the groups in this one have, together, as much as each of them beside it would: else all machines of a director have the
        share of one process, and starve on a busy computer."""
        many = max(1, sum(entry.is_dir() for entry in os.scandir(group)))
        if self.v1:
            (group / "cpu.shares").write_text(str(min(many * _SHARES, _MOST_SHARES)))
        else:
            (group / "cpu.weight").write_text(str(min(many * _WEIGHT, _MOST_WEIGHT)))

    def close_devices(self, group: Path, devices: Sequence[str]) -> None:
        """Leave the machine the usual nodes and the given block devices (`major:minor`). v2 needs programs for that: systemd's work."""
        if self.v1:
            (group / "devices.deny").write_text("a")
            for rule in (*_DEVICES, *(f"b {device} rwm" for device in devices)):
                (group / "devices.allow").write_text(rule)


def discover(mountinfo: str | None = None, own: str | None = None) -> list[Hierarchy]:
    """The hierarchies mounted here. Raises Unavailable when there is none."""
    mountinfo = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    own = Path("/proc/self/cgroup").read_text() if own is None else own
    paths = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            paths[name.removeprefix("name=")] = path
    found: dict[Path, Hierarchy] = {}
    for line in mountinfo.splitlines():
        left, right = line.split(" - ", 1)
        root, mount = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup2":
            available = Path(mount, "cgroup.controllers")
            names = frozenset(available.read_text().split()) if available.exists() else frozenset()
            found[Path(mount)] = Hierarchy(Path(mount), _below(root, paths.get("", "/")), names, v1=False)
        elif kind == "cgroup":
            names = frozenset(word.removeprefix("name=") for word in options.split(",") if word.removeprefix("name=") in paths)
            # Groups of `cpuset` need cores and nodes before anyone may join; it limits nothing that machines have.
            if names and names != {"cpuset"}:
                found[Path(mount)] = Hierarchy(Path(mount), _below(root, paths[min(names)]), names, v1=True)
    if not found:
        raise Unavailable("no control groups are mounted on this computer", suggestion="mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    return list(found.values())


def _below(root: str, path: str) -> str:
    """A group's path as seen through a mount whose root is itself a group."""
    return path.removeprefix(root) or "/" if root != "/" and path.startswith(root) else path


def members(group: Path) -> list[int]:
    """Live processes of a group and of those below."""
    found = []
    for folder, _, files in os.walk(group):
        if "cgroup.procs" in files:
            with contextlib.suppress(OSError):
                found += [int(line) for line in Path(folder, "cgroup.procs").read_text().split()]
    return [process for process in found if process and not _is_zombie(process)]


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def kill_all(groups: Iterable[Path], seconds: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Post: no live process in these groups. Raises Unavailable when one does not end."""
    groups = list(groups)
    deadline = clock() + seconds
    while found := {process for group in groups for process in members(group)}:
        if clock() >= deadline:
            raise Unavailable(f"processes do not end: {', '.join(map(str, sorted(found)))}")
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        sleep(0.005)


def remove_group(group: Path, seconds: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Remove a group and those below. The kernel lets go of a dead process's group a moment later, so it is tried for a while."""
    deadline = clock() + seconds
    while group.is_dir():
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(FileNotFoundError, OSError):
                os.rmdir(folder)
        if group.is_dir():
            if clock() >= deadline:
                raise Unavailable(f"the control group {group} cannot be removed", suggestion=f"cat {group}/cgroup.procs")
            sleep(0.005)
