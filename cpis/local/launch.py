"""The script that becomes a machine: mounts its file system where nobody else sees it, then boots it."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

# With --keep-unit, systemd-nspawn ends with this status when the guest wants to boot again.
_REBOOT_STATUS = 133

# With control groups of version 2 only, a group that hands controllers down must have no process itself: this script goes into one below,
# and each boot into another.
_DIVIDE_GROUP = """
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
  mkdir -p "$group/launcher" "$group/machine"
  echo $$ > "$group/launcher/cgroup.procs"
  for controller in $(cat "$group/cgroup.controllers"); do echo "+$controller" > "$group/cgroup.subtree_control" || true; done
fi
"""
_JOIN_GROUP = 'if [ -n "$1" ]; then echo $$ > "$1/machine/cgroup.procs"; fi; shift; exec "$@"'


@dataclasses.dataclass(frozen=True)
class Launch:
    """One machine's boot. `lower` is the image; `home` has seed, upper, work and root; `quota` is a block device with the
    file system for upper and work, or nothing when those may grow with the host's."""

    cid: str
    machine: str
    home: Path
    lower: Path
    namespace: str
    devices: Path
    privileged: bool = False
    quota: str = ""


def script(launch: Launch) -> str:
    """A POSIX shell script. The mounts are made in a mount namespace of its own, so that they go with the machine whatever ends it."""
    quoted = {name: shlex.quote(str(launch.home / name)) for name in ("seed", "root", "quota", "docker")}
    lines = ["#!/bin/sh", "set -e"]
    upper = launch.home
    inner = []
    if launch.quota:
        inner += [f"mount -t ext4 -o discard {shlex.quote(launch.quota)} {quoted['quota']}"]
        upper = launch.home / "quota"
        inner += [f"mkdir -p {shlex.quote(str(upper / 'upper'))} {shlex.quote(str(upper / 'work'))}"]
    options = f"lowerdir={launch.home / 'seed'}:{launch.lower},upperdir={upper / 'upper'},workdir={upper / 'work'}"
    inner.append(f"mount -t overlay caisson -o {shlex.quote(options)} {quoted['root']}")
    if launch.privileged:
        inner += [
            "export SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes",
        ]
    boot = " ".join(shlex.quote(word) for word in nspawn(launch))
    inner += [
        "group=", _DIVIDE_GROUP.strip(), f"status={_REBOOT_STATUS}",
        f"while [ $status = {_REBOOT_STATUS} ]; do status=0; /bin/sh -c {shlex.quote(_JOIN_GROUP)} sh \"$group\" {boot} || status=$?; done",
        "exit $status",
    ]
    lines.append(f"exec unshare --mount --propagation slave /bin/sh -ec {shlex.quote(chr(10).join(inner))}")
    return "\n".join(lines) + "\n"


def nspawn(launch: Launch) -> list[str]:
    """The `systemd-nspawn` call."""
    command = [
        "systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--quiet", "--settings=no", "--link-journal=no", "--console=pipe",
        "--resolv-conf=off", "--timezone=off", f"--machine={launch.machine}", f"--hostname={launch.cid}",
        f"--directory={launch.home / 'root'}",
        f"--network-namespace-path=/run/netns/{launch.namespace}", f"--bind={launch.devices}:/dev/caisson",
    ]
    if not launch.privileged:
        # nspawn gives this only to networks that it made itself; this one is the machine's own all the same.
        command.append("--capability=CAP_NET_ADMIN")
    else:
        command += ["--capability=all", f"--bind={launch.home / 'docker'}:/var/lib/docker"]
        command += [f"--bind={node}" for node in ("/dev/fuse", "/dev/net/tun", "/dev/loop-control") if Path(node).exists()]
    return command
