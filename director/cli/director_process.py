"""The director as a process of this computer: start it in the background, find it, stop it.

A running director holds a lock on its pid file; a pid file that nobody holds is of one that died and means nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator

from director.api.config import DirectorConfig
from director.errors import CaissonError, ConflictError

START_SECONDS = 60.0
STOP_SECONDS = 60.0
LOG_LINES = 15
LOG_LIMIT = 32 << 20


@dataclasses.dataclass(frozen=True)
class Running:
    """`memory_kib` is the process's resident memory, `host` and `port` where it listens."""

    pid: int
    host: str
    port: int
    memory_kib: int


@contextlib.contextmanager
def holding(config: DirectorConfig) -> Iterator[None]:
    """Be the director of this state directory. Raises ConflictError when another process is."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with config.pid_file.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"A director runs in '{config.state}' already",
                suggestion="See 'caisson director status'; another needs another --state and --port.",
            ) from None
        stream.truncate(0)
        stream.write(f"{os.getpid()} {config.host} {config.port}\n")
        stream.flush()
        yield
        stream.truncate(0)


def find(config: DirectorConfig) -> Running | None:
    """The running director, None when there is none."""
    try:
        with config.pid_file.open("r+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                words = stream.read().split()
                if len(words) != 3:
                    return None
                return Running(int(words[0]), words[1], int(words[2]), _memory(int(words[0])))
    except FileNotFoundError:
        return None
    return None


def run(config: DirectorConfig) -> None:
    """Be the director, in this process, until a signal ends it."""
    from director import service

    os.chdir("/")
    with holding(config):
        service.run(config)


def start(config: DirectorConfig, ready: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> Running:
    """Start one in the background and wait until `ready`.

    Raises ConflictError when there is one, CaissonError with its last words when it ends.
    """
    if find(config) is not None:
        raise ConflictError(f"A director runs in '{config.state}' already", suggestion="'caisson director status' shows it.")
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    _rotate(config.log_file)
    pid = _spawn(config)
    waited = 0.0
    while waited < START_SECONDS:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            raise CaissonError(f"The director ended at once (exit code {code})", suggestion=f"Its last lines:\n{last_lines(config)}")
        found = find(config)
        if found is not None and ready():
            return found
        sleep(0.1)
        waited += 0.1
    raise CaissonError(f"The director did not answer within {START_SECONDS:.0f} s", suggestion=f"Its last lines:\n{last_lines(config)}")


def stop(config: DirectorConfig, sleep: Callable[[float], None] = time.sleep) -> bool:
    """End it and wait for it; whether there was one. Tasks under way go on when it is started again."""
    found = find(config)
    if found is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    waited = 0.0
    while waited < STOP_SECONDS:
        if find(config) is None and not _alive(found.pid):
            return True
        sleep(0.1)
        waited += 0.1
    raise CaissonError(
        f"The director (process {found.pid}) did not end within {STOP_SECONDS:.0f} s",
        suggestion=f"Its log: {config.log_file}. As a last resort: kill -9 {found.pid}",
    )


def last_lines(config: DirectorConfig) -> str:
    """What it wrote last."""
    try:
        with config.log_file.open("rb") as stream:
            stream.seek(max(0, config.log_file.stat().st_size - 16384))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-LOG_LINES:])


def _spawn(config: DirectorConfig) -> int:
    """A process in a session of its own that writes to the log; its id. It is to outlive us, so nobody waits for its end."""
    command = _command(config)
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(config.log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, dict(os.environ), file_actions=streams, setsid=True)


def _command(config: DirectorConfig) -> list[str]:
    settings = ["--state", str(config.state), "--host", config.host, "--port", str(config.port), "--name", config.name]
    settings += ["--workers", str(config.workers), "--cpi", config.cpi]
    settings += ["--names-wait", f"{config.names_wait:g}"]
    settings += ["--blobs-url", config.blobs_url] if config.blobs_url else []
    return [sys.executable, "-m", "director.cli.main", "director", "run", *settings]


def _rotate(log: pathlib.Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.rename(log.with_suffix(".log.1"))


def _alive(pid: int) -> bool:
    """Whether the process is there and has not ended (a zombie has)."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _memory(pid: int) -> int:
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")), 0)
