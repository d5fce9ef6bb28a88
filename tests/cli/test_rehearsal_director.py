"""Commands of a rehearsal's director: what is told of them while they run, and how they end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from director.cli import rehearsal_director, rehearsing
from director.cli.rehearsal_director import RehearsalDirector
from director.errors import TaskError

UUID = "3167d68a-dbad-415a-a740-520bcd64413e"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], RehearsalDirector]:
    """A director whose command line is this shell script."""
    def made(script: str) -> RehearsalDirector:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(program))
        return RehearsalDirector(tmp_path / "state")

    return made


def test_events_are_told_short(command: Callable[[str], RehearsalDirector]) -> None:
    director = command(f"""echo "Using deployment 'app'"
echo "Task 7 | 10:00:00 | Compiling packages: nats/{'0a' * 32}"
echo "Task 7 | 10:00:01 | L executing pre-start: nats/{UUID} (2)"
echo "Task 7 | 10:00:02 | Updating instance nats: nats/{UUID} (2) (canary) (00:00:09)"
echo Succeeded >&2""")
    told: list[str] = []
    ended = director.run("deploy", tell=told.append)
    assert told == ["Compiling packages: nats", "Updating instance nats: nats/2 (canary) (00:00:09)"]
    assert ended.stdout.splitlines()[-1] == "Succeeded"


def test_a_command_that_fails_says_how(command: Callable[[str], RehearsalDirector]) -> None:
    director = command("echo first; echo second >&2; exit 3")
    with pytest.raises(TaskError, match=r"`caisson -d app deploy` ended with 3: first \| second"):
        director.run("-d", "app", "deploy")
    assert director.run("-d", "app", "deploy", check=False).returncode == 3


def test_a_command_that_does_not_end_is_ended(command: Callable[[str], RehearsalDirector], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal_director, "_COMMAND_SECONDS", 0.2)
    director = command("echo begun; exec sleep 60")
    with pytest.raises(TaskError, match=r"took longer than 0 s: begun"):
        director.run("deploy")


def test_a_request_to_end_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), rehearsing.ending_in_order():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
