"""A resolver over name servers that tests play themselves."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import dnskit
import pytest
from dnskit import read

from director.guest.dns.cache import Cache
from director.guest.dns.forwarding import Forwarder
from director.guest.dns.handlers.recursion import Recursion
from director.guest.dns.loop import Loop
from director.guest.dns.server import Resolver
from director.guest.dns.servers import Servers
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
        # Not 127.0.0.1, whose ports connections of other tests take: what listens for TCP, too, must get the same number.
        sock.bind(("127.0.0.9", 0))
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


def cut(packet: bytes) -> bytes:
    end = packet.index(b"\0", 12) + 5
    return packet[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + packet[12:end]


def soa(code: int, ttl: int, minimum: int) -> Callable[[bytes], bytes]:
    def answer(packet: bytes) -> bytes:
        end = packet.index(b"\0", 12) + 5
        data = b"\0\0" + struct.pack("!IIIII", 1, 2, 3, 4, minimum)
        record = b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, ttl, len(data)) + data
        return packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, 0, 1, 0) + packet[12:end] + record

    return answer
