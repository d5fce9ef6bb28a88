"""The report of the suite, and the run over all stand-ins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpis.conformance import CASES, Outcome
from cpis.conformance.__main__ import main
from cpis.conformance.report import Result, matrix, page, tree

FIRST, SECOND, THIRD = CASES[:3]
RESULTS = [
    Result("one", (Outcome(FIRST, "", 1.0), Outcome(SECOND, "", 0.0, "no such thing"), Outcome(THIRD, "", 0.0, "no such thing"))),
    Result("two", (Outcome(FIRST, "broke <here>", 2.5),), faults={
        "tried": 10, "ended": {"Unavailable": 3, "right": 7}, "wrong": 0, "leaked": 2, "most_requests": 12}),
    Result("three", absent="no packages"), Result("four", failed="Denied: no"),
]


def test_the_matrix_says_all() -> None:
    lines = matrix(RESULTS).splitlines()
    row = next(line for line in lines if line.startswith(FIRST.name))
    assert row.split() == [FIRST.name, "ok", "NO"]
    assert next(line for line in lines if line.startswith(SECOND.name)).split() == [SECOND.name, "-"]
    assert "two: 10 faults tried (3 Unavailable, 7 right), 0 wrong, 2 resources leaked, at most 12 requests in a call" in lines
    assert f"one: skipped {SECOND.name}, {THIRD.name}: no such thing" in lines
    assert f"two: {FIRST.name} BROKEN: broke <here>" in lines
    assert "three: not run: no packages" in lines
    assert "four: ENDED EARLY: Denied: no" in lines


def test_what_counts_as_broken() -> None:
    assert [result.broken for result in RESULTS] == [False, True, False, True]
    assert Result("x", faults={"wrong": 0, "leaked": 1}).broken
    assert not Result("x", faults={"wrong": 0, "leaked": 0}).broken


def test_json_and_page() -> None:
    written = json.loads(json.dumps(tree(RESULTS)))
    assert [(cloud["name"], cloud["held"], cloud["broken"]) for cloud in written["clouds"]] == [
        ("one", 1, 0), ("two", 0, 1), ("three", 0, 0), ("four", 0, 0)]
    assert "broke &lt;here&gt;" in page(RESULTS[1])
    assert "<here>" not in page(RESULTS[1])


def test_the_run_over_stand_ins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fake", "--json", str(tmp_path / "build/out.json")]) == 0
    found = json.loads((tmp_path / "build/out.json").read_text())["clouds"]
    assert [(cloud["name"], cloud["broken"], cloud["failed"]) for cloud in found] == [("fake", 0, "")]
    assert "machines_at_once" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["no-such-cloud"])
