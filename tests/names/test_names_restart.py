"""A resolver that is killed and begun again answers from what the machine keeps: the director is not needed, and nothing else is believed.

Source: issue 5, point 4: "records survive a restart of machine, resolver and director; signed".
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_names_records import document, host, sent

from director.guest.agent.actions import sync_names
from director.guest.agent.host import Call, Host
from director.guest.dns import control

__all__ = ["host"]  # a fixture

CODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
FIRST, SECOND = "id-a.web.default.app.bosh", "id-b.web.default.app.bosh"


def give(host: Host, tree: dict[str, Any]) -> None:
    """As the director does."""
    done = sync_names.run(Call(host), records=json.dumps(tree), **sent(tree))
    assert done["result"] == "synced"


class Process:
    """`python -m director.guest.dns serve` over a machine's folder; the port stays the same."""

    def __init__(self, host: Host) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        layout = host.layout
        self.control = str(layout.resolver_socket)
        self.config = layout.root / "config.json"
        self.config.write_text(json.dumps({
            "listen": [f"127.0.0.1:{self.port}"], "records": str(layout.records), "records_word": str(layout.records_word),
            "keys": str(layout.ring), "disable_recursors": True, "control": self.control,
        }))
        self.said = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Ends as by a power cut."""
        command = [sys.executable, "-m", "director.guest.dns", "serve", "--config", str(self.config)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
            assert child.stderr is not None
            try:
                self.said = ""
                while "listening on" not in self.said:
                    line = child.stderr.readline()
                    assert line, f"it ended: {self.said}"
                    self.said += line
                yield
            finally:
                child.send_signal(signal.SIGKILL)

    def ask(self, name: str) -> tuple[str, list[str]]:
        """The code, and the address of the only record, if there is one."""
        labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            sock.sendto(struct.pack("!6H", 7, 256, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1), ("127.0.0.1", self.port))
            reply = sock.recv(4096)
        found = [socket.inet_ntoa(reply[-4:])] if struct.unpack_from("!H", reply, 6)[0] else []
        return CODES[reply[3] & 15], found

    def version(self) -> int:
        return int(json.loads(control.get(self.control, "/status", "GET")[1])["records"]["version"])


@pytest.fixture
def process(host: Host) -> Process:
    host.layout.resolver_socket.parent.mkdir(parents=True)
    give(host, document(7, ["a"]))
    return Process(host)


def test_the_first_question_after_a_restart_is_answered_from_kept_records(process: Process) -> None:
    for _ in range(3):
        with process.running():
            assert process.ask(FIRST) == ("NOERROR", ["10.0.0.1"])
            assert process.version() == 7


def test_what_came_while_it_was_dead_is_in_use(process: Process, host: Host) -> None:
    with process.running():
        assert process.ask(SECOND) == ("NXDOMAIN", [])
    give(host, document(8, ["a", "b"]))
    with process.running():
        assert process.ask(SECOND) == ("NOERROR", ["10.0.0.2"])
        assert process.version() == 8


def test_a_copy_that_was_half_written_changes_nothing(process: Process, host: Host) -> None:
    """The agent puts records in their place whole; what a power cut leaves is a file of another name."""
    (host.layout.records.parent / ".records.json.0a1b2c").write_text(json.dumps(document(9, ["b"]))[:100])
    with process.running():
        assert process.ask(FIRST) == ("NOERROR", ["10.0.0.1"])


@pytest.mark.parametrize("how", ["forged", "torn"])
def test_records_that_are_not_the_directors_are_not_believed_after_a_restart_either(process: Process, host: Host, how: str) -> None:
    path: Path = host.layout.records
    whole = path.read_text()
    if how == "forged":
        path.write_text(json.dumps(document(9, ["b"])))
    else:
        path.write_text(whole[: len(whole) // 2])
    with process.running():
        assert "the director did not send it" in process.said
        assert process.ask(SECOND) == ("REFUSED", []), "without records no name is one of ours, and others are not asked here"
        give(host, document(10, ["a"]))
        for _ in range(100):
            if process.ask(FIRST) == ("NOERROR", ["10.0.0.1"]):
                break
            time.sleep(0.05)
        assert process.ask(FIRST) == ("NOERROR", ["10.0.0.1"]), "the director's next ones are"
