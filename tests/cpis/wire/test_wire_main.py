"""The executables as a director starts them: where the configuration comes from, what is on which stream, who waits for whom."""

from __future__ import annotations

import configparser
import importlib
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cpis import registry
from cpis.wire import main

ROOT = Path(__file__).parents[3]
INFO = {"method": "info", "arguments": [], "context": {"director_uuid": "d"}}


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: Any, *arguments: str) -> tuple[dict[str, Any], str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(request if isinstance(request, str) else json.dumps(request)))
    assert main.main("fake", arguments) == 0
    told = capsys.readouterr()
    answer: dict[str, Any] = json.loads(told.out)
    return answer, told.err


def test_every_cloud_has_an_executable() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = dict(line.split(" = ") for line in parser["options.entry_points"]["console_scripts"].strip().splitlines())
    for cloud in registry.TABLE.keys() - {"process", "played"}:
        module, _, function = lines[f"caisson-cpi-{cloud}"].partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    assert set(main.__dict__) >= {name.removeprefix("caisson-cpi-") for name in lines if name.startswith("caisson-cpi-")}


@pytest.mark.parametrize(
    "form", [["--config", "FILE"], ["-c", "FILE"], ["-configFile", "FILE"], ["-configFile=FILE"], ["--config=FILE"], ["FILE"]])
def test_the_configuration_file_is_given_as_boshs_cpis_take_it(
    form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "cpi.json"
    file.write_text(json.dumps({"cloud": {"properties": {"fake": {"limits": {"disks": 0}}}}}))
    request = {**INFO, "method": "create_disk", "arguments": [1, {}]}
    answer, log = run(monkeypatch, capsys, request, *(word.replace("FILE", str(file)) for word in form))
    assert answer["error"]["type"] == "Bosh::Clouds::NoDiskSpace"
    assert log == answer["log"] != ""


@pytest.mark.parametrize(("arguments", "words"), [
    (["--config"], "unknown arguments: --config"), (["--what", "x"], "unknown arguments"), (["/nowhere.json"], "cannot be read"),
])
def test_a_wrong_start_is_answered_in_form(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    answer, _ = run(monkeypatch, capsys, INFO, *arguments)
    assert answer["error"]["type"] == "Bosh::Clouds::CpiError"
    assert words in answer["error"]["message"]
    assert answer["result"] is None


def test_without_configuration_there_is_what_the_context_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer, _ = run(monkeypatch, capsys, INFO)
    assert answer["result"]["api_version"] == 3
    answer, log = run(monkeypatch, capsys, "nonsense")
    assert (answer["error"]["type"], log) == ("InvalidCall", "")


def test_help_tells_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main("aws", ["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: caisson-cpi-aws [--config FILE]")


@pytest.mark.walk
def test_processes_on_one_pretended_cloud_wait_for_each_other(tmp_path: Path) -> None:
    context = {"director_uuid": "d", "state_file": str(tmp_path / "cloud.json")}

    def create(number: int) -> str:
        request = {"method": "create_disk", "arguments": [number + 1, {}], "context": context}
        ended = subprocess.run(
            [sys.executable, "-m", "cpis.wire", "fake"], input=json.dumps(request), capture_output=True, text=True, check=True, cwd=ROOT)
        return str(json.loads(ended.stdout)["result"])

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(create, range(8)))
    assert sorted(made) == [f"disk-{number:06d}" for number in range(1, 9)]


def test_a_cloud_that_is_none_is_named() -> None:
    ended = subprocess.run([sys.executable, "-m", "cpis.wire", "clod"], input="", capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 1
    assert "fake" in ended.stderr
