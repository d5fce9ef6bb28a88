"""The protocol: `director/guest/agent/__init__.py`."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from director.guest.agent import actions, server
from director.guest.agent.actions.base import Action
from director.guest.agent.errors import ActionError, ScriptFailed
from director.guest.agent.host import Call, Host
from director.machine import package

from .conftest import Machine


class Talk:
    """A running server and the two ends of its channel."""

    def __init__(self, host: Host, table: dict[str, Action]) -> None:
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        read, write = os.pipe()
        self.answers = os.fdopen(read, "rb")
        self._out = os.fdopen(write, "wb", buffering=0)
        self.thread = threading.Thread(target=server.Server(host, self._out, table).serve, args=(self._feed(),), daemon=True)
        self.thread.start()
        self.hello = self.next()

    def _feed(self) -> Iterator[bytes]:
        while (line := self._lines.get()) is not None:
            yield line

    def say(self, **message: Any) -> None:
        self._lines.put(json.dumps(message).encode() + b"\n")

    def raw(self, line: bytes) -> None:
        self._lines.put(line)

    def next(self) -> Any:
        return json.loads(self.answers.readline())

    def end(self) -> None:
        self._lines.put(None)
        self.thread.join(10)
        assert not self.thread.is_alive()
        self._out.close()
        self.answers.close()


def fail(call: Call, kind: str) -> None:
    raise {
        "action": ActionError("it failed", "output"), "script": ScriptFailed("script failed"), "bug": KeyError("x"),
        "full": OSError(errno.ENOSPC, "No space left on device", "/var/vcap/data/x"),
        "mkfs": ActionError("'cp' failed", "cp: No space left on device"),
    }[kind]


def wait(call: Call, seconds: float = 30.0) -> str:
    call.progress({"stream": "stdout", "text": "begun"})
    call.pause(seconds)
    return "waited"


TABLE = {
    "ping": actions.ACTIONS["ping"], "fail": Action(fail), "secret": Action(fail, loggable=False),
    "wait": Action(wait, asynchronous=True, cancellable=True), "aside": Action(wait, cancellable=True),
}


@pytest.fixture
def talk(machine: Machine) -> Iterator[Talk]:
    made = Talk(machine.host, TABLE)
    yield made
    made.end()


def test_hello_ping_and_unknown(talk: Talk) -> None:
    assert talk.hello["hello"]["protocol"] == 1
    talk.say(id=1, action="ping", arguments={})
    assert talk.next() == {"id": 1, "result": "pong"}
    talk.say(id=2, action="nope")
    assert talk.next() == {"id": 2, "error": {"message": "unknown message nope", "kind": "unknown", "output": ""}}


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        ("action", "failed", "it failed"), ("script", "script_failed", "script failed"), ("bug", "internal", "KeyError"),
        ("full", "disk_full", "No space left on the machine's disk"), ("mkfs", "disk_full", "No space left on the machine's disk"),
    ],
)
def test_errors_have_kinds(talk: Talk, kind: str, expected: str, text: str) -> None:
    talk.say(id=1, action="fail", arguments={"kind": kind})
    error = talk.next()["error"]
    assert error["kind"] == expected
    assert text in error["message"]


def test_arguments_that_do_not_fit(talk: Talk) -> None:
    talk.say(id=1, action="ping", arguments={"x": 1})
    assert talk.next()["error"]["kind"] == "invalid"


@pytest.mark.parametrize("line", [b"no json\n", b"[]\n", b'{"id": 1}\n', b'{"id": "x", "action": "ping"}\n', b"\xff\n"])
def test_what_is_no_request(talk: Talk, line: bytes) -> None:
    talk.raw(line)
    assert talk.next()["error"]["kind"] == "invalid"
    talk.say(id=2, action="ping")
    assert talk.next()["result"] == "pong"


def test_asynchronous_actions_run_one_after_another_others_beside_them(talk: Talk) -> None:
    talk.say(id=1, action="wait")
    assert talk.next()["progress"]
    talk.say(id=2, action="wait", arguments={"seconds": 0})
    talk.say(id=3, action="ping")
    assert talk.next() == {"id": 3, "result": "pong"}
    talk.say(cancel=1)
    assert talk.next() == {"id": 1, "error": {"message": "Script was cancelled by user request", "kind": "cancelled", "output": ""}}
    assert [talk.next(), talk.next()] == [{"id": 2, "progress": {"stream": "stdout", "text": "begun"}}, {"id": 2, "result": "waited"}]


def test_cancelled_before_its_turn(talk: Talk) -> None:
    talk.say(id=1, action="wait")
    talk.next()
    talk.say(id=2, action="wait")
    talk.say(cancel=2)
    talk.say(cancel=99)
    talk.say(cancel=1)
    assert [talk.next()["error"]["kind"], talk.next()["error"]["kind"]] == ["cancelled", "cancelled"]


def test_two_agents_on_a_machine_do_not_cross(machine: Machine) -> None:
    first, second = Talk(machine.host, TABLE), Talk(machine.host, TABLE)
    first.say(id=1, action="wait")
    first.next()
    second.say(id=1, action="wait", arguments={"seconds": 0})
    time.sleep(0.1)
    first.end()  # its action is cancelled, and lets the other go on
    assert second.next()["progress"]
    assert second.next()["result"] == "waited"
    second.end()


def test_the_log_holds_no_secret(machine: Machine, talk: Talk) -> None:
    talk.say(id=1, action="secret", arguments={"kind": "action"})
    talk.next()
    talk.say(id=2, action="fail", arguments={"kind": "action"})
    talk.next()
    first, second = machine.host.layout.agent_log.read_text().splitlines()
    assert "it failed" not in first
    assert "<redacted>" in first
    assert 'fail {"kind": "action"}' in second


def test_secret_actions_are_marked() -> None:
    secret = {name for name, action in actions.ACTIONS.items() if not action.loggable}
    assert secret == {"bootstrap", "fetch_blob", "update_settings", "sync_dns", "sync_names", "write_file"}


def test_the_packed_agent_speaks_and_ends_with_its_input(tmp_path: Path) -> None:
    packed = package.agent()
    path = tmp_path / f"agent-{packed.digest}.pyz"
    path.write_bytes(packed.data)
    process = subprocess.Popen([sys.executable, "-I", str(path), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    hello = json.loads(process.stdout.readline())
    assert hello["hello"]["agent_digest"] == packed.digest
    process.stdin.write(b'{"id": 1, "action": "nope"}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["error"]["kind"] == "unknown"
    process.stdin.close()
    assert process.wait(5) == 0
    process.stdout.close()


def sources() -> list[Path]:
    return sorted(Path(server.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_source_is_python_3_8_and_imports_only_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names


def test_every_action_file_is_in_the_table() -> None:
    folder = Path(actions.__file__).parent
    names = {path.stem for path in folder.glob("*.py")} - {"__init__", "base", "disk"}
    disks = {"list_disk", "mount_disk", "unmount_disk", "migrate_disk", "resize_disk", "remove_persistent_disk"}
    assert set(actions.ACTIONS) == names | disks


def test_a_broken_pipe_ends_quietly(machine: Machine) -> None:
    class Gone(io.RawIOBase):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    server.Server(machine.host, Gone(), TABLE).serve([b'{"id": 1, "action": "ping"}\n'])  # type: ignore[arg-type]
