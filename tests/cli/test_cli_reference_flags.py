"""Names, aliases and flags are those of the reference command line, as measured in the corpus."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import click
import pytest

from director.cli import commands, main, verb

FLAGS = pathlib.Path(__file__).parents[2].parent / "shared/corpus/expected/cli-flags.json"
# Ways past the director, straight to an agent, and SOCKS proxies: not here.
OURS = {
    "director", "dns", "docs", "lint", "template", "plan", "why", "rotate", "rotations", "certificates", "variable", "set-variable",
    "portability", "conformance", "cloud", "orphans",
}
LEFT_OUT = {"director", "agent-endpoint", "agent-certificate", "gw-socks5"}


def reference() -> dict[str, Any]:
    if not FLAGS.exists():
        pytest.skip("the corpus of measured command line flags is not beside this checkout")
    found: dict[str, Any] = json.loads(FLAGS.read_text())
    return found


def names_of(params: list[click.Parameter]) -> set[str]:
    return {name for param in params if isinstance(param, click.Option) for name in (*param.opts, *param.secondary_opts)}


def test_global_flags() -> None:
    taken = names_of([*verb.global_options()]) | {"-v", "--version"}
    for flag in reference()[""]["flags"]:
        assert f"--{flag['long']}" in taken
        assert not flag["short"] or f"-{flag['short']}" in taken


@pytest.mark.parametrize("name", [entry.name for entry in commands.ENTRIES if entry.name not in OURS])
def test_commands(name: str) -> None:
    known = reference()[name]
    entry = commands.BY_NAME[name]
    assert list(entry.aliases) == known["aliases"]
    command = main.Commands().get_command(click.Context(click.Command("x")), name)
    assert isinstance(command, verb.Verb)
    taken = names_of(list(command.own))
    for flag in known["flags"]:
        if flag["long"] not in LEFT_OUT:
            assert f"--{flag['long']}" in taken
            assert not flag["short"] or f"-{flag['short']}" in taken
