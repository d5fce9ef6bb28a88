"""The script that becomes a machine: mounts its file system where nobody else sees it, then boots it."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

# With --keep-unit, systemd-nspawn ends with this status when the guest wants to boot again.
_REBOOT_STATUS = 133


@dataclasses.dataclass(frozen=True)
class Launch:
    """One machine's boot. `lower` is the image; `home` has seed, upper, work and root; `quota` is a file system image for upper and work."""

    cid: str
    machine: str
    home: Path
    lower: Path
    namespace: str
    devices: Path
    privileged: bool = False
    quota: Path | None = None


def script(launch: Launch) -> str:
    """A POSIX shell script. The mounts are made in a mount namespace of its own, so that they go with the machine whatever ends it."""
    quoted = {name: shlex.quote(str(launch.home / name)) for name in ("seed", "root", "quota", "docker")}
    lines = ["#!/bin/sh", "set -e"]
    upper = launch.home
    inner = []
    if launch.quota is not None:
        inner += [f"mount -o loop,discard {shlex.quote(str(launch.quota))} {quoted['quota']}"]
        upper = launch.home / "quota"
        inner += [f"mkdir -p {shlex.quote(str(upper / 'upper'))} {shlex.quote(str(upper / 'work'))}"]
    options = f"lowerdir={launch.home / 'seed'}:{launch.lower},upperdir={upper / 'upper'},workdir={upper / 'work'}"
    inner.append(f"mount -t overlay caisson -o {shlex.quote(options)} {quoted['root']}")
    if launch.privileged:
        inner += [
            "export SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes",
        ]
    boot = " ".join(shlex.quote(word) for word in nspawn(launch))
    inner += [f"status={_REBOOT_STATUS}", f"while [ $status = {_REBOOT_STATUS} ]; do status=0; {boot} || status=$?; done", "exit $status"]
    lines.append(f"exec unshare --mount --propagation slave /bin/sh -ec {shlex.quote(chr(10).join(inner))}")
    return "\n".join(lines) + "\n"


def nspawn(launch: Launch) -> list[str]:
    """The `systemd-nspawn` call."""
    command = [
        "systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--quiet", "--settings=no", "--link-journal=no", "--console=pipe",
        "--resolv-conf=off", "--timezone=off", f"--machine={launch.machine}", f"--hostname={launch.cid}", f"--directory={launch.home / 'root'}",
        f"--network-namespace-path=/run/netns/{launch.namespace}", f"--bind={launch.devices}:/dev/caisson",
    ]
    if not launch.privileged:
        # nspawn gives this only to networks that it made itself; this one is the machine's own all the same.
        command.append("--capability=CAP_NET_ADMIN")
    else:
        command += ["--capability=all", f"--bind={launch.home / 'docker'}:/var/lib/docker"]
        command += [f"--bind={node}" for node in ("/dev/fuse", "/dev/net/tun", "/dev/loop-control") if Path(node).exists()]
    return command
