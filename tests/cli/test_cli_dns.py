"""`caisson dns serve` becomes the resolver that machines run, with the same flags."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest
from cli_world import Cli

from director.guest.dns import __main__ as resolver


class Became(Exception):
    """What the process was replaced by."""


@pytest.fixture(autouse=True)
def becoming(monkeypatch: pytest.MonkeyPatch) -> None:
    def become(program: str, arguments: list[str]) -> None:
        raise Became(program, *arguments)

    monkeypatch.setattr(os, "execv", become)


def test_flags_reach_the_resolver(offline: Cli, tmp_path: pathlib.Path) -> None:
    records = tmp_path / "records.json"
    records.write_text("{}")
    flags = [
        "--listen", "127.0.0.1:5300", "--listen", "[::1]:5300", "--recursor", "10.0.0.2", "--alias", "a.b=1.2.3.4", "--allow", "10.0.0.0/8",
        "--cache", "--processes", "2", "--metrics", "127.0.0.1:9999", "--control", "/run/x.sock", "--log-queries", "--no-recursors",
    ]
    with pytest.raises(Became) as caught:
        offline("dns", "serve", "--records", str(records), *flags)
    program, first, *words = caught.value.args
    assert (program, first, words[:3]) == (sys.executable, sys.executable, ["-m", "director.guest.dns", "serve"])
    given = resolver._settings(resolver._arguments().parse_args(words[2:]))
    assert given.listen == (("127.0.0.1", 5300), ("::1", 5300))
    assert (given.records, given.aliases, given.access) == (str(records), {"a.b": ["1.2.3.4"]}, ("own", "10.0.0.0/8"))
    assert (given.cache, given.processes, given.metrics, given.control) == (True, 2, ("127.0.0.1", 9999), "/run/x.sock")
    assert given.disable_recursors


def test_without_an_address_it_is_one_that_needs_no_root(offline: Cli, tmp_path: pathlib.Path) -> None:
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(Became) as caught:
        offline("dns", "serve", "--records", str(tmp_path / "r.json"))
    words = list(caught.value.args)
    assert words[words.index("--listen") + 1] == "127.0.0.1:5353"


@pytest.mark.parametrize(("arguments", "why"), [
    ([], "A records file is needed"), (["--records", "/nowhere/records.json"], "There is no file '/nowhere/records.json'"),
])
def test_what_is_missing_is_said(offline: Cli, arguments: list[str], why: str) -> None:
    done = offline("dns", "serve", *arguments)
    assert done.code == 1
    assert why in done.err
