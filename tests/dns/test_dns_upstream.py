"""Questions for other servers, against servers of our own on loopback; time is a number that the tests set."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import dnskit
import pytest
from dnskit import read

from director.guest.dns import message
from director.guest.dns.cache import Cache
from director.guest.dns.forwarding import Forwarder
from director.guest.dns.handlers.recursion import Recursion
from director.guest.dns.loop import Loop
from director.guest.dns.server import Resolver
from director.guest.dns.servers import Servers, server_of
from director.guest.dns.upstream import Pool

Answerer = Callable[[bytes], "bytes | list[bytes] | None"]


def answering(address: str, ttl: int = 60) -> Callable[[bytes], bytes]:
    def answer(packet: bytes) -> bytes:
        record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, ttl, 4) + socket.inet_aton(address)
        end = packet.index(b"\0", 12) + 5
        return packet[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + packet[12:end] + record

    return answer


def saying(code: int) -> Callable[[bytes], bytes]:
    return lambda packet: packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, 0, 0, 0) + packet[12 : packet.index(b"\0", 12) + 5]


def silent(packet: bytes) -> None:
    return None


class World:
    """A resolver, its recursors, and the clock. `ask` pumps both sides until the answer is there."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.now = 1000.0
        self.asked: list[int] = []
        self.packets: list[bytes] = []
        self.loop = Loop(lambda: self.now)
        self._stack = stack
        self._sockets: list[tuple[socket.socket, Answerer]] = []
        stack.callback(self.loop.close)

    def server(self, answer: Answerer) -> tuple[str, int]:
        sock = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self._sockets.append((sock, answer))
        address: tuple[str, int] = sock.getsockname()
        return address

    def resolver(self, *answerers: Answerer, cache: bool = False, smart: bool = False, reference: bool = False, **more: Any) -> Resolver:
        self.servers = Servers([self.server(answerer) for answerer in answerers], lambda: self.now, smart=smart)
        self.pool = Pool(self.loop, self.servers, **more)
        self._stack.callback(self.pool.close)
        self.forwarder = Forwarder(self.loop, self.pool, Cache(lambda: self.now) if cache else None, denies_failures=reference)
        return dnskit.resolver(recursion=Recursion(self.forwarder), loop=self.loop)

    def ask(self, resolver: Resolver, name: str = "example.com", kind: str = "A", *, tcp: bool = False, **options: Any) -> dnskit.Reply:
        replies = self.begin(resolver, name, kind, tcp=tcp, **options)
        self.pump(lambda: bool(replies))
        assert len(replies) == 1
        return read(replies[0])

    def begin(self, resolver: Resolver, name: str, kind: str = "A", *, tcp: bool = False, **options: Any) -> list[bytes]:
        """The list that gets the answer."""
        replies: list[bytes] = []
        resolver.handle(dnskit.question(name, kind, **options), replies.append, tcp=tcp)
        return replies

    def pump(self, done: Callable[[], bool]) -> None:
        """Lets everything happen that can; when nothing can, half a second passes."""
        for _ in range(400):
            if done():
                return
            self.loop.turn(0.002)
            if not self._serve():
                self.loop.turn(0.002)
                if not self._serve() and not done():
                    self.now += 0.5

    def _serve(self) -> bool:
        busy = False
        for number, (sock, answerer) in enumerate(self._sockets):
            with contextlib.suppress(BlockingIOError):
                packet, source = sock.recvfrom(4096)
                busy = True
                self.asked.append(number)
                self.packets.append(packet)
                answer = answerer(packet)
                for one in answer if isinstance(answer, list) else [answer]:
                    if one is not None:
                        sock.sendto(one, source)
        return busy


@pytest.fixture
def world() -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        yield World(stack)


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


def test_a_server_that_was_silent_is_not_asked_first_again(world: World) -> None:
    resolver = world.resolver(silent, answering("1.2.3.4"), smart=True)
    for number in range(3):
        world.ask(resolver, f"n{number}.example")
    world.asked.clear()
    world.ask(resolver, "last.example")
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
    world.servers.use([address, world.server(answering("1.2.3.4"))])
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
    cache = Cache(lambda: 0.0, most=10)
    answer = message.read(answering("1.2.3.4")(dnskit.question("n.example")))
    for number in range(50):
        cache.put(b"%d" % number, answer)
    assert [number for number in range(50) if cache.get(b"%d" % number)] == list(range(40, 50))


@pytest.mark.parametrize(("text", "expected"), [
    ("10.0.0.2", ("10.0.0.2", 53)), ("10.0.0.2:5353", ("10.0.0.2", 5353)), ("fd00::1", ("fd00::1", 53)), ("[fd00::1]:54", ("fd00::1", 54)),
])
def test_addresses_of_servers(text: str, expected: tuple[str, int]) -> None:
    assert server_of(text) == expected


@pytest.mark.parametrize("text", ["", "example.com", "10.0.0.2:x", "10.0.0.300"])
def test_names_are_no_addresses_of_servers(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid IP address"):
        server_of(text)
