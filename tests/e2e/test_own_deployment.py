"""The README's "Your own deployment": its commands, run as they stand, and what it says that they print."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from harness import ROOT, Director, traces

from cpis.local.names import Names

PORT, RANGE = 25913, "10.91.33."  # instead of the README's, whose reader may be trying it right now
MARK = "<<<ended"
CHANGING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"[0-9a-f]{64}"), "FINGERPRINT"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"\s+"), " "),
)


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a console block, and lines that are shown below it; `...` stands for lines that are left out."""

    line: str
    shown: tuple[str, ...]


def commands(text: str) -> list[Command]:
    """Of all console blocks of the section, in order."""
    section = text.split("\n## Your own deployment\n")[1].split("\n## ")[0]
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *shown = part.splitlines()
            found.append(Command(line, tuple(shown)))
    return found


def normal(line: str) -> str:
    for pattern, word in CHANGING:
        line = pattern.sub(word, line)
    return line.strip()


class Shell:
    """One shell for all commands, so that `cd` and `export` hold for the next ones."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=dict(environment))

    def run(self, line: str) -> tuple[int, list[str]]:
        """Exit code and lines printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\necho; echo '{MARK}' $?\n")
        self._process.stdin.flush()
        lines = []
        for got in self._process.stdout:
            if got.startswith(MARK):
                return int(got.split()[-1]), lines
            lines.append(got.rstrip("\n"))
        raise AssertionError(f"the shell ended with '{line}':\n" + "\n".join(lines))

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(timeout=30)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    if (tmp_path / "greeter" / "state").exists():
        Director(tmp_path / "greeter" / "state", PORT).clean()


@pytest.mark.e2e
def test_what_the_readme_says_is_what_happens(home: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8").replace("25910", str(PORT)).replace("10.91.1.", RANGE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BOSH_", "CAISSON_"))}
    environment.update(HOME=str(home), BOSH_TTY="true", PATH=f"{Path(sys.executable).parent}:{environment['PATH']}")
    mark = Names(home / "greeter" / "state" / "local").mark
    shell = Shell(environment)
    try:
        for command in commands(text):
            code, lines = shell.run(command.line)
            printed = "\n".join(lines)
            assert code == 0, f"$ {command.line}\n{printed}"
            there = {normal(line) for line in lines}
            missing = [line for line in command.shown if line != "..." and normal(line) not in there]
            assert not missing, f"$ {command.line}\n{printed}\n\nthe README shows besides: {missing}"
            if command.line.startswith("cp -r docs/examples/greeter"):
                config = home / "greeter" / "cloud-config.yml"
                config.write_text(config.read_text("utf-8").replace("10.91.1.", RANGE), "utf-8")
    finally:
        shell.close()
    assert not (home / "greeter").exists()
    assert traces([mark]) == []
