"""Outputs as clients read them: exact lines, whole lines, no secrets."""

from __future__ import annotations

import concurrent.futures
import contextvars
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from director import errors
from director.tasks import Outputs, Redactor, TaskLog, debug


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "tasks")


@pytest.fixture
def log(outputs: Outputs) -> Iterator[TaskLog]:
    opened = TaskLog(outputs, 42, redact=Redactor(), clock=lambda: 1451020321.7)
    yield opened
    opened.close()


def lines(outputs: Outputs) -> list[dict[str, Any]]:
    text = outputs.read(42, "event").decode()
    assert not text or text.endswith("\n")  # API contract, row 9
    return [json.loads(line) for line in text.splitlines()]


def test_lines_of_a_step(log: TaskLog, outputs: Outputs) -> None:
    with log.stage("Updating instance", 2, ("api",)).step("api/3b (0) (canary)") as step:
        step.status("executing pre-start", 10)
    head = '{"time":1451020321,"stage":"Updating instance","tags":["api"],"total":2,"task":"api/3b (0) (canary)","index":1,'
    assert outputs.read(42, "event").decode().splitlines() == [
        head + '"state":"started","progress":0}',
        head + '"state":"in_progress","progress":10,"data":{"status":"executing pre-start"}}',
        head + '"state":"finished","progress":100}',
    ]


def test_failed_step(log: TaskLog, outputs: Outputs) -> None:
    stage = log.stage("Updating instance", 2)
    with pytest.raises(errors.MachineError), stage.step("a"):
        raise errors.MachineError("'a' is not running", suggestion="look")
    with pytest.raises(ValueError), stage.step("b"):
        raise ValueError("odd")
    failed = [line for line in lines(outputs) if line["state"] == "failed"]
    assert [(line["index"], line["progress"], line["tags"], line["data"]) for line in failed] == [
        (1, 100, [], {"error": "'a' is not running"}), (2, 100, [], {"error": "odd"})]


def test_warnings_and_the_error(log: TaskLog, outputs: Outputs) -> None:
    log.warning("careful")
    log.deprecation("old")
    log.error(400007, "not running")
    assert lines(outputs) == [
        {"time": 1451020321, "type": "warning", "message": "careful"}, {"time": 1451020321, "type": "deprecation", "message": "old"},
        {"time": 1451020321, "error": {"code": 400007, "message": "not running"}}]


def test_times_are_integers(log: TaskLog, outputs: Outputs) -> None:
    log.warning("x")
    assert type(lines(outputs)[0]["time"]) is int  # API contract, row 8


def test_steps_of_many_threads_are_whole_and_numbered(log: TaskLog, outputs: Outputs) -> None:
    stage = log.stage("Compiling packages", 40)

    def work(number: int) -> None:
        with stage.step(f"p{number}" + "x" * 5000) as step:
            step.status("compiling", 50)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    written = lines(outputs)
    assert len(written) == 120
    assert sorted({line["index"] for line in written}) == list(range(1, 41))
    assert len({(line["index"], line["task"]) for line in written}) == 40


@given(strategies.text())
def test_any_text_stays_one_line_of_json(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    outputs = Outputs(tmp_path_factory.mktemp("t"))
    log = TaskLog(outputs, 42, redact=Redactor(), clock=lambda: 0.0)
    log.warning(text)
    log.result(text)
    log.debug(text)
    log.close()
    (line,) = outputs.read(42, "event").split(b"\n")[:-1]
    assert json.loads(line)["message"] == text
    assert outputs.read(42, "result").decode() == text


def test_unusual_surrogates_do_not_break_the_log(log: TaskLog, outputs: Outputs) -> None:
    log.warning("file \udcff name")
    assert b"\xff" in outputs.read(42, "event")


def test_resumed_log_goes_on_after_the_last_whole_line(outputs: Outputs) -> None:
    log = TaskLog(outputs, 42, redact=Redactor(), clock=lambda: 1.0)
    log.warning("first")
    log.result("half a result")
    log.close()
    with outputs.path(42, "event").open("ab") as stream:
        stream.write(b'{"time":1,"sta')
    log = TaskLog(outputs, 42, redact=Redactor(), clock=lambda: 2.0, resumed=True)
    log.warning("second")
    log.result("whole")
    log.close()
    assert [line["message"] for line in lines(outputs)] == ["first", "second"]
    assert outputs.read(42, "result") == b"whole"


@pytest.mark.parametrize(
    ("content", "kept"), [(b"", b""), (b"abc", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"a\n" + b"x" * 9000, b"a\n")])
def test_cut_off_line(outputs: Outputs, content: bytes, kept: bytes) -> None:
    path = outputs.path(1, "debug")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    TaskLog(outputs, 1, redact=Redactor(), clock=lambda: 0.0, resumed=True).close()
    assert path.read_bytes() == kept


def test_stray_thread_after_the_end(log: TaskLog, outputs: Outputs) -> None:
    log.close()
    log.warning("late")
    assert outputs.read(42, "event") == b""


def test_reading_in_parts(log: TaskLog, outputs: Outputs) -> None:
    assert outputs.size(42, "result") == 0
    log.result("0123456789")
    assert outputs.size(42, "result") == 10
    assert outputs.read(42, "result", 3, 5) == b"34"
    assert outputs.read(42, "result", 8) == b"89"
    assert outputs.read(7, "result") == b""
    assert outputs.size(7, "result") is None
    with pytest.raises(ValueError):
        outputs.path(42, "../debug")


def test_log_records_belong_to_their_task(log: TaskLog, outputs: Outputs) -> None:
    other = TaskLog(outputs, 43, redact=Redactor(), clock=lambda: 0.0)
    handler = debug.install()
    try:
        with debug.bound(log):
            logging.getLogger("director.execute").debug("mine %d", 1)
            logging.getLogger("cpis.local").info("clouds")
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(contextvars.copy_context().run, logging.getLogger("director.x").info, "of my thread").result()
            with debug.bound(other):
                logging.getLogger("director.execute").info("of the other")
        logging.getLogger("director.execute").info("of nobody")
    finally:
        debug.uninstall(handler)
        other.close()
    mine, others = outputs.read(42, "debug").decode(), outputs.read(43, "debug").decode()
    assert [line.partition("] ")[2] for line in mine.splitlines()] == [
        "director.execute: mine 1", "cpis.local: clouds", "director.x: of my thread"]
    assert "of the other" in others
    assert outputs.read(42, "cpi").decode().endswith("cpis.local: clouds\n")


def test_secrets_reach_no_output(outputs: Outputs) -> None:
    redact = Redactor()
    secret = 'p"w\\with-quotes'
    pem = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(letter * 64 for letter in "ABC") + "\n-----END RSA PRIVATE KEY-----\n"
    redact.add(secret, pem)
    log = TaskLog(outputs, 42, redact=redact, clock=lambda: 0.0)
    for text in (secret, pem, json.dumps({"a": secret, "b": pem}), f"x{secret}y{secret}", "line of it: " + "B" * 64):
        log.warning(text)
        log.result(text)
        log.debug(text)
        log.error(1, text, [{"summary": text}])
        with pytest.raises(ValueError), log.stage(text, 1, (text,)).step(text):
            raise ValueError(text)
    log.close()
    written = b"".join(outputs.read(42, type) for type in ("event", "result", "debug", "cpi")).decode()
    for line in (secret, json.dumps(secret)[1:-1], "A" * 64, "B" * 64, "C" * 64):
        assert line not in written
    assert "<redacted>" in written


SECRETS = strategies.lists(strategies.text("abc", min_size=1, max_size=8), max_size=4)


@given(SECRETS, strategies.text("abc", max_size=40))
def test_no_known_secret_is_left(secrets: list[str], text: str) -> None:
    redact = Redactor()
    redact.add(*secrets)
    assert all(secret not in redact(text).replace("<redacted>", "|") for secret in secrets if len(secret) >= 5)
    if not any(secret in text for secret in secrets if len(secret) >= 5):
        assert redact(text) == text


def test_short_values_and_repr() -> None:
    redact = Redactor()
    redact.add("yes", "long-secret")
    assert redact("yes, a long-secret") == "yes, a <redacted>"
    assert redact.tree({"a": ["long-secret", 1, None, ("x",)]}) == {"a": ["<redacted>", 1, None, ["x"]]}
    assert "long-secret" not in repr(redact)
