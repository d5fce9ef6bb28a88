"""The process on real sockets: UDP and TCP, records that change, a resolv.conf that is taken and given back."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dnskit
import pytest
from dnskit import UUID_A, UUID_B, read, records_text, row

from director.guest.dns import host, settings
from director.guest.dns.__main__ import main
from director.guest.dns.loading import load
from director.guest.dns.loop import Loop
from director.guest.dns.service import Service

NAME = "q-s4.db.default.cf.bosh"


class Running:
    """A service in a thread of its own."""

    def __init__(self, folder: Path, **more: object) -> None:
        self.records = folder / "records.json"
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text("search example.com\nnameserver 192.0.2.1\noptions ndots:2\n", "utf-8")
        tree = {"listen": ["127.0.0.1:0"], "records": str(self.records), "resolv_conf": str(self.resolv_conf), **more}
        self.service = Service(settings.parse(tree))
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

    def udp(self, name: str = NAME) -> dnskit.Reply:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(dnskit.question(name), self.address)
            return read(sock.recv(4096))

    def until(self, name: str, expected: set[str]) -> None:
        """Asks until the answer is that one; the records file is looked at five times a second."""
        for _ in range(100):
            if set(self.udp(name).answers) == expected:
                return
            threading.Event().wait(0.02)
        assert set(self.udp(name).answers) == expected

    def tcp(self) -> socket.socket:
        sock = socket.create_connection(self.address, timeout=5)
        sock.settimeout(5)
        return sock


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    server = Running(tmp_path, disable_recursors=True)
    yield server
    server.stop()


def until(true: Callable[[], bool]) -> None:
    for _ in range(250):
        if true():
            return
        threading.Event().wait(0.02)
    assert true()


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "closed too early"
        data += more
    return data


def tcp_answer(sock: socket.socket) -> dnskit.Reply:
    return read(exactly(sock, struct.unpack("!H", exactly(sock, 2))[0]))


def test_udp(running: Running) -> None:
    assert set(running.udp().answers) == {"10.0.0.5", "10.0.0.6"}


def test_tcp_takes_questions_in_a_row_and_in_pieces(running: Running) -> None:
    packet = dnskit.question(NAME)
    framed = struct.pack("!H", len(packet)) + packet
    with running.tcp() as sock:
        sock.sendall(framed * 3 + framed[:7])
        assert [len(tcp_answer(sock).answers) for _ in range(3)] == [2, 2, 2]
        sock.sendall(framed[7:])
        assert len(tcp_answer(sock).answers) == 2


def test_a_tcp_client_that_sends_scraps_hurts_nobody(running: Running) -> None:
    with running.tcp() as sock:
        sock.sendall(b"\xff\xff\0")
        assert running.udp().code == "NOERROR"
    with running.tcp() as sock:
        sock.sendall(struct.pack("!H", 3) + b"abc")
        assert running.udp().code == "NOERROR"


def test_new_records_are_used_and_bad_ones_are_not(running: Running) -> None:
    running.records.write_text("{", "utf-8")
    assert running.udp().code == "NOERROR"
    replaced = running.records.with_suffix(".new")
    replaced.write_text(records_text([UUID_A, UUID_B, row("c", "44", "10.0.0.7", "1", 2)], version=18), "utf-8")
    replaced.rename(running.records)
    running.until(NAME, {"10.0.0.5", "10.0.0.6", "10.0.0.7"})


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"records": null, "record_infos": null, "record_keys": null}'])
def test_a_file_without_records_keeps_the_last_good_ones(running: Running, text: str) -> None:
    running.records.write_text(text, "utf-8")
    until(lambda: bool(running.service.source.problem))
    assert set(running.udp().answers) == {"10.0.0.5", "10.0.0.6"}


def test_aliases_of_jobs(tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    (tmp_path / "a.json").write_text(json.dumps({"x.int": ["1.1.1.1"]}), "utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"x.int": ["2.2.2.2"], "y.int": [NAME]}), "utf-8")
    server = Running(tmp_path, disable_recursors=True, alias_files=str(tmp_path / "[ab].json"))
    try:
        assert server.udp("x.int").answers == ("1.1.1.1",), "the first file has the say"
        assert len(server.udp("y.int").answers) == 2
        (tmp_path / "a.json").unlink()
        server.until("x.int", {"2.2.2.2"})
    finally:
        server.stop()


def test_handlers_of_jobs_come_and_go_and_bad_ones_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    file = tmp_path / "handlers.json"
    file.write_text(json.dumps([{"domain": "corp.example.", "source": {"type": "deny"}}]), "utf-8")
    server = Running(tmp_path, disable_recursors=True, handler_files=str(tmp_path / "handlers.json"))
    try:
        assert server.udp("a.corp.example").code == "NXDOMAIN"
        file.write_text(json.dumps([{"domain": "other.example.", "source": {"type": "magic"}}]), "utf-8")
        until(lambda: "handlers stay as they were" in caplog.text)
        assert server.udp("a.corp.example").code == "NXDOMAIN"
        file.unlink()
        until(lambda: server.udp("a.corp.example").code == "REFUSED")
    finally:
        server.stop()


def test_aliases_that_become_a_circle_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    file = tmp_path / "aliases.json"
    file.write_text(json.dumps({"x.int": ["1.1.1.1"]}), "utf-8")
    server = Running(tmp_path, disable_recursors=True, alias_files=str(file))
    try:
        file.write_text(json.dumps({"x.int": ["y.int"], "y.int": ["z.int"], "z.int": ["x.int"]}), "utf-8")
        until(lambda: "(x.int -> y.int -> z.int -> x.int)" in caplog.text)
        assert server.udp("x.int").answers == ("1.1.1.1",)
    finally:
        server.stop()


def test_aliases_per_instance_follow_the_records(tmp_path: Path) -> None:
    entry = {"root_domain": "bosh", "group_id": "7", "health_filter": "all", "initial_health_check": None, "placeholder_type": "uuid"}
    aliases = {"_.each.int": [entry]}
    (tmp_path / "records.json").write_text(records_text([UUID_A], aliases), "utf-8")
    server = Running(tmp_path, disable_recursors=True)
    try:
        assert server.udp("uuid-A.each.int").answers == ("10.0.0.5",)
        server.records.write_text(records_text([UUID_B], aliases, version=18), "utf-8")
        server.until("uuid-B.each.int", {"10.0.0.6"})
        assert server.udp("uuid-A.each.int").code == "REFUSED", "its zone is gone"
    finally:
        server.stop()


def test_jobs_can_ask_for_more_addresses(tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    file = tmp_path / "addresses.json"
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    file.write_text(json.dumps([{"address": "127.0.0.2", "port": port}]), "utf-8")
    server = Running(tmp_path, disable_recursors=True, address_files=str(file))
    try:
        server.address = ("127.0.0.2", port)
        assert len(server.udp().answers) == 2
    finally:
        server.stop()
    file.write_text('[{"port": 1}]', "utf-8")
    with pytest.raises(settings.BadSettings, match=r"addresses\.json: an entry has no address"):
        Running(tmp_path, disable_recursors=True, address_files=str(file))


@pytest.mark.parametrize("tree", [
    {"handlers": [{"domain": "x", "source": {"type": "magic"}}]}, {"aliases": {"": ["a"]}}, {"aliases": {"x.int": "no list"}},
])
def test_settings_that_cannot_work_stop_the_start(tmp_path: Path, tree: dict[str, object]) -> None:
    with pytest.raises(settings.BadSettings):
        Service(settings.parse({"listen": ["127.0.0.1:0"], "records": str(tmp_path / "r.json"), **tree}))


def test_recursors_are_those_of_the_machine_but_for_ours_and_excluded_ones(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 169.254.0.2\nnameserver 127.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver fd00::1\n", "utf-8")
    tree = {"listen": ["169.254.0.2:53"], "records": "r", "resolv_conf": str(conf), "excluded_recursors": ["10.0.0.3"]}
    assert Service(settings.parse(tree))._recursors() == [("10.0.0.2", 53), ("fd00::1", 53)]
    given = {**tree, "recursors": ["10.0.0.9:5353", "10.0.0.3"]}
    assert Service(settings.parse(given))._recursors() == [("10.0.0.9", 5353)]


def test_answers_that_depend_on_health_are_made_anew_for_health_to_know(tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    now = [0.0]
    known = dnskit.FakeHealth()
    tree = {"listen": ["127.0.0.1:0"], "records": str(tmp_path / "records.json"), "disable_recursors": True}
    service = Service(settings.parse(tree), Loop(lambda: now[0]), health=known)
    service.start()
    for seconds, times in ((0, 2), (20, 2), (31, 4)):
        now[0] = seconds
        service.loop.turn(0)
        dnskit.ask(service.resolver, "q-s3.db.default.cf.bosh")
        assert len(known.asked) == times
    known.become(uuid_a="failing")
    assert dnskit.ask(service.resolver, "q-s3.db.default.cf.bosh").answers == ("10.0.0.6",)
    service.stop()


def test_a_source_of_its_own_can_change_records_in_place(tmp_path: Path) -> None:
    class Pushed:
        """Records that somebody else pushes."""

        problem = ""

        def __init__(self) -> None:
            self.records = load(records_text())

        def start(self, loop: Loop, changed: Callable[[], None]) -> None:
            self.changed = changed

    source = Pushed()
    service = Service(settings.parse({"listen": ["127.0.0.1:0"], "records": "none", "disable_recursors": True}), source=source)
    service.start()
    assert len(dnskit.ask(service.resolver, NAME).answers) == 2
    source.records.remove(source.records.with_id("uuid-a")[0])
    source.records.version = 18
    source.changed()
    assert dnskit.ask(service.resolver, NAME).answers == ("10.0.0.6",)
    service.stop()


def test_aliases_that_stand_for_themselves_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(settings.BadSettings, match="recursion detected"):
        Running(tmp_path, aliases={"a.int": ["b.int"], "b.int": ["a.int"]})


def test_resolv_conf_is_taken_kept_and_given_back(tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(records_text(), "utf-8")
    server = Running(tmp_path, override_nameserver=True)
    lines = server.resolv_conf.read_text("utf-8").splitlines()
    assert lines == ["search example.com", "nameserver 127.0.0.1", "nameserver 192.0.2.1", "options ndots:2"]
    server.resolv_conf.write_text("nameserver 192.0.2.9\n", "utf-8")
    server.service._care()
    assert server.resolv_conf.read_text("utf-8") == "nameserver 127.0.0.1\nnameserver 192.0.2.9\n"
    assert server.service._recursors() == [("192.0.2.9", 53)]
    server.stop()
    assert server.resolv_conf.read_text("utf-8") == "nameserver 192.0.2.9\n"


def test_resolv_conf_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    real, link = tmp_path / "stub.conf", tmp_path / "resolv.conf"
    real.write_text("nameserver 192.0.2.1\n", "utf-8")
    link.symlink_to(real)
    assert host.take_over(str(link), "169.254.0.2")
    assert not host.take_over(str(link), "169.254.0.2"), "once is enough"
    assert link.is_symlink()
    assert host.nameservers(real.read_text("utf-8")) == ["169.254.0.2", "192.0.2.1"]


def test_a_machine_without_name_servers_gets_one() -> None:
    assert host.with_first("", "169.254.0.2") == "nameserver 169.254.0.2\n"
    assert host.with_first("search a.b", "169.254.0.2") == "search a.b\nnameserver 169.254.0.2\n"


GOOD: dict[str, object] = {"listen": ["127.0.0.1:1"], "records": "r"}


@pytest.mark.parametrize(("tree", "why"), [
    ({}, "`listen` and `records` are needed"), ({"listen": ["x"], "records": "r"}, "Invalid IP address x"),
    ({**GOOD, "colour": 1}, "unknown settings: colour"), ({**GOOD, "recursors": ["ns.example"]}, "Invalid IP address ns.example"),
    ({**GOOD, "access": ["10.0.0.0/99"]}, "`access` has networks"), ({**GOOD, "strangers": "eat"}, "`strangers` is one of refuse, drop"),
    ({**GOOD, "processes": 0}, "`processes` is a number of at least 1"), ({**GOOD, "rate_limit": "much"}, "`rate_limit` is a number"),
    ({**GOOD, "recursor_failure": "FORMERR"}, "`recursor_failure` is one of"), ({**GOOD, "metrics": "x:1"}, "Invalid IP address x:1"),
    ({**GOOD, "listen": ["127.0.0.1:70000"]}, "Invalid IP address"),
])
def test_settings_that_cannot_be_are_said_all_at_once(tree: dict[str, object], why: str) -> None:
    with pytest.raises(settings.BadSettings) as caught:
        settings.parse({**tree, "log_level": "LOUD"})
    assert why in str(caught.value)
    assert "`log_level` is one of" in str(caught.value)


def test_a_taken_port_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["serve", "--records", str(tmp_path / "none.json"), "--listen", where, "--no-recursors"]) == 1
    assert f"cannot listen on {where}" in capsys.readouterr().err


def test_check_says_what_is_wrong_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "records.json").write_text(records_text([UUID_A, ["short"]]), "utf-8")
    assert main(["check", "--records", str(tmp_path / "records.json")]) == 1
    assert "row 1 is left out" in capsys.readouterr().out
