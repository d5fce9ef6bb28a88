"""Figures, reasons and the log of questions of a resolver that runs; its commands and its processes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnskit import question, read, records_text

from director.guest.dns import control, listening
from director.guest.dns.__main__ import main
from director.guest.dns.querylog import QueryLog, printable
from director.guest.dns.service import Service
from director.guest.dns.settings import parse

NAME = "q-s4.db.default.cf.bosh"


class Running:
    def __init__(self, folder: Path) -> None:
        (folder / "records.json").write_text(records_text(), "utf-8")
        self.path = str(folder / "run/control.sock")
        tree = {
            "listen": ["127.0.0.1:0"], "records": str(folder / "records.json"), "disable_recursors": True, "control": self.path,
            "metrics": "127.0.0.1:0",
        }
        self.service = Service(parse(tree))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.metrics = free.getsockname()
        self.service.settings = self.service.settings._replace(metrics=self.metrics)
        self.address = self.service.start()[0]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            self.service.turn()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(5)
        self.service.stop()

    def ask(self, name: str = NAME) -> object:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(question(name), self.address)
            return read(sock.recv(4096))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.stop()


def figures(text: str) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}


def test_figures_count_every_answer(running: Running) -> None:
    for name in [NAME] * 5 + ["example.com"] * 3 + ["nobody.db.default.cf.bosh"] * 2:
        running.ask(name)
    with urllib.request.urlopen(f"http://{running.metrics[0]}:{running.metrics[1]}/metrics") as page:
        text = page.read().decode()
    found = figures(text)
    assert found['boshdns_answers_total{code="NOERROR"}'] == 5
    assert found['boshdns_answers_total{code="REFUSED"}'] == 3
    assert found['boshdns_answers_total{code="NXDOMAIN"}'] == 2
    assert found["boshdns_records"] == 2
    assert found["boshdns_records_version"] == 17
    assert found['boshdns_handled_total{handler="records"}'] == 2, "made twice, given seven times"
    assert all(line.split()[0] == "#" or len(line.rpartition(" ")) == 3 for line in text.splitlines())


def test_over_tcp_there_are_figures_and_nothing_else(running: Running) -> None:
    for page in ("/explain?name=x", "/status", "/", "/query-log"):
        with pytest.raises(urllib.request.HTTPError, match="404"):
            urllib.request.urlopen(f"http://{running.metrics[0]}:{running.metrics[1]}{page}")


def test_reasons_are_told_to_root_alone(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert os.stat(running.path).st_mode & 0o777 == 0o600
    running.ask()
    assert main(["explain", NAME, "--control", running.path]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert (tree["handler"], tree["zone"], tree["prepared"]) == ("records", "bosh.", True)
    assert [record["ip"] for record in tree["selections"][0]["records"]] == ["10.0.0.5", "10.0.0.6"]
    assert main(["explain", NAME, "NONSENSE", "--control", running.path]) == 1
    assert "type is one of" in capsys.readouterr().err
    assert main(["explain", "a" * 64, "--control", running.path]) == 1
    assert main(["explain", NAME, "--control", running.path + "x"]) == 1
    assert "no resolver answers at" in capsys.readouterr().err
    assert main(["explain", NAME]) == 1
    assert "no control socket is known" in capsys.readouterr().err


def test_the_status_says_what_is_in_use(running: Running) -> None:
    status, text = control.get(running.path, "/status")
    tree = json.loads(text)
    assert (status, tree["records"]["version"], tree["domains"], tree["query_log"]) == (200, 17, ["bosh"], False)


def test_questions_are_written_on_demand(running: Running, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.INFO)
    running.ask()
    running.ask()
    assert main(["log-queries", "--seconds", "30", "--control", running.path]) == 0
    running.ask()
    running.ask("nobody.db.default.cf.bosh")
    assert main(["log-queries", "--seconds", "0", "--control", running.path]) == 0
    running.ask()
    lines = [record.getMessage() for record in caplog.records if record.name == "bosh-dns.queries"]
    assert lines == [
        f"127.0.0.1 asks {NAME}. A: NOERROR, 2 records, 73 bytes, by records",
        "127.0.0.1 asks nobody.db.default.cf.bosh. A: NXDOMAIN, 0 records, 43 bytes, by records",
    ]


@pytest.mark.parametrize("request_", [b"\r\n\r\n", b"GET\r\n\r\n", b"x" * 10_000, b"GET / HTTP/1.1\r\n", b"\xff\xfe\r\n\r\n"])
def test_no_request_hurts_it(running: Running, request_: bytes) -> None:
    with socket.create_connection(running.metrics, timeout=5) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(4096)
    assert running.ask()


def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run/control.sock"
    path.parent.mkdir()
    path.write_text("")
    made = Running(tmp_path)
    assert control.get(str(path), "/status")[0] == 200
    made.stop()
    assert not path.exists()


def test_lines_of_the_log_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    from director.guest.dns import wire

    caplog.set_level(logging.INFO)
    now = [0.0]
    lines = QueryLog(lambda: now[0], lines=3)
    query = wire.parse(question(NAME))
    answer = wire.head(0x8180, query.question, 0)
    for _ in range(10):
        lines("10.0.0.1", query, "records", answer)
    now[0] = 1.5
    lines("10.0.0.1", query, "records", answer)
    assert [record.getMessage() for record in caplog.records][3:4] == ["7 more questions in that second"]
    assert len(caplog.records) == 5


def test_names_cannot_forge_lines() -> None:
    assert printable("a\nb\x1b[31m\\c\u202e.") == "a\\x0ab\\x1b[31m\\x5cc\\x202e."


def test_who_holds_a_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(OSError, match=f"it is held by .*pid {os.getpid()}"):
            listening.open_sockets(address)
    with pytest.raises(OSError, match="no interface of this computer has that address"):
        listening.open_sockets(("192.0.2.1", 0))


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_process_of_its_own(tmp_path: Path, processes: str) -> None:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "director.guest.dns", "serve", "--records", str(tmp_path / "records.json"), "--no-recursors"]
    command += ["--listen", f"127.0.0.1:{port}", "--processes", processes]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stderr is not None
            first = child.stderr.readline() + child.stderr.readline()
            assert f"listening on 127.0.0.1:{port}" in first
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(10)
                sock.sendto(question(NAME), ("127.0.0.1", port))
                assert len(read(sock.recv(4096)).answers) == 2
                if processes == "1":
                    child.send_signal(signal.SIGUSR1)
                    for _ in range(100):
                        sock.sendto(question(NAME), ("127.0.0.1", port))
                        assert sock.recv(4096)
                        if select.select([child.stderr], [], [], 0.05)[0]:
                            break
                    assert f"127.0.0.1 asks {NAME}. A: NOERROR" in child.stderr.readline()
            if processes == "2":
                _kill_one_child(child.pid)
                with socket.create_connection(("127.0.0.1", port), timeout=5):
                    pass
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0


def _kill_one_child(pid: int) -> None:
    """One of two dies; another takes its place."""
    before = _children(pid)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    until = time.monotonic() + 10
    while time.monotonic() < until and (len(_children(pid)) < 2 or before[0] in _children(pid)):
        time.sleep(0.05)
    after = _children(pid)
    assert len(after) == 2
    assert before[0] not in after


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
