"""A director of its own for a test: started as a user would, spoken to by the command line, killed when a test says so."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CAISSON = str(Path(sys.executable).parent / "caisson")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err

    def rows(self) -> list[dict[str, str]]:
        """Rows of the first table of `--json` output."""
        tables = json.loads(self.out)["Tables"] or []
        return list(tables[0]["Rows"]) if tables else []

    @property
    def lines(self) -> list[str]:
        """Lines of `--json` output."""
        return list(json.loads(self.out).get("Lines") or [])


class Director:
    """`state` is its state directory; everything that it makes is found by that."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.port = port
        self.env = {
            **os.environ, "CAISSON_STATE": str(state), "BOSH_CONFIG": str(state / "cli.yml"), "BOSH_ENVIRONMENT": "test",
            "BOSH_NON_INTERACTIVE": "true", "HOME": str(state),
        }
        for name in ("BOSH_CLIENT", "BOSH_CLIENT_SECRET", "BOSH_CA_CERT", "BOSH_DEPLOYMENT"):
            self.env.pop(name, None)
        state.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        self.run("director", "start", "--port", str(self.port), "--alias", "test")

    def stop(self) -> None:
        self.run("director", "stop")

    def kill(self) -> None:
        """The hard way, as power would go: no handler runs."""
        os.kill(self.pid(), signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{self._last_pid}").exists(), 10, "the killed director is gone")

    def pid(self) -> int:
        self._last_pid = int((self.state / "director.pid").read_text().split()[0])
        return self._last_pid

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 600, stdin: str | None = None, env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> Outcome:
        done = subprocess.run(
            [CAISSON, *arguments], capture_output=True, text=True, timeout=timeout, input=stdin, env={**self.env, **(env or {})}, cwd=cwd,
            check=False,
        )
        outcome = Outcome(done.returncode, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise AssertionError(f"caisson {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return outcome

    def begin(self, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
        """Start a command and do not wait."""
        return subprocess.Popen(
            [CAISSON, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env, cwd=ROOT,
            # Tests may run where Ctrl-C is ignored, and what they start would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **popen,
        )

    def rows(self, *arguments: str) -> list[dict[str, str]]:
        return self.run("--json", *arguments).rows()

    def instances(self, deployment: str) -> list[dict[str, str]]:
        return self.rows("-d", deployment, "instances")

    def ssh(self, deployment: str, target: str, command: str) -> str:
        """Standard output of a command on an instance."""
        rows = self.rows("-d", deployment, "ssh", target, "-r", "-c", command)
        assert len(rows) == 1, rows
        assert rows[0]["exit_code"] == "0", rows
        return rows[0]["stdout"].strip()

    def clean(self) -> None:
        """Remove everything of this director from the computer."""
        self.run("director", "stop", check=False)
        subprocess.run([sys.executable, "-m", "cpis.local.clean", str(self.state / "local")], check=True, cwd=ROOT, timeout=300)


def wait_for(question: Callable[[], Any], seconds: float, what: str, every: float = 0.1) -> Any:
    """Ask until the answer is true; the answer. Fails with `what` when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(every)


def traces(marks: Sequence[str]) -> list[str]:
    """What is on this computer that names one of `marks`: processes, mounts, network devices, namespaces, loop devices."""
    found = []
    for command in (["ps", "-eo", "args"], ["cat", "/proc/mounts"], ["ip", "-o", "link"], ["ip", "netns"], ["losetup", "-a"]):
        listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found += [f"{command[0]}: {line}" for line in listing.splitlines() if any(mark in line for mark in marks) and "pytest" not in line]
    return found
