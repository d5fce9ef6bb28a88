"""The first contact: what a machine's file system says on top of the image, in a layer below the machine's own changes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from cpis.contract import Invalid, Login, Network
from cpis.local.images import has_resolved

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


# A machine that holds containers divides its control groups itself; systemd-nspawn leaves those of version 1 read-only.
_OPEN_CGROUPS = """[Unit]
Description=Let this machine divide its control groups
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for m in $(findmnt -rno TARGET -t cgroup,cgroup2); do mount -o remount,bind,rw "$m"; done'
"""


def write_seed(
    seed: Path, image: Path, cid: str, login: Login, networks: Sequence[Network], name_servers: Sequence[str], *, privileged: bool = False,
) -> None:
    """Write the layer: login user with key and sudo, host key, machine id, host name, resolver. Raises Invalid.

    It lies under the machine's own layer: what the machine replaces (its host key, first of all) stays replaced after a reboot.
    """
    if not _USER.fullmatch(login.user):
        raise Invalid(f"'{login.user}' is no user name", suggestion="lower-case letters, digits, - and _")
    seed.mkdir(mode=0o755, exist_ok=True)
    uid, home = _user(seed, image, login.user)
    _file(seed, f"{home}/.ssh/authorized_keys", login.public_key.strip() + "\n", 0o600)
    for path in (f"{home}/.ssh/authorized_keys", f"{home}/.ssh", home):
        os.chown(seed / path.lstrip("/"), uid, uid)
    (seed / f"{home}/.ssh".lstrip("/")).chmod(0o700)
    _file(seed, f"/etc/sudoers.d/{login.user}", f"{login.user} ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
    (seed / "etc/sudoers.d").chmod(0o750)
    private, public = (login.host_private_key, login.host_public_key) if login.host_private_key else _host_key()
    _file(seed, "/etc/ssh/ssh_host_ed25519_key", private.strip() + "\n", 0o600)
    _file(seed, "/etc/ssh/ssh_host_ed25519_key.pub", public.strip() + "\n", 0o644)
    _file(seed, "/etc/machine-id", hashlib.sha256(f"{seed}".encode()).hexdigest()[:32] + "\n", 0o444)
    _file(seed, "/etc/hostname", f"{cid}\n", 0o644)
    _file(seed, "/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {cid}\n::1 localhost ip6-localhost ip6-loopback\n", 0o644)
    servers = next((n.dns for n in networks if "dns" in n.default and n.dns), next((n.dns for n in networks if n.dns), tuple(name_servers)))
    if privileged:
        unit = "/etc/systemd/system/caisson-cgroups.service"
        _file(seed, unit, _OPEN_CGROUPS, 0o644)
        wants = seed / "etc/systemd/system/sysinit.target.wants"
        wants.mkdir(exist_ok=True)
        link = wants / "caisson-cgroups.service"
        link.unlink(missing_ok=True)
        link.symlink_to(unit)
    if not has_resolved(image):
        _file(seed, "/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in servers), 0o644)


def _host_key() -> tuple[str, str]:
    """One of the machine's own, where the caller has none for it (a BOSH director): images have none, since all machines would share it."""
    # Not needed by a director's machines, and not there on a host within a machine.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return private.decode(), key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _file(seed: Path, path: str, text: str, mode: int) -> None:
    target = seed / path.lstrip("/")
    folder = seed
    for part in target.relative_to(seed).parts[:-1]:
        folder = folder / part
        folder.mkdir(mode=0o755, exist_ok=True)
    target.unlink(missing_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    target.chmod(mode)


def _user(seed: Path, image: Path, name: str) -> tuple[int, str]:
    """Add the login user to the image's accounts, unless it is there. Answers uid (the gid is the same) and home."""
    accounts = {file: (image / "etc" / file).read_text() for file in ("passwd", "group", "shadow")}
    rows = [line.split(":") for line in accounts["passwd"].splitlines()]
    found = next((row for row in rows if row[0] == name), None)
    if found is not None:
        return int(found[2]), found[5]
    taken = {int(line.split(":")[2]) for file in ("passwd", "group") for line in accounts[file].splitlines() if line}
    uid = next(number for number in range(1900, 60000) if number not in taken)
    home = f"/home/{name}"
    # A shell that every image has, and that starts in a fifth of bash's time.
    # `*` is no password that could match, where `!` would lock the account for keys, too.
    added = {
        "passwd": f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n", "group": f"{name}:x:{uid}:\n", "shadow": f"{name}:*:19000:0:99999:7:::\n",
    }
    for file, line in added.items():
        _file(seed, f"/etc/{file}", accounts[file] + line, 0o640 if file == "shadow" else 0o644)
    shadow = (image / "etc/shadow").stat()
    os.chown(seed / "etc/shadow", shadow.st_uid, shadow.st_gid)
    return uid, home
