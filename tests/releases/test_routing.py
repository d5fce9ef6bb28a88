"""The routing release's programs: the table, HAProxy's runtime API as HAProxy 2.6 answers it, the agent and the registrar."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import foundation
import pytest

sys.path.insert(0, str(foundation.RELEASES / "routing" / "src"))

from routing import agent, proxy, registrar, table
from routing.bus import BusError, Message

ONE, TWO = table.Endpoint("10.0.0.1", 8080), table.Endpoint("10.0.0.2", 8080)


@pytest.mark.parametrize(("uri", "key"), [
    ("app.example.com", "app.example.com/"), ("APP.example.com:80", "app.example.com/"), ("a.b/x/y/", "a.b/x/y/"), ("*.a.b", "*.a.b/"),
    ("a.b/X", "a.b/X/"),
])
def test_keys(uri: str, key: str) -> None:
    assert table.key_of(uri) == key


@pytest.mark.parametrize("uri", ["", "/x", "a b.c", "a.b/x;shutdown sessions", "a.b/x\ny", "a.b\\", "a..b", "a.b/ x"])
def test_uris_that_could_be_commands_or_nothing_are_refused(uri: str) -> None:
    with pytest.raises(table.BadRoute):
        table.key_of(uri)


@pytest.mark.parametrize("message", [{}, {"host": "name", "port": 1}, {"host": "10.0.0.1"}, {"host": "10.0.0.1", "port": 70000}])
def test_messages_without_an_endpoint_are_refused(message: dict[str, Any]) -> None:
    with pytest.raises(table.BadRoute):
        table.endpoint_of(message)


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1"])
def test_an_endpoint_can_be_read_back_from_its_name(host: str) -> None:
    endpoint = table.Endpoint(host, 80)
    assert table.Endpoint.from_name(endpoint.name) == endpoint


def test_routes_live_as_long_as_they_are_announced() -> None:
    routes = table.Table()
    assert routes.register("a/", ONE, 0)
    assert not routes.register("a/", ONE, 100), "known"
    assert routes.prune(219) == set()
    assert routes.prune(220) == {"a/"}
    assert routes.keys() == []
    routes.register("a/", ONE, 0)
    routes.postpone(600)
    assert routes.prune(500) == set(), "nobody could announce anything meanwhile"
    assert routes.unregister("a/", ONE)
    assert not routes.unregister("a/", ONE)


class FakeHaproxy:
    """The runtime commands that the agent uses, with HAProxy's answers."""

    def __init__(self, path: Path) -> None:
        self.pid = 1
        self.map: dict[str, str] = {}
        self.servers: dict[str, dict[str, str]] = {}
        self.busy: set[str] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def restart(self) -> None:
        self.pid, self.map, self.servers = self.pid + 1, {}, {}

    def routes(self) -> dict[str, set[str]]:
        return {
            key: {name for name, state in self.servers.get(slot, {}).items() if state == "ready"} for key, slot in self.map.items()
        }

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(self._answer(connection.recv(4096).decode().strip()).encode() + b"\n")

    def _answer(self, text: str) -> str:
        words = text.split()
        if text == "show info":
            return f"Name: HAProxy\nPid: {self.pid}\nUptime: 0d"
        if text.startswith("show map"):
            return "\n".join(f"0x55d0 {key} {slot}" for key, slot in self.map.items())
        if text == "show servers state":
            rows = [
                f"3 {slot} 1 {name} 10.0.0.1 2 {1 if state == 'maint' else 0} 1 1 0 0 0 0 0 0 0 0 - 8080 - 0 0 - - 0"
                for slot, servers in self.servers.items() for name, state in servers.items()
            ]
            return "\n".join(["1", "# be_id be_name srv_id srv_name", *rows])
        if words[:2] == ["add", "map"]:
            self.map[words[3]] = words[4]
            return ""
        if words[:2] == ["del", "map"]:
            return "" if self.map.pop(words[3], None) else "entry not found."
        slot, _, name = words[2].partition("/")
        if words[:2] == ["add", "server"]:
            self.servers.setdefault(slot, {})[name] = "maint"
            return "New server registered."
        if words[:2] == ["set", "server"]:
            self.servers[slot][name] = words[4]
            return ""
        if name in self.busy:
            return "Server still has connections attached to it, cannot remove it."
        del self.servers[slot][name]
        return "Server deleted."


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[FakeHaproxy]:
    fake = FakeHaproxy(tmp_path / "sock")
    yield fake
    fake.close()


def connected(tmp_path: Path, slots: int = 3) -> proxy.Proxy:
    found = proxy.Proxy(str(tmp_path / "sock"), "/routes.map", slots)
    found.read()
    return found


def test_a_route_comes_changes_and_goes(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    ours = connected(tmp_path)
    ours.route("a/", {ONE})
    ours.route("a/", {ONE, TWO})
    assert haproxy.routes() == {"a/": {ONE.name, TWO.name}}
    ours.route("a/", {TWO})
    assert haproxy.routes() == {"a/": {TWO.name}}
    ours.route("a/", set())
    assert (haproxy.routes(), haproxy.servers["rt00000"]) == ({}, {})


def test_an_instance_with_running_requests_is_deleted_when_they_end(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    ours = connected(tmp_path, slots=1)
    ours.route("a/", {ONE})
    haproxy.busy.add(ONE.name)
    ours.route("a/", set())
    assert haproxy.servers == {"rt00000": {ONE.name: "maint"}}
    with pytest.raises(proxy.Full, match=r"router\.max_routes"):
        ours.route("b/", {TWO})
    haproxy.busy.clear()
    ours.sweep()
    ours.route("b/", {TWO})
    assert haproxy.routes() == {"b/": {TWO.name}}


def test_an_instance_that_comes_back_while_leaving_stays(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    ours = connected(tmp_path)
    ours.route("a/", {ONE, TWO})
    haproxy.busy.add(ONE.name)
    ours.route("a/", {TWO})
    ours.route("a/", {ONE, TWO})
    assert haproxy.routes() == {"a/": {ONE.name, TWO.name}}


def test_routes_are_read_back_from_a_running_haproxy(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    connected(tmp_path).route("a/", {ONE, TWO})
    assert connected(tmp_path).read() == {"a/": {ONE, TWO}}


def test_without_haproxy_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(proxy.ProxyError, match="runtime socket"):
        connected(tmp_path)


class FakeBus:
    """Gives the messages that the test puts in, keeps what is published."""

    def __init__(self) -> None:
        self.connected = True
        self.inbox: list[Message] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.broken = False

    def subscribe(self, subject: str) -> None:
        pass

    def connect(self) -> None:
        if self.broken:
            raise BusError("away")
        self.connected = True

    def publish(self, subject: str, data: bytes) -> None:
        self.published.append((subject, json.loads(data)))

    def flush(self) -> None:
        pass

    def receive(self, timeout: float) -> list[Message]:
        if self.broken:
            self.connected = False
            raise BusError("gone")
        messages, self.inbox = self.inbox, []
        return messages

    def say(self, subject: str, endpoint: table.Endpoint, *uris: str) -> None:
        self.inbox.append(Message(subject, "", json.dumps({"host": endpoint.host, "port": endpoint.port, "uris": uris}).encode()))


class Clock:
    """Seconds that pass when the test, or a sleeper, says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def an_agent(tmp_path: Path, bus: FakeBus, clock: Clock) -> agent.Agent:
    ours = proxy.Proxy(str(tmp_path / "sock"), "/routes.map", 5)
    return agent.Agent(bus, ours, {"id": "0-x"}, clock=lambda: clock.now, sleep=clock.sleep)


def a_registrar(bus: FakeBus, clock: Clock) -> registrar.Registrar:
    return registrar.Registrar(bus, [route()], clock=lambda: clock.now, sleep=clock.sleep)


def test_the_agent_brings_haproxy_to_what_the_bus_says(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    bus, clock = FakeBus(), Clock()
    ours = an_agent(tmp_path, bus, clock)
    bus.say("router.register", ONE, "a.b", "*.a.b/x")
    bus.inbox.append(Message("router.register", "", b"nonsense"))
    bus.inbox.append(Message("router.greet", "_INBOX.1", b""))
    ours.turn()
    assert haproxy.routes() == {"a.b/": {ONE.name}, "*.a.b/x/": {ONE.name}}
    assert bus.published == [("_INBOX.1", {"id": "0-x"})]
    bus.say("router.unregister", ONE, "*.a.b/x")
    ours.turn()
    assert haproxy.routes() == {"a.b/": {ONE.name}}


def test_the_agent_restores_a_haproxy_that_forgot(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    bus, clock = FakeBus(), Clock()
    ours = an_agent(tmp_path, bus, clock)
    bus.say("router.register", ONE, "a.b")
    ours.turn()
    haproxy.restart()
    clock.now += 1
    ours.turn()
    assert haproxy.routes() == {"a.b/": {ONE.name}}


def test_the_agent_prunes_what_is_silent_but_not_while_the_bus_is(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    bus, clock = FakeBus(), Clock()
    ours = an_agent(tmp_path, bus, clock)
    bus.say("router.register", ONE, "a.b")
    ours.turn()
    bus.broken = True
    for _ in range(20):
        clock.now += 60
        ours.turn()
    assert haproxy.routes() == {"a.b/": {ONE.name}}, "the last table is served"
    bus.broken = False
    clock.now += 60
    ours.turn()
    ours.turn()
    assert haproxy.routes() == {"a.b/": {ONE.name}}
    for _ in range(5):
        clock.now += 31
        ours.turn()
    assert haproxy.routes() == {}


def test_a_new_agent_keeps_the_routes_of_a_running_haproxy(tmp_path: Path, haproxy: FakeHaproxy) -> None:
    connected(tmp_path).route("a.b/", {ONE})
    ours = an_agent(tmp_path, FakeBus(), Clock())
    ours.turn()
    assert haproxy.routes() == {"a.b/": {ONE.name}}


def route(**changes: Any) -> registrar.Route:
    return registrar.Route({"name": "web", "port": 80, "uris": ["a.b"], "interval": 20, **changes}, "10.0.0.1")


def test_the_registrar_announces_while_healthy_and_takes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, clock, healthy = FakeBus(), Clock(), [False]
    monkeypatch.setattr(registrar.Route, "healthy", lambda self: healthy[0])
    ours = a_registrar(bus, clock)
    ours.turn()
    assert bus.published == [], "not before it answers"
    healthy[0] = True
    for _ in range(25):
        clock.now += 1
        ours.turn()
    body = {"host": "10.0.0.1", "port": 80, "uris": ["a.b"], "tags": {}}
    assert bus.published == [("router.register", body)] * 2, "at once and 20 s later"
    healthy[0] = False
    clock.now += 1
    ours.turn()
    assert bus.published[2:] == [("router.unregister", body)]


def test_the_registrar_answers_a_new_router_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, clock = FakeBus(), Clock()
    monkeypatch.setattr(registrar.Route, "healthy", lambda self: True)
    ours = a_registrar(bus, clock)
    ours.turn()
    bus.inbox.append(Message("router.start", "", b"{}"))
    ours.turn()
    assert len(bus.published) == 2


def test_the_registrar_announces_nothing_after_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, clock = FakeBus(), Clock()
    monkeypatch.setattr(registrar.Route, "healthy", lambda self: True)
    ours = a_registrar(bus, clock)
    ours.turn()
    ours.take_back()
    clock.now += 60
    ours.turn()
    assert [subject for subject, _ in bus.published] == ["router.register", "router.unregister"]


def test_a_health_script_decides(tmp_path: Path) -> None:
    script = tmp_path / "check"
    script.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    script.chmod(0o755)
    assert not route(health_script=str(script)).healthy()
    script.write_text("#!/bin/sh\nexit 0\n", "utf-8")
    assert route(health_script=str(script)).healthy()
    assert not route(health_script=str(tmp_path / "none")).healthy()
