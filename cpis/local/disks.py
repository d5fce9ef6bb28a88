"""Persistent disks: sparse files behind loop devices."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from cpis.contract import Conflict
from cpis.local.records import locked
from cpis.local.run import CommandFailed, run

_LOOP_LOCK = Path("/run/caisson-loop.lock")
_BUSY_SECONDS = 10.0


def make(path: Path, size_mib: int) -> None:
    """A blank sparse file of that size."""
    with open(path, "ab") as stream:
        stream.truncate(size_mib * 2**20)


def grow(path: Path, size_mib: int) -> None:
    """Make the file larger, never smaller."""
    if path.stat().st_size < size_mib * 2**20:
        os.truncate(path, size_mib * 2**20)


def copy(source: Path, target: Path) -> None:
    """A copy that shares blocks where the file system can, and holes where it cannot; with what a guest has written so far."""
    device = loop_of(source)
    if device:
        run(["blockdev", "--flushbufs", device])
    run(["cp", "--reflink=auto", "--sparse=always", str(source), str(target)], timeout=3600.0)
    run(["sync", str(target)])


def format_quota(path: Path, size_mib: int) -> None:
    """A file system for a machine's own changes, of that size."""
    make(path, size_mib)
    run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", str(path)])


def loop_of(path: Path) -> str:
    """The loop device on which the file is, or the empty string."""
    if not path.exists():
        return ""
    listed = run(["losetup", "--json", "--list", "--output", "NAME,BACK-INO,BACK-MAJ:MIN", "--associated", str(path)])
    devices = json.loads(listed)["loopdevices"] if listed.strip() else []
    return str(devices[0]["name"]) if devices else ""


def attach_loop(path: Path) -> tuple[str, str]:
    """Loop device of the file and its `major:minor`, made when there is none."""
    with locked(_LOOP_LOCK):
        device = loop_of(path) or _new_loop(path)
    number = os.stat(device).st_rdev
    return device, f"{os.major(number)}:{os.minor(number)}"


def _new_loop(path: Path) -> str:
    """`losetup --find` takes any free device; where its node is missing (a container's /dev), it is made."""
    try:
        return run(["losetup", "--find", "--show", "--nooverlap", str(path)]).strip()
    except CommandFailed:
        device = run(["losetup", "--find"]).strip()
        if Path(device).exists():
            raise
        os.mknod(device, 0o660 | stat.S_IFBLK, os.makedev(7, int(device.removeprefix("/dev/loop"))))
        return run(["losetup", "--show", "--nooverlap", device, str(path)]).strip()


def in_use(device: str) -> bool:
    """Whether a file system on the device is mounted somewhere."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise
    return False


def detach_loop(
    path: Path,
    *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep, wait_seconds: float = _BUSY_SECONDS,
) -> None:
    """Post: no loop device holds the file. Raises Conflict while a file system on it stays mounted.

    Mounts of a machine that has just ended go a moment later, so a busy device is waited for.
    """
    deadline = clock() + wait_seconds
    while device := loop_of(path):
        if in_use(device):
            if clock() >= deadline:
                raise Conflict(f"{device} is still mounted", resource=str(path.parent.name), suggestion="unmount it in the machine first")
        else:
            with contextlib.suppress(CommandFailed):
                run(["losetup", "--detach", device])
            if not loop_of(path):
                return
            if clock() >= deadline:
                raise Conflict(f"{device} cannot be detached", resource=str(path.parent.name))
        sleep(0.02)


def make_node(folder: Path, name: str, device: str) -> None:
    """A block device node for the machine. `device` is `major:minor`."""
    number = os.makedev(*map(int, device.split(":")))
    node = folder / name
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISBLK(node.stat().st_mode) and node.stat().st_rdev == number:
            return
        node.unlink()
    os.mknod(node, 0o660 | stat.S_IFBLK, number)
