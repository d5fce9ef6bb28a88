"""The agent on a machine, as typed calls: one method per action.

Every method may raise Unreachable (no connection, or lost), AgentError (the action failed; the sentence is the reference's,
the output's last lines are in the diagnostic's detail), ScriptFailed (a job's script ended badly) and Cancelled.
A call that was lost with its connection may be made again: every action is idempotent.
Source: the agent contract, section 2; the planning contract, sections 11 to 14.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from director.errors import AgentError

Tree = dict[str, Any]
OnOutput = Callable[[str, str], None]

BLOBS = "/var/vcap/data/blobs"
UPLOADS = "/var/vcap/data/tmp"
STOP_SECONDS = 300.0
SMALL_BYTES = 64 << 10  # beyond it SFTP is faster than JSON, and starting it (sudo, a shell, the server) does not matter any more


class Cancel(Protocol):
    """A `threading.Event`, or anything like it."""

    def is_set(self) -> bool: ...


class Caller(Protocol):
    """What an `Agent` needs of a session; `director.machine.session.Session` is one, a test's fake another."""

    def call(
        self, action: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 45.0,
        on_progress: Callable[[Tree], None] | None = None, cancel: Cancel | None = None,
    ) -> Any: ...

    def put_file(self, source: Path | bytes, target: str) -> str: ...

    def get_file(self, path: str, target: Path) -> str: ...

    @property
    def host_public_key(self) -> str: ...

    @property
    def is_alive(self) -> bool: ...

    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that monit supervises. `state` is running, starting, failing or unknown; absent numbers are 0."""

    name: str
    state: str
    uptime_seconds: int = 0
    memory_kib: int = 0
    memory_percent: float = 0.0
    cpu_percent: float = 0.0


@dataclasses.dataclass(frozen=True)
class MachineState:
    """All that one round trip tells about a machine.

    `job_state` is running, starting, failing, stopped or unknown. `configuration_hash` and `spec` are of the spec applied last
    ('' and {} before the first). `disks` are the CIDs of mounted persistent disks, `dns_version` that of the records it has
    (0: none), `vitals` {} unless asked for in full, in the shapes of the agent contract, section 5.2.
    `bootstrapped` is the digest of the settings it was bootstrapped with ('' before).
    """

    agent_id: str
    job_state: str
    processes: tuple[Process, ...]
    spec: Tree
    configuration_hash: str
    disks: tuple[str, ...]
    boot_id: str
    agent_digest: str
    hostname: str
    bootstrapped: str
    dns_version: int
    vitals: Tree
    raw: Tree = dataclasses.field(repr=False)

    @property
    def not_running(self) -> tuple[str, ...]:
        """Names of processes that do not run, for the sentence of error 400007."""
        return tuple(process.name for process in self.processes if process.state != "running")


@dataclasses.dataclass(frozen=True)
class ErrandResult:
    """A script killed by a signal has exit code 128 + signal. Outputs longer than the agent keeps are cut at the front."""

    exit_code: int
    stdout: str
    stderr: str


@dataclasses.dataclass(frozen=True)
class Dependency:
    """A compiled package that must be in place while another compiles; its blob must be on the machine (`missing_blobs`, `put_blob`)."""

    name: str
    version: str
    digest: str


@dataclasses.dataclass(frozen=True)
class CompiledBlob:
    """A compiled package, a tgz at `path` on the machine: fetch it with `get_file`, then `remove_file` it. `digest` is `sha256:` hex."""

    path: str
    digest: str
    size: int


@dataclasses.dataclass(frozen=True)
class LogBundle:
    """A tgz of logs at `path` on the machine: fetch it with `get_file`, then `remove_file` it. `digest` is `sha256:` hex."""

    path: str
    digest: str
    size: int


@dataclasses.dataclass(frozen=True)
class NamesState:
    """`version` is that of the DNS records that the machine has now. `in_use`: whether its resolver uses it; None when it was not asked."""

    version: int
    synced: bool
    in_use: bool | None


@dataclasses.dataclass(frozen=True)
class SshAccess:
    """A made login user. `ip` is the machine's default address, `host_public_key` the line to pin."""

    user: str
    ip: str
    host_public_key: str


class Agent:
    """One machine's agent over one session. Safe to call from many threads."""

    def __init__(self, session: Caller) -> None:
        self.session = session

    @property
    def is_alive(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self.session.is_alive

    @property
    def host_public_key(self) -> str:
        """The key that the machine showed when this connection was made: one of the endpoint's accepted keys."""
        return self.session.host_public_key

    def close(self) -> None:
        """Close the connection; the agent's process ends with it."""
        self.session.close()

    # Life of the machine

    def ping(self) -> str:
        """`pong`."""
        return str(self.session.call("ping"))

    def bootstrap(self, settings: Mapping[str, Any], *, timeout: float = 600.0) -> Tree:
        """Make a stock image ready: users, directories, disks, hostname, resolver, monit.

        `settings` has the shape of the agent contract, section 3.1: `agent_id`, `networks` (NAME -> {ip, netmask, gateway, dns,
        default, type}), `disks` ({"ephemeral": path or hint, "persistent": {CID: path or hint}}), `env`, `ntp`.
        Answers {"changed": [what was done], "seconds": float}. Settings applied before cost one look.
        """
        return dict(self.session.call("bootstrap", {"settings": dict(settings)}, timeout=timeout))

    def prepare_host_key(self) -> str:
        """Make the next host key on the machine, or show the one made before. Record it, then call `activate_host_key`."""
        return str(self.session.call("rotate_host_key", {"phase": "prepare"})["public_key"])

    def activate_host_key(self, public_key: str) -> None:
        """Let sshd show this key from the next connection on; this connection stays. Done before: nothing happens."""
        self.session.call("rotate_host_key", {"phase": "activate", "public_key": public_key})

    def get_state(self, full: bool = False) -> MachineState:
        """What the machine is and does: the one round trip that an unchanged machine costs."""
        return _state(self.session.call("get_state", {"full": full}))

    def shutdown(self) -> None:
        """Power off, a moment after answering."""
        self.session.call("shutdown")

    def update_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep `trusted_certs` (PEM texts, put into the system's store), `disk_associations` ([{name, cid}]) and `tags`; others stay."""
        self.session.call("update_settings", {"settings": dict(settings)}, timeout=120.0)

    # Blobs and files

    def missing_blobs(self, digests: Sequence[str]) -> tuple[str, ...]:
        """Those of the `sha256:` digests (or bare hex) whose blobs are not on the machine, in the given order and form."""
        return tuple(self.session.call("missing_blobs", {"digests": list(digests)}))

    def put_blob(self, source: Path | bytes, digest: str) -> None:
        """Copy a blob to the machine; the machine verifies the digest. Raises AgentError when it is wrong or the disk is full."""
        self.store_file(source, f"{BLOBS}/{bare(digest)}", digest=digest, mode=0o600)

    def fetch_blob(self, url: str, digest: str, *, ca: str, timeout: float = 1800.0, cancel: Cancel | None = None) -> None:
        """Let the machine fetch a blob itself (3 tries, 5 s apart) from an https URL whose certificate `ca` (PEM) signed, and verify it.

        Raises NotFetched when the URL gives nothing. The URL is a secret: it is logged nowhere.
        """
        self.session.call("fetch_blob", {"url": url, "digest": digest, "ca": ca}, timeout=timeout, cancel=cancel)

    def store_file(self, source: Path | bytes, target: str, *, digest: str = "", mode: int = 0o644) -> None:
        """Copy a file to `target`, whole or not at all: to a temporary place, verified there, moved. A small one goes with the request."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size <= SMALL_BYTES:
            content = source if isinstance(source, bytes) else source.read_bytes()
            wanted = bare(digest) if digest else hashlib.sha256(content).hexdigest()
            small = {"data": base64.b64encode(content).decode(), "target": target, "digest": wanted, "mode": mode}
            self.session.call("write_file", small, timeout=60.0)
            return
        upload = f"{UPLOADS}/upload-{secrets.token_hex(8)}"
        actual = self.session.put_file(source, upload)
        wanted = bare(digest) if digest else actual
        arguments = {"upload": upload, "target": target, "digest": wanted, "mode": mode, "size": size}
        self.session.call("store_file", arguments, timeout=300.0)

    def get_file(self, path: str, target: Path, digest: str = "") -> None:
        """Copy a file from the machine, verified when a digest is given."""
        actual = self.session.get_file(path, target)
        if digest and actual != bare(digest):
            target.unlink(missing_ok=True)
            raise AgentError(f"Payload corrupted. Checksum mismatch: {path} has sha256:{actual}, wanted {digest}")

    def remove_file(self, path: str) -> None:
        """Remove a file that an action left for fetching. Gone before is success."""
        self.session.call("remove_file", {"path": path})

    # Jobs

    def prepare(self, spec: Mapping[str, Any], *, timeout: float = 900.0, cancel: Cancel | None = None) -> None:
        """Unpack what the spec needs without enabling it. Its blobs must be on the machine (`blobs_of(spec)`)."""
        self.session.call("prepare", {"spec": dict(spec)}, timeout=timeout, cancel=cancel)

    def apply(self, spec: Mapping[str, Any], *, timeout: float = 900.0, cancel: Cancel | None = None) -> None:
        """Install the spec's jobs and packages, remove others, and store it. Without `configuration_hash` it is only stored.

        Spec: releases contract, section 15, with `packages` NAME -> {name, version, sha1: "sha256:..."} and
        `rendered_templates_archive` {sha256: hex} (a tgz with a folder per job, in it its files and `monit`); the jobs
        are `job.templates`, in order.
        """
        self.session.call("apply", {"spec": dict(spec)}, timeout=timeout, cancel=cancel)

    def start(self, *, timeout: float = 300.0) -> None:
        """Let monit supervise and start the spec's processes; does not wait until they run (`get_state`)."""
        self.session.call("start", timeout=timeout)

    def stop(self, *, timeout: float = STOP_SECONDS) -> None:
        """Stop all processes and wait. Raises AgentError `Timed out waiting for services 'a, b' to stop after 5 minutes`."""
        self.session.call("stop", {"seconds": timeout}, timeout=timeout + 15.0)

    def run_script(
        self, name: str, env: Mapping[str, str] | None = None, *, timeout: float | None = None, cancel: Cancel | None = None,
    ) -> None:
        """Run `bin/NAME` of all jobs that have it, in parallel. Raises ScriptFailed `1 of 2 NAME scripts failed. Failed Jobs: a. ...`."""
        self.session.call("run_script", {"name": name, "env": dict(env or {})}, timeout=timeout or NEVER, cancel=cancel)

    def drain(
        self, kind: str, spec: Mapping[str, Any] | None = None, *, timeout: float | None = None, cancel: Cancel | None = None,
    ) -> None:
        """Run drain scripts, waits included. `kind` is `update` (then `spec` is the new one) or `shutdown`.

        Processes are unmonitored first, so that monit restarts none.
        """
        arguments: Tree = {"type": kind} if spec is None else {"type": kind, "spec": dict(spec)}
        self.session.call("drain", arguments, timeout=timeout or NEVER, cancel=cancel)

    def run_errand(
        self, job: str, *, timeout: float | None = None, on_output: OnOutput | None = None, cancel: Cancel | None = None,
    ) -> ErrandResult:
        """Run `bin/run` of the job. `on_output` is told ("stdout" or "stderr", text) as it is written. Any exit code is a result."""

        def progress(message: Tree) -> None:
            if on_output is not None and "text" in message:
                on_output(str(message["stream"]), str(message["text"]))

        arguments = {"job": job, "stream": on_output is not None}
        result = self.session.call("run_errand", arguments, timeout=timeout or NEVER, on_progress=progress, cancel=cancel)
        return ErrandResult(int(result["exit_code"]), str(result["stdout"]), str(result["stderr"]))

    def compile_package(
        self, name: str, version: str, source_digest: str, dependencies: Sequence[Dependency] = (), *,
        timeout: float = 7200.0, on_output: OnOutput | None = None, cancel: Cancel | None = None,
    ) -> CompiledBlob:
        """Compile a package whose source blob and direct dependencies' blobs are on the machine.

        Raises ScriptFailed with the last 10 KB of the script's output; after `timeout` seconds the script is killed.
        """

        def progress(message: Tree) -> None:
            if on_output is not None and "text" in message:
                on_output(str(message["stream"]), str(message["text"]))

        arguments = {
            "name": name, "version": version, "digest": source_digest, "seconds": timeout, "stream": on_output is not None,
            "dependencies": [dataclasses.asdict(item) for item in dependencies],
        }
        result = self.session.call("compile_package", arguments, timeout=timeout + 60.0, on_progress=progress, cancel=cancel)
        return CompiledBlob(result["path"], result["digest"], int(result["size"]))

    # Disks

    def list_disk(self) -> tuple[str, ...]:
        """CIDs of mounted persistent disks."""
        return tuple(self.session.call("list_disk"))

    def mount_disk(
        self, cid: str, hint: Mapping[str, Any] | str, *, fs: str = "", options: Sequence[str] = (), timeout: float = 600.0,
    ) -> None:
        """Find, partition, format (when blank, never otherwise), grow and mount an attached disk at /var/vcap/store,
        or at /var/vcap/store_migration_target when another is mounted there; remounted after a reboot.

        `hint` is a device path, or {path, lun, id} (`cpis.contract.DiskHint`); `fs` is ext4 (default) or xfs.
        """
        arguments = {"cid": cid, "hint": hint if isinstance(hint, str) else dict(hint), "fs": fs, "options": list(options)}
        self.session.call("mount_disk", arguments, timeout=timeout)

    def unmount_disk(self, cid: str, *, timeout: float = 300.0) -> str:
        """Answers `Unmounted partition of ...` or `Partition of ... is not mounted`; it is not mounted at boot any more."""
        return str(self.session.call("unmount_disk", {"cid": cid}, timeout=timeout)["message"])

    def migrate_disk(self, cid: str = "", *, timeout: float = 6 * 3600.0, cancel: Cancel | None = None) -> None:
        """Copy /var/vcap/store to the disk at /var/vcap/store_migration_target, and mount that in its place.

        With the new disk's `cid`, one that is at /var/vcap/store already is success.
        """
        self.session.call("migrate_disk", {"cid": cid}, timeout=timeout, cancel=cancel)

    def resize_disk(self, cid: str, *, timeout: float = 600.0) -> None:
        """Grow partition and file system to the disk's size; nothing to grow is success."""
        self.session.call("resize_disk", {"cid": cid}, timeout=timeout)

    def remove_persistent_disk(self, cid: str) -> None:
        """Forget the disk's hint, before it is detached."""
        self.session.call("remove_persistent_disk", {"cid": cid})

    # Names, logs, people

    def sync_names(
        self, version: int, digest: str, word: str, ring: Mapping[str, Any], *, records: str | None = None, base: int = 0,
        delta: Mapping[str, Any] | None = None, use_seconds: float = 0.0,
    ) -> NamesState:
        """Give the machine a version of the DNS records: whole, or what changed since the version `base`. `digest` (hex SHA-256) is that
        of the whole document; `word` is the director's code for it, `ring` are keys (`execute.dns_keys`). With `use_seconds` it is waited
        that long for the resolver to use them. Not synced: the whole is wanted."""
        arguments: Tree = {"version": version, "digest": digest, "word": word, "ring": dict(ring), "use_seconds": use_seconds}
        arguments |= {"records": records} if records is not None else {"base": base, "delta": dict(delta or {})}
        answer = self.session.call("sync_names", arguments, timeout=60.0 + use_seconds)
        return NamesState(int(answer["version"]), answer["result"] == "synced", answer["in_use"])

    def explain_name(self, name: str, kind: str = "A") -> Tree:
        """{explanation, status}: why the machine's resolver answers as it does. Raises AgentError when none runs there."""
        return dict(self.session.call("explain_name", {"name": name, "type": kind}))

    def sync_dns(self, records: bytes, version: int) -> None:
        """Give the machine the DNS records (records.json). A machine that has this version or a later one does nothing."""
        self.session.call("sync_dns", {"records": records.decode(), "version": version}, timeout=60.0)

    def fetch_logs(self, types: Sequence[str] = ("job",), filters: Sequence[str] = (), *, timeout: float = 900.0) -> LogBundle:
        """Pack logs. Types are job, agent, system; filters are globs below each root, default all."""
        result = self.session.call("fetch_logs", {"types": ",".join(types), "filters": list(filters)}, timeout=timeout)
        return LogBundle(result["path"], result["digest"], int(result["size"]))

    def tail_logs(self, jobs: Sequence[str] = (), lines: int = 10) -> dict[str, str]:
        """The last lines of the jobs' (default: all jobs') newest logs that are not empty, file -> text, for error messages."""
        return dict(self.session.call("tail_logs", {"jobs": list(jobs), "lines": lines}))

    def ssh_setup(self, user: str, public_key: str) -> SshAccess:
        """Make a login user `bosh_...` with sudo. Raises AgentError for other names."""
        result = self.session.call("ssh", {"command": "setup", "user": user, "public_key": public_key})
        return SshAccess(user, result["ip"], result["host_public_key"])

    def ssh_cleanup(self, user_regex: str) -> None:
        """Remove the users that start with `bosh_` and match."""
        self.session.call("ssh", {"command": "cleanup", "user_regex": user_regex})


NEVER = 10 * 365 * 86400.0


def bare(digest: str) -> str:
    """The hex part of a `sha256:` digest; bare hex stays. Of several joined by `;` the sha256."""
    parts = [part.strip() for part in digest.split(";")]
    return next((part[len("sha256:"):] for part in parts if part.startswith("sha256:")), parts[0])


def blobs_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Digests (bare hex) of the blobs that `prepare` and `apply` of the spec need, archive of rendered templates first."""
    archive = spec.get("rendered_templates_archive") or {}
    digests = [bare(str(archive.get("sha256") or archive.get("sha1") or ""))]
    digests += [bare(str(package["sha1"])) for package in (spec.get("packages") or {}).values()]
    return tuple(dict.fromkeys(digest for digest in digests if digest))


def settings_digest(settings: Mapping[str, Any]) -> str:
    """What `MachineState.bootstrapped` is after `bootstrap(settings)`."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def sha256_of(source: bytes) -> str:
    """`sha256:` hex of bytes."""
    return "sha256:" + hashlib.sha256(source).hexdigest()


def _state(raw: Tree) -> MachineState:
    processes = tuple(
        Process(
            name=str(item["name"]), state=str(item["state"]), uptime_seconds=int(item.get("uptime", {}).get("secs", 0)),
            memory_kib=int(item.get("mem", {}).get("kb", 0)), memory_percent=float(item.get("mem", {}).get("percent", 0.0)),
            cpu_percent=float(item.get("cpu", {}).get("total", 0.0)),
        )
        for item in raw.get("processes", [])
    )
    return MachineState(
        agent_id=raw.get("agent_id", ""), job_state=raw["job_state"], processes=processes, spec=raw.get("spec") or {},
        configuration_hash=raw.get("configuration_hash", ""), disks=tuple(raw.get("disks", [])), boot_id=raw.get("boot_id", ""),
        agent_digest=raw.get("agent_digest", ""), hostname=raw.get("hostname", ""), bootstrapped=raw.get("bootstrapped", ""),
        dns_version=int(raw.get("dns_version", 0)), vitals=raw.get("vitals") or {}, raw=raw,
    )
