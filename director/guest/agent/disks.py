"""Persistent and ephemeral disks: found, partitioned, formatted when blank, mounted, grown.

A disk that holds anything is never formatted. What is mounted is read from the kernel, not remembered; `persistent_disks.json`
says what is to be mounted where after a reboot: CID -> {"hint", "target": "store"|"store_migration_target"|"", "fs", "options"}.
Source: the agent contract, section 3.3.
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from . import files
from .errors import ActionError
from .layout import Layout
from .shell import Shell

Hint = Union[str, Dict[str, Any]]
Tree = Dict[str, Any]
FIND_SECONDS = 60.0
LOOP_MAJOR = "7"


class Disks:
    """The disks of one machine."""

    def __init__(
        self, layout: Layout, shell: Shell, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._shell = shell
        self._sleep = sleep
        self._clock = clock

    # What is known

    def known(self) -> Dict[str, Tree]:
        """Disks by CID."""
        return dict(files.read_json(self._layout.disks) or {})

    def remember(self, cid: str, **changes: Any) -> None:
        """Keep facts of a disk."""
        known = self.known()
        known[cid] = dict({"hint": "", "target": "", "fs": "ext4", "options": []}, **dict(known.get(cid, {}), **changes))
        files.write_json(self._layout.disks, known)

    def forget(self, cid: str) -> None:
        known = self.known()
        if known.pop(cid, None) is not None:
            files.write_json(self._layout.disks, known)

    def mounted(self) -> List[str]:
        """CIDs of the known disks that are mounted, at whichever place."""
        found = []
        for cid, disk in sorted(self.known().items()):
            if disk["target"] and self.source_of(self._place(disk["target"])):
                found.append(cid)
        return found

    def cid_at(self, target: str) -> str:
        """The CID of the disk that is mounted at `store` or `store_migration_target`, or ''."""
        for cid, disk in self.known().items():
            if disk["target"] == target and self.source_of(self._place(target)):
                return cid
        return ""

    def source_of(self, place: Path) -> str:
        """The device number (`8:1`) of what is mounted exactly at this place, or ''. Source: proc(5), mountinfo."""
        wanted = str(place)
        found = ""
        for line in self._mountinfo():
            fields = line.split()
            if len(fields) > 4 and _unescape(fields[4]) == wanted:
                found = fields[2]
        return found

    def _mountinfo(self) -> List[str]:
        try:
            return Path("/proc/self/mountinfo").read_text().splitlines()
        except OSError:
            return []

    def _place(self, target: str) -> Path:
        return self._layout.store if target == "store" else self._layout.migration_target

    # What is done

    def find(self, hint: Hint, seconds: float = FIND_SECONDS) -> str:
        """The path of the attached device, waited for. Raises ActionError."""
        deadline = self._clock() + seconds
        pause = 0.02
        while True:
            for path in candidates(hint):
                if is_block(path):
                    return os.path.realpath(path)
            if self._clock() > deadline:
                raise ActionError("Disk with hint %s did not appear within %d seconds" % (hint, int(seconds)))
            self._sleep(pause)
            pause = min(pause * 2, 0.5)

    def mount(self, cid: str, hint: Hint, fs: str = "", options: Sequence[str] = ()) -> None:
        """Mount at store, or at the migration target when another disk is at store. Mounted already: nothing happens."""
        known = self.known().get(cid, {})
        hint = hint or known.get("hint", "")
        fs = fs or known.get("fs", "") or "ext4"
        if not hint:
            raise ActionError("Persistent disk '%s' could not be found: no hint was given for it" % cid)
        partition = self.prepare(self.find(hint), fs)
        target = self._target_of(partition)
        if not target:
            target = "store" if not self.source_of(self._layout.store) else "store_migration_target"
            if self.source_of(self._place(target)):
                raise ActionError("Both /var/vcap/store and /var/vcap/store_migration_target hold other disks; cannot mount '%s'" % cid)
            self.mount_at(partition, self._place(target), options)
        self._place(target).chmod(0o755)  # jobs run as vcap and must get through; 0700 is only the mount point's, hidden below
        self.remember(cid, hint=hint, target=target, fs=fs, options=list(options))
        for other, disk in self.known().items():
            if other != cid and disk["target"] == target:
                self.remember(other, target="")

    def unmount(self, cid: str) -> str:
        """What happened, as a sentence."""
        disk = self.known().get(cid)
        if disk is None or not disk["target"] or not self.source_of(self._place(disk["target"])):
            if disk is not None:
                self.remember(cid, target="")
            return "Partition of %s is not mounted" % cid
        self.unmount_at(self._place(disk["target"]))
        self.remember(cid, target="")
        return "Unmounted partition of %s" % cid

    def migrate(self, copy: Callable[[Path, Path], None]) -> None:
        """Copy store to the migration target and mount that at store. `copy(source, target)` may raise; then all is as before."""
        new = self.cid_at("store_migration_target")
        old = self.cid_at("store")
        if not new:
            raise ActionError("No disk is mounted at /var/vcap/store_migration_target")
        if not self.source_of(self._layout.store):
            raise ActionError("No disk is mounted at /var/vcap/store")
        self._shell.run(["mount", "-o", "remount,ro", str(self._layout.store)])
        try:
            copy(self._layout.store, self._layout.migration_target)
        except BaseException:
            self._shell.run(["mount", "-o", "remount,rw", str(self._layout.store)], check=False)
            raise
        self._take_place(new, old)

    def moved(self, cid: str) -> bool:
        """Whether the migration to this disk is done; one that ended between its last copy and its last mount is completed.

        The store is unmounted only after all of it was copied, so the new disk mounted alone tells that its content is whole.
        """
        if self.cid_at("store") == cid:
            return True
        if self.cid_at("store_migration_target") != cid or self.source_of(self._layout.store):
            return False
        self._take_place(cid, "")
        return True

    def _take_place(self, new: str, old: str) -> None:
        partition = self._path_of(self.source_of(self._layout.migration_target), new)
        self.unmount_at(self._layout.store)
        self.unmount_at(self._layout.migration_target)
        self.mount_at(partition, self._layout.store, self.known()[new].get("options", []))
        if old:
            self.remember(old, target="")
        self.remember(new, target="store")

    def grow(self, cid: str) -> None:
        """Let partition and file system fill the device."""
        disk = self.known().get(cid)
        if disk is None or not disk["target"] or not self.source_of(self._place(disk["target"])):
            raise ActionError("Persistent disk '%s' is not mounted" % cid)
        place = self._place(disk["target"])
        device = self.find(disk["hint"])
        partition = first_partition(device)
        if is_block(partition):
            self._shell.run(["sfdisk", "--no-reread", "--force", "-N", "1", device], stdin=", +\n", check=False)
            self._shell.run(["partx", "-u", device], check=False)
        else:
            partition = device
        self._grow_file_system(partition, place)

    def prepare(self, device: str, fs: str) -> str:
        """The path of the device's file system, made when the disk is blank. Raises ActionError for one that holds something else."""
        if fs not in ("ext4", "xfs"):
            raise ActionError("The filesystem type \"%s\" is not supported" % fs)
        partition = first_partition(device)
        if not is_block(partition) and not self._type_of(device):
            partition = self._partition(device)
        elif not is_block(partition):
            partition = device
        found = self._type_of(partition)
        if not found:
            options = ["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-m", "1"] if fs == "ext4" else ["-q"]
            self._shell.run(["mkfs." + fs, *options, partition], timeout=1800.0)
        elif found not in ("ext4", "xfs"):
            raise ActionError("%s holds a '%s', which is not ours to overwrite" % (partition, found))
        return partition

    def mount_at(self, partition: str, place: Path, options: Sequence[str] = ()) -> None:
        """Mount, and grow the file system to its partition. Mounted there already: nothing happens."""
        if self.source_of(place) and self.source_of(place) == number_of(partition):
            return
        place.mkdir(parents=True, exist_ok=True)
        argv = ["mount"] + (["-o", ",".join(options)] if options else []) + [partition, str(place)]
        self._shell.run(argv)
        self._grow_file_system(partition, place)

    def unmount_at(self, place: Path, seconds: float = 20.0) -> None:
        """Unmount; a busy one is tried again, and told with who holds it."""
        deadline = self._clock() + seconds
        while True:
            done = self._shell.run(["umount", str(place)], check=False)
            if done.exit_code == 0 or not self.source_of(place):
                return
            if self._clock() > deadline:
                raise ActionError("%s cannot be unmounted: %s" % (place, done.stderr.strip()), holders_of(place))
            self._sleep(0.25)

    def at_boot(self) -> None:
        """Mount what was mounted before the reboot. Raises ActionError when a disk is missing."""
        for disk in sorted(self.known().values(), key=lambda item: str(item["target"])):
            if disk["target"]:
                partition = self.prepare(self.find(disk["hint"]), disk.get("fs", "ext4"))
                self.mount_at(partition, self._place(disk["target"]), disk.get("options", []))

    def _grow_file_system(self, partition: str, place: Path) -> None:
        kind = self._type_of(partition)
        if kind == "ext4":
            self._shell.run(["resize2fs", partition], check=False, timeout=600.0)
        elif kind == "xfs":
            self._shell.run(["xfs_growfs", str(place)], check=False, timeout=600.0)

    def _partition(self, device: str) -> str:
        """One GPT partition over the whole disk. Loop devices, and machines without sfdisk or udev, use the disk whole."""
        if number_of(device).split(":")[0] == LOOP_MAJOR or not self._shell.has("sfdisk"):
            return device
        self._shell.run(["sfdisk", "-q", device], stdin="label: gpt\n,\n")
        partition = first_partition(device)
        for pause in [0.05] * 20 + [0.5] * 18:
            if is_block(partition):
                return partition
            self._sleep(pause)
        raise ActionError("Partition %s did not appear after partitioning" % partition)

    def _type_of(self, device: str) -> str:
        """What the device holds, '' for a blank one. Raises ActionError when that cannot be told for sure."""
        done = self._shell.run(["blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "value", device], check=False)
        if done.exit_code == 0:
            return done.stdout.strip().replace("\n", " ")
        if done.exit_code == 2:
            return ""
        raise ActionError("Cannot tell what %s holds; it is left alone" % device, done.stdout + done.stderr)

    def _target_of(self, partition: str) -> str:
        number = number_of(partition)
        for target in ("store", "store_migration_target"):
            if number and self.source_of(self._place(target)) == number:
                return target
        return ""

    def _path_of(self, number: str, cid: str) -> str:
        device = self.find(self.known()[cid]["hint"])
        for path in (first_partition(device), device):
            if number_of(path) == number:
                return path
        raise ActionError("The device of disk '%s' changed while it was mounted" % cid)


def candidates(hint: Hint) -> List[str]:
    """Paths at which an attached disk may be found, most certain first."""
    import glob

    if isinstance(hint, str):
        hint = {"path": hint}
    paths: List[str] = []
    identity = str(hint.get("id") or hint.get("volume_id") or "")
    if identity:
        short = glob.escape(identity.replace("-", "") if identity.startswith("vol-") else identity)
        whole = glob.escape(identity)
        first = "virtio-" + glob.escape(identity[:20])
        for pattern in (first, "google-" + whole, "nvme-*_" + short, "wwn-*" + short, "scsi-*%s*" % short, "*" + short):
            paths += sorted(path for path in glob.glob("/dev/disk/by-id/" + pattern) if "-part" not in path)
    lun = str(hint.get("lun", ""))
    if lun:
        paths += ["/dev/disk/azure/scsi1/lun" + lun, "/dev/disk/azure/data/by-lun/" + lun]
    path = str(hint.get("path") or "")
    if path:
        paths.append(path)
        match = re.match(r"^/dev/sd([a-z]+)$", path)
        if match:
            paths += ["/dev/xvd" + match.group(1), "/dev/vd" + match.group(1)]
    return paths


def first_partition(device: str) -> str:
    """`/dev/sdb` -> `/dev/sdb1`, `/dev/nvme1n1` -> `/dev/nvme1n1p1`, `/dev/mapper/x` -> `/dev/mapper/x-part1`."""
    if device.startswith("/dev/mapper/"):
        return device + "-part1"
    return device + ("p1" if device[-1:].isdigit() else "1")


def is_block(path: str) -> bool:
    """Whether there is a block device at the path."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def number_of(path: str) -> str:
    """The block device's number, `8:1`, or ''."""
    try:
        facts = os.stat(path)
    except OSError:
        return ""
    return "%d:%d" % (os.major(facts.st_rdev), os.minor(facts.st_rdev)) if stat.S_ISBLK(facts.st_mode) else ""


def holders_of(place: Path) -> str:
    """The processes that keep a place busy, a line each."""
    inside = str(place) + "/"
    lines = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        for name in ["cwd", "root", "exe"] + ["fd/" + item for item in _list(process / "fd")]:
            try:
                target = os.readlink(str(process / name))
            except OSError:
                continue
            if target == str(place) or target.startswith(inside):
                lines.append("process %s (%s) uses %s" % (process.name, _comm(process), target))
                break
    return "\n".join(lines[:20])


def usage(place: Path) -> Optional[Tuple[int, int]]:
    """Percent of blocks and of inodes used at the place, as `df` tells."""
    try:
        facts = os.statvfs(str(place))
    except OSError:
        return None
    used = facts.f_blocks - facts.f_bfree
    percent = -(-used * 100 // (used + facts.f_bavail)) if used + facts.f_bavail else 0
    inodes = -(-(facts.f_files - facts.f_ffree) * 100 // facts.f_files) if facts.f_files else 0
    return percent, inodes


def _list(folder: Path) -> List[str]:
    try:
        return os.listdir(str(folder))
    except OSError:
        return []


def _comm(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "?"


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
