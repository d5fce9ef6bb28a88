"""What `caisson cloud check` looks at on this computer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from cpis.contract import Check, CpiError, Uses
from cpis.local.records import Records

_LEAST_DISK_MIB, _LEAST_MEMORY_MIB = 2048, 512


def checks(
    prepare: Callable[[], object], state: Path, stemcells: Records, uses: Uses, meminfo: Path = Path("/proc/meminfo"),
) -> Iterator[Check]:
    """`prepare` finds out what the computer has, and raises what it lacks."""
    try:
        prepare()
    except CpiError as error:
        yield Check.failed("this computer", "reach", error)
        return
    yield Check("this computer", "reach", True, "has the commands and kernel features that machines need")
    folder = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(folder).free >> 20
    yield Check(
        f"room in {state}", "storage", free >= _LEAST_DISK_MIB, f"{free >> 10} GiB free",
        "" if free >= _LEAST_DISK_MIB else "Make room: machines and disks grow there as they are written to.")
    available = _available_mib(meminfo)
    if available is None:
        yield Check("memory", "quota", None, f"{meminfo} does not tell how much is free")
    else:
        yield Check(
            "memory", "quota", available >= _LEAST_MEMORY_MIB, f"{available} MiB available",
            "" if available >= _LEAST_MEMORY_MIB else "Stop something, or make machines smaller.")
    for cid in uses.stemcell_cids:
        record = stemcells.get(cid)
        words = "there is no such stemcell" if record is None else "" if Path(record["image"]).is_dir() else f"{record['image']} is gone"
        yield Check(cid, "image", not words, words, "Upload it again with `caisson upload-stemcell --fix`." if words else "")


def _available_mib(meminfo: Path) -> int | None:
    for line in meminfo.read_text().splitlines() if meminfo.is_file() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return None
