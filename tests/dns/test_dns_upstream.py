"""Questions for other servers, against servers of our own on loopback; time is a number that the tests set."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
from collections.abc import Callable, Iterator

import dnskit
import pytest
from dnskit import read, records_text

from director.guest.dns.aliases import Aliases
from director.guest.dns.cache import Cache
from director.guest.dns.local import Local
from director.guest.dns.records import load
from director.guest.dns.server import Resolver
from director.guest.dns.upstream import Upstream, server_of

Answerer = Callable[[bytes], "bytes | None"]


def answering(address: str, ttl: int = 60) -> Answerer:
    def answer(packet: bytes) -> bytes:
        record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, ttl, 4) + socket.inet_aton(address)
        end = packet.index(b"\0", 12) + 5
        return packet[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + packet[12:end] + record

    return answer


def saying(code: int) -> Answerer:
    return lambda packet: packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, 0, 0, 0) + packet[12 : packet.index(b"\0", 12) + 5]


def silent(packet: bytes) -> None:
    return None


class World:
    """A resolver, its recursors, and the clock. `ask` pumps both sides until the answer is there."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.now = 1000.0
        self.asked: list[int] = []
        self.selector = selectors.DefaultSelector()
        self._stack = stack
        self._sockets: list[tuple[socket.socket, Answerer]] = []

    def server(self, answer: Answerer) -> tuple[str, int]:
        sock = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self._sockets.append((sock, answer))
        address: tuple[str, int] = sock.getsockname()
        return address

    def resolver(self, *answerers: Answerer, cache: bool = False) -> Resolver:
        upstream = Upstream(self.selector, lambda: self.now, [self.server(answerer) for answerer in answerers])
        self._stack.callback(upstream.close)
        self.upstream = upstream
        records = load(records_text())
        return Resolver(Local(records, Aliases({}, records)), upstream, Cache(lambda: self.now) if cache else None)

    def ask(self, resolver: Resolver, name: str = "example.com", **options: int) -> dnskit.Reply:
        replies: list[bytes] = []
        resolver.handle(dnskit.question(name, **options), replies.append, tcp=False)
        for _ in range(200):
            if replies:
                break
            busy = False
            for number, (sock, answerer) in enumerate(self._sockets):
                with contextlib.suppress(BlockingIOError):
                    packet, source = sock.recvfrom(4096)
                    busy = True
                    self.asked.append(number)
                    answer = answerer(packet)
                    if answer is not None:
                        sock.sendto(answer, source)
            for key, mask in self.selector.select(0.005):
                busy = True
                key.data(mask)
            if not busy:
                self.now += 0.5
                self.upstream.tick()
        assert len(replies) == 1
        return read(replies[0])


@pytest.fixture
def world() -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        world = World(stack)
        yield world
        stack.close()
        world.selector.close()


def test_the_answer_is_passed_on_under_the_askers_number(world: World) -> None:
    reply = world.ask(world.resolver(answering("1.2.3.4")), number=0x4711)
    assert (reply.answers, reply.number, reply.authoritative) == (("1.2.3.4",), 0x4711, False)


def test_row_31_after_a_denial_the_next_is_asked(world: World) -> None:
    assert world.ask(world.resolver(saying(3), answering("1.2.3.4"))).answers == ("1.2.3.4",)


def test_what_all_deny_does_not_exist(world: World) -> None:
    assert world.ask(world.resolver(saying(3), silent)).code == "NXDOMAIN"


def test_row_32_silence_is_a_failure_and_not_a_denial(world: World) -> None:
    began = world.now
    assert world.ask(world.resolver(silent, silent)).code == "SERVFAIL"
    assert world.now - began == pytest.approx(4, abs=1), "two seconds for each"


@pytest.mark.parametrize("code", [2, 5])
def test_a_failing_server_is_passed_over(world: World, code: int) -> None:
    assert world.ask(world.resolver(saying(code), answering("1.2.3.4"))).answers == ("1.2.3.4",)


def test_without_servers_the_answer_is_a_failure(world: World) -> None:
    assert world.ask(world.resolver()).code == "SERVFAIL"


def test_the_server_that_answered_is_asked_first_next_time(world: World) -> None:
    resolver = world.resolver(silent, answering("1.2.3.4"))
    world.ask(resolver, "one.example")
    world.asked.clear()
    world.ask(resolver, "two.example")
    assert world.asked == [1]


def test_answers_with_a_wrong_number_or_question_are_not_believed(world: World) -> None:
    right = answering("1.2.3.4")

    def wrong_number(packet: bytes) -> bytes:
        return bytes([packet[0] ^ 1]) + right(packet)[1:]

    def wrong_question(packet: bytes) -> bytes:
        return right(packet).replace(b"example", b"exbmple")

    assert world.ask(world.resolver(wrong_number, wrong_question)).code == "SERVFAIL"


def test_a_closed_port_goes_to_the_next_at_once(world: World) -> None:
    resolver = world.resolver(silent, answering("1.2.3.4"))
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.bind(("127.0.0.1", 0))
    address = closed.getsockname()
    closed.close()
    world.upstream.use([address, world.server(answering("1.2.3.4"))])
    began = world.now
    assert world.ask(resolver).answers == ("1.2.3.4",)
    assert world.now - began < 1


def test_long_answers_are_cut_for_small_askers(world: World) -> None:
    def long(packet: bytes) -> bytes:
        answer = answering("1.2.3.4")(packet)
        return answer[:6] + struct.pack("!H", 60) + answer[8:] + answer[-16:] * 59

    resolver = world.resolver(long)
    assert world.ask(resolver).truncated
    assert len(world.ask(resolver, edns=4096).answers) == 60


def test_the_cache_counts_down_and_keeps_the_askers_spelling(world: World) -> None:
    resolver = world.resolver(answering("1.2.3.4", ttl=100), cache=True)
    world.ask(resolver, "example.com")
    world.now += 30
    world.asked.clear()
    reply = world.ask(resolver, "eXample.COM")
    assert (reply.ttls, reply.name, world.asked) == ((70,), "eXample.COM.", [])
    world.now += 71
    world.ask(resolver, "example.com")
    assert world.asked == [0]


@pytest.mark.parametrize(("ttl", "kept"), [(0, 5), (7200, 3600)])
def test_the_caches_shortest_and_longest_time(world: World, ttl: int, kept: int) -> None:
    resolver = world.resolver(answering("1.2.3.4", ttl=ttl), cache=True)
    world.ask(resolver)
    assert world.ask(resolver).ttls == (kept,)


def test_denials_without_a_term_are_not_kept(world: World) -> None:
    resolver = world.resolver(saying(3), cache=True)
    world.ask(resolver)
    world.ask(resolver)
    assert world.asked == [0, 0]


def test_the_cache_is_bounded() -> None:
    cache = Cache(lambda: 0.0, size=10)
    for number in range(50):
        packet = dnskit.question(f"n{number}.example")
        cache.put(packet, dnskit_query(packet), answering("1.2.3.4")(packet))
    held = [number for number in range(50) if cache.get(packet := dnskit.question(f"n{number}.example"), dnskit_query(packet))]
    assert held == list(range(40, 50))


def dnskit_query(packet: bytes) -> object:
    from director.guest.dns import wire

    return wire.parse(packet)


@pytest.mark.parametrize(("text", "expected"), [
    ("10.0.0.2", ("10.0.0.2", 53)), ("10.0.0.2:5353", ("10.0.0.2", 5353)), ("fd00::1", ("fd00::1", 53)), ("[fd00::1]:54", ("fd00::1", 54)),
])
def test_addresses_of_servers(text: str, expected: tuple[str, int]) -> None:
    assert server_of(text) == expected


@pytest.mark.parametrize("text", ["", "example.com", "10.0.0.2:x", "10.0.0.300"])
def test_names_are_no_addresses_of_servers(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid IP address"):
        server_of(text)
