"""Commands of the machine, and scripts in process groups of their own that end when the request is cancelled."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from .errors import ActionError, Cancelled

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
KILL_AFTER_SECONDS = 10.0
LOWER_PRIORITY = 5


class Result(NamedTuple):
    """A command's end. Killed by a signal: exit_code is 128 + signal."""

    exit_code: int
    stdout: str
    stderr: str


class Shell:
    """Runs the machine's own commands. Replaced in tests."""

    def run(
        self, argv: Sequence[str], check: bool = True, stdin: str = "", timeout: Optional[float] = 300.0,
        env: Optional[Mapping[str, str]] = None,
    ) -> Result:
        """Run a command to its end. Raises ActionError with its output when it fails (and `check`), is missing or takes too long."""
        try:
            done = subprocess.run(
                list(argv), input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False,
                env=dict({"PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}, **(env or {})), start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ActionError("The machine has no command '%s'" % argv[0]) from error
        except subprocess.TimeoutExpired as error:
            raise ActionError("'%s' did not end within %d seconds" % (" ".join(argv), timeout or 0)) from error
        result = Result(exit_code(done.returncode), done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
        if check and result.exit_code != 0:
            output = (result.stdout + result.stderr)[-10000:]
            raise ActionError("'%s' failed with exit code %d" % (" ".join(argv), result.exit_code), output)
        return result

    def has(self, command: str) -> bool:
        """Whether the machine has the command."""
        return shutil.which(command, path=PATH) is not None


def exit_code(returncode: int) -> int:
    """As a shell tells it: 128 + signal for a killed process."""
    return returncode if returncode >= 0 else 128 - returncode


class Script:
    """One script in its own process group. `run` waits for it, `TERM`s it when `cancelled` is set, and kills it 10 s later.

    Output goes to the given files (descriptors, opened by the caller) or, line-wise, to `on_output("stdout"|"stderr", bytes)`.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Optional[Path] = None) -> None:
        self._argv = list(argv)
        self._env: Dict[str, str] = dict({"PATH": PATH}, **env)
        self._cwd = str(cwd) if cwd else "/"

    def run(
        self, cancelled: threading.Event, stdout: Optional[IO[bytes]] = None, stderr: Optional[IO[bytes]] = None,
        on_output: Optional[Callable[[str, bytes], None]] = None, timeout: Optional[float] = None,
        kill_after: float = KILL_AFTER_SECONDS,
    ) -> int:
        """The exit code. Raises Cancelled, TimeoutError after `timeout` seconds, OSError when it cannot be run at all."""
        process = subprocess.Popen(
            self._argv, env=self._env, cwd=self._cwd, stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=stdout if on_output is None else subprocess.PIPE, stderr=stderr if on_output is None else subprocess.PIPE,
        )
        readers = self._readers(process, on_output)
        with contextlib.suppress(OSError):  # ended already, or not allowed: priority is a wish
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWER_PRIORITY)
        ended = threading.Event()
        waiter = threading.Thread(target=_wait, args=(process, ended), daemon=True)
        waiter.start()
        try:
            reason = _until(ended, cancelled, timeout)
        finally:
            if not ended.is_set():
                _end_group(process, ended, kill_after)
            for reader in readers:  # a daemon that the script left may hold the pipe open: do not wait for it
                reader.join(2.0)
        if reason == "cancelled":
            raise Cancelled()
        if reason == "timeout":
            raise TimeoutError("did not end within %d seconds" % (timeout or 0))
        return exit_code(process.returncode)

    def _readers(self, process: "subprocess.Popen[bytes]", on_output: Optional[Callable[[str, bytes], None]]) -> List[threading.Thread]:
        readers = []
        if on_output is not None:
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
                reader = threading.Thread(target=_forward, args=(name, stream, on_output), daemon=True)
                reader.start()
                readers.append(reader)
        return readers


def _forward(name: str, stream: IO[bytes], on_output: Callable[[str, bytes], None]) -> None:
    with stream:
        while True:
            data = os.read(stream.fileno(), 65536)
            if not data:
                return
            on_output(name, data)


def _wait(process: "subprocess.Popen[bytes]", ended: threading.Event) -> None:
    process.wait()
    ended.set()


def _until(ended: threading.Event, cancelled: threading.Event, timeout: Optional[float]) -> str:
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.005
    while not ended.wait(pause):
        if cancelled.is_set():
            return "cancelled"
        if deadline is not None and time.monotonic() > deadline:
            return "timeout"
        pause = min(pause * 2, 0.1)
    return "ended"


def _end_group(process: "subprocess.Popen[bytes]", ended: threading.Event, kill_after: float) -> None:
    for number, patience in ((signal.SIGTERM, kill_after), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if ended.wait(patience) and number == signal.SIGTERM:
            # The script itself is gone; what it started in its group goes at once.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return
