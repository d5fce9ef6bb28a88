"""TCP: many questions on one connection, and clients that are slow, greedy or gone. Time is a number that the tests set."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import dnskit
import pytest
from dnskit import question, read, records_text, resolver, row

from director.guest.dns import streams
from director.guest.dns.access import Access
from director.guest.dns.answer import Answer, Done
from director.guest.dns.loop import Loop
from director.guest.dns.server import Resolver
from director.guest.dns.wire import Query

NAME = "q-s4.db.default.cf.bosh"


class Slow:
    """A handler whose answers come when the test says so, in the order that it says."""

    name = "slow"
    zones = (("slow",),)

    def __init__(self) -> None:
        self.waiting: dict[str, Done] = {}

    def answer(self, query: Query, done: Done) -> None:
        self.waiting[query.labels[0]] = done

    def explain(self, query: Query) -> dict[str, object]:
        return {}

    def finish(self, label: str) -> None:
        self.waiting.pop(label)(Answer(5, 0, kept=False))


class World:
    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.now = 0.0
        self.loop = Loop(lambda: self.now)
        stack.callback(self.loop.close)
        self.slow = Slow()
        rows = [row(f"uuid-{number}", str(number), f"10.0.{number >> 8}.{number & 255}", "1", number) for number in range(1000)]
        self.resolver: Resolver = resolver(records_text(rows), domains=[self.slow], loop=self.loop)
        listener = socket.create_server(("127.0.0.1", 0))
        self.streams = streams.Streams(self.loop, listener, self.resolver, Access(["own"], self.loop.clock))
        self.address = listener.getsockname()

    def connect(self) -> socket.socket:
        sock = self._stack.enter_context(socket.create_connection(self.address, timeout=5))
        self.turn()
        return sock

    def turn(self, times: int = 6) -> None:
        for _ in range(times):
            self.loop.turn(0.002)

    def until(self, true: Callable[[], bool]) -> None:
        for _ in range(500):
            if true():
                return
            self.loop.turn(0.005)
        assert true()

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.turn(1)


@pytest.fixture
def world() -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        yield World(stack)


def framed(*packets: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(packet)) + packet for packet in packets)


def answers(sock: socket.socket, count: int, world: World) -> list[dnskit.Reply]:
    return [read(packet) for packet in packets(sock, count, world)]


def packets(sock: socket.socket, count: int, world: World) -> list[bytes]:
    """As many framed answers, or those that came."""
    sock.setblocking(False)
    received, found = bytearray(), []
    for _ in range(1000):
        world.loop.turn(0.005)
        with contextlib.suppress(BlockingIOError):
            received += sock.recv(1 << 20)
        while len(received) >= 2 and len(received) >= 2 + struct.unpack_from("!H", received)[0]:
            size = 2 + struct.unpack_from("!H", received)[0]
            found.append(bytes(received[2:size]))
            del received[:size]
        if len(found) >= count:
            break
    return found


def is_closed(sock: socket.socket) -> bool:
    sock.settimeout(1)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_many_questions_in_one_piece(world: World) -> None:
    sock = world.connect()
    sock.sendall(framed(*(question(NAME, number=number) for number in range(20))))
    found = answers(sock, 20, world)
    assert [reply.number for reply in found] == list(range(20))
    assert {len(reply.answers) for reply in found} == {1000}


def test_one_that_asks_faster_than_it_reads_gets_all_answers(world: World) -> None:
    sock = world.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.setblocking(False)
    asked = framed(*(question(NAME, number=number) for number in range(250)))
    sent = 0
    while sent < len(asked):
        with contextlib.suppress(BlockingIOError):
            sent += sock.send(asked[sent:])
        world.turn(1)
    world.turn(50)
    (connection,) = world.streams.connections
    assert len(connection.unread) <= streams.MOST_UNREAD + 65537
    assert [int.from_bytes(packet[:2], "big") for packet in packets(sock, 250, world)] == list(range(250))


def test_quick_answers_overtake_slow_ones(world: World) -> None:
    sock = world.connect()
    sock.sendall(framed(question("one.slow", number=1), question("two.slow", number=2), question("upcheck.bosh-dns", number=3)))
    assert [reply.number for reply in answers(sock, 1, world)] == [3]
    world.slow.finish("two")
    assert [reply.number for reply in answers(sock, 1, world)] == [2]
    world.slow.finish("one")
    assert [reply.number for reply in answers(sock, 1, world)] == [1]


def test_questions_on_their_way_are_bounded_and_the_rest_waits(world: World) -> None:
    sock = world.connect()
    sock.sendall(framed(*(question(f"n{number}.slow", number=number) for number in range(300))))
    world.until(lambda: len(world.slow.waiting) >= streams.MOST_ASKING)
    world.turn()
    assert len(world.slow.waiting) == streams.MOST_ASKING
    for _ in range(3):
        for label in list(world.slow.waiting):
            world.slow.finish(label)
        world.turn()
    assert len(answers(sock, 300, world)) == 300


def test_one_that_closed_its_side_still_gets_its_answers(world: World) -> None:
    sock = world.connect()
    sock.sendall(framed(question("one.slow", number=1)))
    sock.shutdown(socket.SHUT_WR)
    world.turn()
    world.slow.finish("one")
    assert [reply.number for reply in answers(sock, 1, world)] == [1]
    assert is_closed(sock)
    assert not world.streams.connections


def test_an_answer_for_one_that_left_hurts_nobody(world: World) -> None:
    sock = world.connect()
    sock.sendall(framed(question("one.slow")))
    world.until(lambda: bool(world.slow.waiting))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    world.until(lambda: not world.streams.connections)
    world.slow.finish("one")
    other = world.connect()
    other.sendall(framed(question(NAME)))
    assert len(answers(other, 1, world)) == 1


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\x1d", framed(question(NAME))[:-1]])
def test_one_that_sends_nothing_whole_is_let_go(world: World, sent: bytes) -> None:
    sock = world.connect()
    sock.sendall(sent)
    world.wait(streams.IDLE + 1)
    assert not world.streams.connections
    assert is_closed(sock)


def test_a_byte_now_and_then_earns_no_time(world: World) -> None:
    sock = world.connect()
    for byte in framed(question(NAME))[:20]:
        if not world.streams.connections:
            break
        sock.sendall(bytes([byte]))
        world.wait(1)
    assert not world.streams.connections


def test_whole_questions_earn_time_up_to_a_limit(world: World) -> None:
    sock = world.connect()
    for _ in range(5):
        sock.sendall(framed(question("upcheck.bosh-dns")))
        world.wait(3)
    assert len(world.streams.connections) == 1
    for _ in range(int(streams.LONGEST_LIFE / 3)):
        if not world.streams.connections:
            break
        with contextlib.suppress(OSError):
            sock.sendall(framed(question("upcheck.bosh-dns")))
        world.wait(3)
    assert not world.streams.connections


def test_one_that_waits_for_other_servers_is_not_idle(world: World) -> None:
    sock = world.connect()
    sock.sendall(framed(question("one.slow", number=7)))
    world.until(lambda: bool(world.slow.waiting))
    world.wait(3 * streams.IDLE)
    world.slow.finish("one")
    assert [reply.number for reply in answers(sock, 1, world)] == [7]


def test_one_that_reads_no_answers_is_let_go(world: World) -> None:
    sock = world.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    packet = framed(question(NAME)) * 20
    sock.setblocking(False)
    for _ in range(150):
        if not world.streams.connections:
            break
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock.send(packet)
        world.turn(1)
    world.wait(streams.IDLE + 1)
    assert not world.streams.connections


def test_connections_are_bounded_and_the_idlest_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_CONNECTIONS", 5)
    socks = []
    for _ in range(5):
        socks.append(world.connect())
        world.now += 0.1
    socks[0].sendall(framed(question("upcheck.bosh-dns")))
    assert len(answers(socks[0], 1, world)) == 1
    socks.append(world.connect())
    assert len(world.streams.connections) == 5
    assert is_closed(socks[1])
    for sock in (socks[0], socks[5]):
        sock.settimeout(5)
        sock.sendall(framed(question("upcheck.bosh-dns")))
        assert len(answers(sock, 1, world)) == 1


def test_one_address_cannot_have_all_connections(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_OF_ONE", 3)
    for _ in range(6):
        world.connect()
    assert len(world.streams.connections) == 3


def test_strangers_are_not_served(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Access, "admits", lambda self, address: False)
    sock = world.connect()
    assert is_closed(sock)
    assert world.streams.strangers == 1
    assert not world.streams.connections


@pytest.mark.parametrize("packet", [b"", b"abc", b"\0" * 12, question(NAME, flags=0x8180)])
def test_scraps_in_frames_do_not_end_the_connection(world: World, packet: bytes) -> None:
    sock = world.connect()
    sock.sendall(framed(packet, question("upcheck.bosh-dns", number=9)))
    assert answers(sock, 2 if len(packet) == 12 else 1, world)[-1].number == 9
    assert all(connection.asking == 0 for connection in world.streams.connections)
