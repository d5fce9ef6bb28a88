"""Vitals, in the shapes of the agent contract, section 5.2."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from . import disks
from .host import Host

SAMPLE_SECONDS = 0.1
CGROUPS = Path("/sys/fs/cgroup")


def read(host: Host) -> Dict[str, Any]:
    """Takes a tenth of a second: the CPU is watched for that long."""
    layout = host.layout
    places = [("system", layout.root), ("ephemeral", layout.data), ("persistent", layout.store)]
    found: Dict[str, Any] = {}
    for name, place in places:
        percents = disks.usage(place) if name == "system" or host.disks.source_of(place) else None
        if percents is not None:
            found[name] = {"percent": str(percents[0]), "inode_percent": str(percents[1])}
    memory = _memory()
    total, free = memory.get("MemTotal", 0), memory.get("MemAvailable", 0)
    own = limited_memory(CGROUPS)
    if own is not None and own[0] < total:
        total, free = own
    return {
        "cpu": _cpu(), "disk": found, "load": ["%.2f" % value for value in _load()], "uptime": {"secs": _uptime()},
        "mem": _used(total, free),
        "swap": _used(memory.get("SwapTotal", 0), memory.get("SwapFree", 0)),
    }


def _used(total: int, free: int) -> Dict[str, str]:
    return {"kb": str(total - free), "percent": str(round((total - free) * 100 / total)) if total else "0"}


def _cpu() -> Dict[str, str]:
    before = _ticks()
    time.sleep(SAMPLE_SECONDS)
    after = _ticks()
    spent = [now - before[index] for index, now in enumerate(after)]
    total = sum(spent) or 1
    user, system, wait = (sum(spent[index] for index in group) * 100.0 / total for group in ((0, 1), (2, 5, 6), (4,)))
    return {"user": "%.1f" % user, "sys": "%.1f" % system, "wait": "%.1f" % wait}


def _ticks() -> List[int]:
    line = Path("/proc/stat").read_text().splitlines()[0]
    return [int(field) for field in line.split()[1:9]]


def _memory() -> Dict[str, int]:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {fields[0].rstrip(":"): int(fields[1]) for fields in lines if len(fields) > 1}


def limited_memory(cgroups: Path) -> Optional[Tuple[int, int]]:
    """Limit and what is free of it, in KiB, where this machine is itself a control group of a bigger one; None where it is not."""
    for folder, limit, usage, cache in (
        (cgroups, "memory.max", "memory.current", "inactive_file"),
        (cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            total, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such group, or one without a limit
            continue
        return total // 1024, (total - used + int(kept.get(cache, 0))) // 1024
    return None


def _load() -> List[float]:
    return [float(field) for field in Path("/proc/loadavg").read_text().split()[:3]]


def _uptime() -> int:
    """Seconds since the first process began: the kernel may be older, where it is shared."""
    began = int(Path("/proc/1/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return int(float(Path("/proc/uptime").read_text().split()[0]) - began)
