from __future__ import annotations

import os
import pathlib
import sys

import pytest
from cli_world import Cli

from director.api.config import DirectorConfig, state_folder
from director.cli import director_process
from director.errors import CaissonError, ConflictError

SLEEPER = """
import pathlib, signal, sys, threading
from director.api.config import DirectorConfig
from director.cli import director_process
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
with director_process.holding(DirectorConfig(pathlib.Path(sys.argv[1]), port=25123)):
    print("running", flush=True)
    stop.wait(30)
"""


@pytest.fixture
def config(tmp_path: pathlib.Path) -> DirectorConfig:
    return DirectorConfig(tmp_path / "state", port=25123)


def test_one_director_per_state(config: DirectorConfig) -> None:
    assert director_process.find(config) is None
    with director_process.holding(config), pytest.raises(ConflictError, match="runs in"), director_process.holding(config):
        pass
    assert director_process.find(config) is None


def test_start_find_stop(config: DirectorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(__file__).parents[2]))
    monkeypatch.setattr(director_process, "_command", lambda config: [sys.executable, "-c", SLEEPER, str(config.state)])
    found = director_process.start(config, lambda: True)
    assert (found.host, found.port) == ("127.0.0.1", 25123)
    assert found.memory_kib > 1000
    with pytest.raises(ConflictError):
        director_process.start(config, lambda: True)
    assert "running" in director_process.last_lines(config)
    assert director_process.stop(config) is True
    assert director_process.stop(config) is False
    os.waitpid(found.pid, 0)


def test_a_director_that_dies_at_once_shows_its_last_words(config: DirectorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(director_process, "_command", lambda _config: [sys.executable, "-c", "raise SystemExit('no such cloud')"])
    with pytest.raises(CaissonError, match="no such cloud"):
        director_process.start(config, lambda: True)
    assert director_process.find(config) is None


def test_a_pid_file_of_a_dead_one_means_nothing(config: DirectorConfig) -> None:
    config.state.mkdir()
    config.pid_file.write_text("1 127.0.0.1 25555\n")
    assert director_process.find(config) is None


def test_state_folder(tmp_path: pathlib.Path) -> None:
    assert state_folder({"CAISSON_STATE": "/a"}) == pathlib.Path("/a")
    assert state_folder({"CAISSON_STATE": "/a"}, "/b") == pathlib.Path("/b")


def test_status_and_stop_of_none(offline: Cli) -> None:
    state = str(offline.folder / "none")
    assert "No director runs" in offline("director", "status", "--state", state).err
    offline.terminal = True
    assert "No director runs" in offline.ok("director", "stop", "--state", state).out


def test_the_director_is_told_where_machines_reach_it(tmp_path: pathlib.Path) -> None:
    given = DirectorConfig(tmp_path, host="0.0.0.0", blobs_url="https://10.0.0.6:25555")
    command = director_process._command(given)
    assert command[command.index("--blobs-url") + 1] == "https://10.0.0.6:25555"
    assert "--blobs-url" not in director_process._command(DirectorConfig(tmp_path))


def test_a_url_for_machines_that_is_none(offline: Cli) -> None:
    failed = offline("director", "start", "--state", str(offline.folder / "new"), "--blobs-url", "http://10.0.0.6:25555")
    assert failed.code == 1
    assert "must be https://HOST" in failed.err
    assert not (offline.folder / "new").exists()
