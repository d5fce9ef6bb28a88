"""Users, keys and command lines for `ssh` and `logs -f`: the director makes a user, the system's `ssh` does the rest.

A key is made for one call, the hosts' keys are pinned by what the director says, and the user is removed afterwards.
Source: director API contract, section 6.5.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from director.cli import follow, instance_rows
from director.cli.client import DirectorError
from director.cli.session import Session
from director.errors import NotFoundError, TaskError, UsageError

Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Host:
    """An instance that can be logged in to; `user` is the name there."""

    slug: str
    address: str
    user: str
    port: int = 22


@dataclasses.dataclass(frozen=True)
class Gateway:
    """How to get to hosts that are not reached directly; an empty `host` means no gateway."""

    host: str = ""
    user: str = ""
    key: str = ""
    disabled: bool = False


@dataclasses.dataclass(frozen=True)
class Access:
    """Hosts with the options of `ssh` that lead to them."""

    hosts: tuple[Host, ...]
    options: tuple[str, ...]

    def command(self, host: Host, *command: str, terminal: bool = False, extra: Sequence[str] = ()) -> list[str]:
        """The argument list that runs `command` there, or opens a shell. Secrets are in files, never in arguments."""
        port = ["-p", str(host.port)] if host.port != 22 else []
        return [
            "ssh",
            *(["-tt"] if terminal else []),
            *self.options,
            *extra,
            *port,
            "-l",
            host.user,
            host.address,
            *(["--", *command] if command else []),
        ]


@dataclasses.dataclass(frozen=True)
class Outcome:
    slug: str
    exit_code: int
    stdout: str = ""
    stderr: str = ""


def gateway_options(function: Function) -> Function:
    """The `--gw-*` flags, handed over as one `gateway`."""
    for decorate in reversed(
        (
            click.option("--gw-disable", is_flag=True, envvar="BOSH_GW_DISABLE", help="Use no gateway"),
            click.option("--gw-user", default="", envvar="BOSH_GW_USER", help="User on the gateway"),
            click.option("--gw-host", default="", envvar="BOSH_GW_HOST", help="Go through this host"),
            click.option("--gw-private-key", default="", envvar="BOSH_GW_PRIVATE_KEY", help="Key for the gateway"),
        )
    ):
        function = decorate(function)
    return function


def gateway_of(given: dict[str, Any]) -> Gateway:
    """Takes the flags of `gateway_options` out of `given`."""
    return Gateway(given.pop("gw_host"), given.pop("gw_user"), given.pop("gw_private_key"), given.pop("gw_disable"))


@contextlib.contextmanager
def opened(session: Session, deployment: str, group: str, instance: str, gateway: Gateway) -> Iterator[Access]:
    """Make a user on the instances, give the way in, and have the user removed whatever happens."""
    _need_ssh()
    user = f"bosh_{secrets.token_hex(8)[:15]}"
    ids = [instance] if instance else []
    target = {**({"job": group} if group else {}), "ids": ids, "indexes": ids}
    with tempfile.TemporaryDirectory(prefix="caisson-ssh-") as name:
        folder = pathlib.Path(name)
        public = _make_key(folder / "key")
        body = {"command": "setup", "deployment_name": deployment, "target": target, "params": {"user": user, "public_key": public}}
        setup = session.client.ssh(deployment, body)
        try:
            rows = _rows(session.follow(setup, follow.SilentReporter()))
            yield _access(rows, user, folder, gateway)
        finally:
            params = {"user_regex": f"^{user}"}
            try:
                session.client.ssh(deployment, {"command": "cleanup", "deployment_name": deployment, "target": target, "params": params})
            except DirectorError as error:
                session.ui.error(f"The user '{user}' could not be removed from the instances: {error}")


@contextlib.contextmanager
def with_own_key(session: Session, deployment: str, group: str, instance: str, key: str, user: str, gateway: Gateway) -> Iterator[Access]:
    """No user is made: `key` and `user` are the caller's, and hosts are not checked, as `bosh ssh -i` does."""
    _need_ssh()
    rows = [row for row in instance_rows.fetch(session, "vms")[0][1] if row.get("active") and row.get("job_name") == group]
    if instance:
        rows = [row for row in rows if instance in (str(row.get("id")), str(row.get("index")))]
    if len(rows) != 1 or not rows[0].get("ips"):
        found = ", ".join(instance_rows.name_of(row) for row in rows) or "none"
        raise NotFoundError(
            f"Expected '{group}{'/' + instance if instance else ''}' to be exactly one VM, found: {found}",
            suggestion="Name one as GROUP/ID.",
        )
    options = _base_options(pathlib.Path(key).expanduser(), None) + _proxy(gateway, {})
    del deployment
    yield Access((Host(instance_rows.name_of(rows[0]), str(rows[0]["ips"][0]), user),), tuple(options))


def terminal(access: Access, extra: Sequence[str]) -> None:
    """A shell in this terminal; the end of the shell is the end of the call."""
    if len(access.hosts) != 1:
        names = ", ".join(host.slug for host in access.hosts[:8])
        raise UsageError(
            "Interactive SSH only works for a single host at a time", suggestion=f"Name one ({names}), or give a command with -c."
        )
    code = subprocess.call(access.command(access.hosts[0], terminal=True, extra=extra))
    if code == 255:
        raise TaskError(
            f"No connection to {access.hosts[0].slug} at {access.hosts[0].address}",
            suggestion="ssh wrote the reason above; 'caisson vms' shows whether the machine answers.",
        )


def collect(access: Access, command: str, extra: Sequence[str], parallel: int) -> list[Outcome]:
    """Run on all hosts, keep what they write."""

    def one(host: Host) -> Outcome:
        done = subprocess.run(access.command(host, command, extra=extra), capture_output=True, stdin=subprocess.DEVNULL, check=False)
        return Outcome(host.slug, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    with concurrent.futures.ThreadPoolExecutor(max(1, parallel)) as pool:
        return list(pool.map(one, access.hosts))


def stream(session: Session, access: Access, command: str, extra: Sequence[str], *, prefix: bool = True) -> list[Outcome]:
    """Run on all hosts at once, show lines as they come, each with its host; Ctrl-C ends them all."""
    running = [
        (
            host,
            subprocess.Popen(
                access.command(host, command, extra=extra), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ),
        )
        for host in access.hosts
    ]
    lock = threading.Lock()

    def pump(host: Host, source: Any, kind: str) -> None:
        for line in source:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            with lock:
                session.ui.block(f"{host.slug}: {kind} | {text}\n" if prefix else f"{text}\n", kind="ssh")

    threads = [
        threading.Thread(target=pump, args=(host, source, kind), daemon=True)
        for host, process in running
        for source, kind in ((process.stdout, "stdout"), (process.stderr, "stderr"))
    ]
    try:
        for thread in threads:
            thread.start()
        codes = [process.wait() for _host, process in running]
        for thread in threads:
            thread.join()
    finally:
        for _host, process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    return [Outcome(host.slug, code) for (host, _process), code in zip(running, codes, strict=True)]


def _need_ssh() -> None:
    if shutil.which("ssh") is None:
        raise UsageError("There is no 'ssh' command on this computer", suggestion="Install it: apt-get install openssh-client.")


def _make_key(path: pathlib.Path) -> str:
    """Write a new private key, return the public one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(private)
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _rows(result: bytes) -> list[dict[str, Any]]:
    rows = json.loads(result or b"[]")
    if not isinstance(rows, list) or not rows:
        raise NotFoundError("No instance to log in to was found", suggestion="'caisson instances' lists them.")
    bad = [row for row in rows if row.get("status") != "success"]
    if bad:
        names = ", ".join(f"{row.get('job')}/{row.get('id')}" for row in bad)
        raise TaskError(f"The user could not be made on: {names}", suggestion="'caisson vms' shows whether their agents answer.")
    return rows


def _access(rows: list[dict[str, Any]], user: str, folder: pathlib.Path, gateway: Gateway) -> Access:
    hosts, known = [], []
    for row in rows:
        address, port = str(row["ip"]), int(row.get("port") or 22)
        name = address if port == 22 else f"[{address}]:{port}"
        known.append(f"{name} {row['host_public_key']}\n")
        hosts.append(Host(f"{row['job']}/{row.get('id') or row.get('index')}", address, user, port))
    (folder / "known_hosts").write_text("".join(known))
    options = _base_options(folder / "key", folder / "known_hosts") + _proxy(gateway, rows[0])
    return Access(tuple(hosts), tuple(options))


def _base_options(key: pathlib.Path, known_hosts: pathlib.Path | None) -> list[str]:
    settings = [
        "ServerAliveInterval=30",
        "ForwardAgent=no",
        "PasswordAuthentication=no",
        "IdentitiesOnly=yes",
        f"IdentityFile={key}",
        "LogLevel=ERROR",
    ]
    settings += (
        ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={known_hosts}"]
        if known_hosts
        else ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    )
    return [part for setting in (*settings, "GlobalKnownHostsFile=/dev/null") for part in ("-o", setting)]


def _proxy(gateway: Gateway, row: dict[str, Any]) -> list[str]:
    host, user = gateway.host or str(row.get("gateway_host") or ""), gateway.user or str(row.get("gateway_user") or "")
    if gateway.disabled or not host:
        return []
    jump = [
        "ssh",
        "-W",
        "%h:%p",
        "-o",
        "PasswordAuthentication=no",
        *(["-i", gateway.key, "-o", "IdentitiesOnly=yes"] if gateway.key else []),
    ]
    jump += [*(["-l", user] if user else []), host]
    return ["-o", f"ProxyCommand={shlex.join(jump)}"]
