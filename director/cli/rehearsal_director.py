"""The director of one rehearsal: its own folder, spoken to by the command line as an operator does."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from director.errors import TaskError
from director.manifest.dump import dump

_COMMAND_SECONDS = 3600.0
_TASK_LINE = re.compile(r"Task \d+ \| [\d:]+ \| (?P<event>(?!L ).+)")
"""An event of a task, but for the steps within an instance's update."""
_INSTANCE = re.compile(r"/[0-9a-f-]{36} \((\d+)\)")
_FINGERPRINT = re.compile(r"/[0-9a-f]{64}")


class RehearsalDirector:
    """Commands of it see no environment of another director."""

    def __init__(self, state: Path) -> None:
        self.state = state
        state.mkdir(parents=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BOSH_")}
        self._environ = {
            **kept, "CAISSON_STATE": str(state), "BOSH_CONFIG": str(state / "cli.yml"), "BOSH_ENVIRONMENT": "rehearsal",
            "BOSH_NON_INTERACTIVE": "true",
        }

    def start(self) -> None:
        self.run("director", "start", "--port", str(_free_port()), "--alias", "rehearsal")

    def run(
        self, *arguments: str, check: bool = True, tell: Callable[[str], None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command; what its task does is told as it happens. Raises TaskError with the end of what it printed."""
        command = [sys.executable, "-m", "director.cli.main", *arguments]
        said: list[str] = []
        late = threading.Event()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environ,
        ) as process:
            def stop() -> None:
                late.set()
                process.kill()

            limit = threading.Timer(_COMMAND_SECONDS, stop)
            limit.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    said.append(line)
                    found = _TASK_LINE.match(line) if tell else None
                    if found and tell:
                        tell(_FINGERPRINT.sub("", _INSTANCE.sub(r"/\1", found["event"].rstrip())))
            except BaseException:
                process.kill()
                raise
            finally:
                limit.cancel()
        output = "".join(said)
        if late.is_set():
            raise TaskError(f"{_name(arguments)} took longer than {_COMMAND_SECONDS:.0f} s: {last_lines(output)}")
        if check and process.returncode != 0:
            raise TaskError(f"{_name(arguments)} ended with {process.returncode}: {last_lines(output)}")
        return subprocess.CompletedProcess(command, process.returncode, output)

    def given(self, verb: str, tree: Mapping[str, Any]) -> None:
        """Run a command on a file with this content."""
        file = self.state / f"{verb}.yml"
        file.touch(mode=0o600)
        file.write_text(dump(dict(tree)))
        self.run(verb, str(file))

    def rows(self, *arguments: str) -> list[dict[str, str]]:
        """The rows of the first table that a command prints. Raises TaskError."""
        command = [sys.executable, "-m", "director.cli.main", "--json", *arguments]
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self._environ, timeout=_COMMAND_SECONDS, check=False)
        if ended.returncode != 0:
            raise TaskError(f"{_name(arguments)} ended with {ended.returncode}: {last_lines(ended.stdout + ended.stderr)}")
        tables = json.loads(ended.stdout)["Tables"]
        return list(tables[0]["Rows"]) if tables else []


def _name(arguments: Sequence[str]) -> str:
    return f"`caisson {' '.join(arguments[:4])}`"


def last_lines(output: str) -> str:
    """The end of what a command printed, on one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " | ".join(lines[-6:])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
