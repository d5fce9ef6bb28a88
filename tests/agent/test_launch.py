"""Start programs, begun as monit begins them: those that stay, those that leave a daemon behind, those that fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from director.guest.agent import launch

SNIPPET = """
# the start of it all
check process web
  with pidfile /var/vcap/sys/run/web/web.pid
  start program "/var/vcap/jobs/web/bin/ctl start" with timeout 60 seconds
  stop program "/var/vcap/jobs/web/bin/ctl stop"
  if failed port 80 for 3 cycles then restart
  group vcap
CHECK PROCESS worker PIDFILE /run/worker.pid START PROGRAM = '/bin/sh -c "worker start"' GROUP vcap
check file config with path /etc/config
  start program "/bin/true"
check process other matching "other"
  start program "/bin/other"
  group vcap
"""


def test_start_programs_of_processes_with_a_pid_file() -> None:
    made = launch.launched(SNIPPET, "/L")
    changed = [(old, new) for old, new in zip(SNIPPET.splitlines(), made.splitlines(), strict=True) if old != new]
    assert [new.strip() for _, new in changed] == [
        'start program "/L /var/vcap/sys/run/web/web.pid /var/vcap/jobs/web/bin/ctl start" with timeout 60 seconds',
        """CHECK PROCESS worker PIDFILE /run/worker.pid START PROGRAM = '/L /run/worker.pid /bin/sh -c "worker start"' GROUP vcap""",
    ]


class Started:
    """A start program and its pid file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid_file = folder / "pid"
        self.launcher = folder / "launcher"
        self.launcher.write_text(launch.LAUNCHER)

    def run(self, program: str) -> subprocess.CompletedProcess[str]:
        path = self.folder / "ctl"
        path.write_text(f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
        return subprocess.run(
            ["sh", str(self.launcher), str(self.pid_file), str(path), "start"], capture_output=True, text=True, timeout=10, check=False,
            env={**os.environ, "PID": str(self.pid_file), "TMPDIR": str(self.folder)})

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def left(self) -> list[str]:
        return sorted({path.name for path in self.folder.iterdir()} - {"ctl", "launcher", "pid", "done"})


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path)
    yield made
    if made.pid_file.exists():
        os.kill(made.pid, signal.SIGKILL)


def test_a_program_that_becomes_the_daemon(started: Started) -> None:
    assert started.run('echo $$ >$PID; exec sleep 60').returncode == 0
    assert Path(f"/proc/{started.pid}/comm").read_text().strip() == "sleep"
    assert started.left() == []


def test_a_program_that_leaves_a_daemon_behind(started: Started) -> None:
    assert started.run('sleep 60 & echo $! >$PID').returncode == 0
    assert Path(f"/proc/{started.pid}").exists()


def test_a_daemon_that_goes_on_talking_lives(started: Started) -> None:
    program = f"echo $$ >$PID; head -c 200000 /dev/zero; touch {started.folder}/done; exec sleep 60"
    assert started.run(program).returncode == 0
    for _ in range(200):
        if (started.folder / "done").exists():
            break
        subprocess.run(["sleep", "0.02"], check=True)
    assert (started.folder / "done").exists()
    assert Path(f"/proc/{started.pid}").exists()


def test_a_program_that_fails_is_heard(started: Started) -> None:
    done = started.run("echo no such port >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "no such port\n")
    assert started.left() == []


def test_the_pid_file_of_an_earlier_daemon_means_nothing(started: Started) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        started.pid_file.write_text(str(other.pid))
        done = started.run("sleep 0.2; exit 4")
        other.kill()
    started.pid_file.unlink()
    assert done.returncode == 4


def test_a_program_that_ends_well_without_a_pid_file(started: Started) -> None:
    assert started.run("exit 0").returncode == 0
