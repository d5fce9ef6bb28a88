"""What a director of local machines has on the computer, found without its own help."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cpis.local.names import Names


def processes(state: Path) -> list[str]:
    """Machines' systemd-nspawn processes, without the child that is about to become a machine's init."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(None, 2) for line in listed]
    ours = {row[0]: row for row in rows if row[2].startswith("systemd-nspawn ") and f"{state}/vms" in row[2]}
    return [" ".join(row) for row in ours.values() if row[1] not in ours]


def left(state: Path, *, files: bool = True) -> list[str]:
    """Interfaces, namespaces, tables, control groups, loop devices, mounts, nodes, processes, files."""
    mark = Names(state).mark
    shell = f"""
        ls /sys/class/net | grep {mark}
        ls /run/netns /run/systemd/nspawn/propagate 2>/dev/null | grep {mark}
        nft list tables | grep {mark}
        find /sys/fs/cgroup -path '*{mark}*' -name '*vm-*'
        losetup --list --noheadings | grep {state}
        grep {state} /proc/self/mountinfo
        ls -d /dev/caisson/{mark}/vm* 2>/dev/null
    """
    found = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False).stdout.splitlines()
    kept = [str(path) for kind in ("vms", "disks") for path in (state / kind).glob("*")] if files else []
    return [*found, *processes(state), *kept]
