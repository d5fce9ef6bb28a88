"""TCP: many questions on a connection, answers as they come. Source: DNS contract, section 7.1; RFC 7766.

Nobody can keep the resolver busy by being slow: a connection lives only as long as whole questions arrive on it and answers are read.
"""

from __future__ import annotations

import socket
import struct
from typing import Set

from .access import Access
from .loop import READ, WRITE, Loop
from .server import Resolver

MOST_CONNECTIONS = 200
MOST_OF_ONE = 64
MOST_ASKING = 128
MOST_UNREAD = 1 << 18
IDLE = 5.0
LONGEST_LIFE = 600.0
_SWEEP = 0.5


class _Connection:
    """`deadline` moves when a whole question came or all answers were taken; `ending` means that no more questions will come."""

    def __init__(self, sock: socket.socket, address: str, now: float) -> None:
        self.socket = sock
        self.address = address
        self.received = bytearray()
        self.unread = b""
        self.began = now
        self.deadline = now + IDLE
        self.asking = 0
        self.ending = False
        self.closed = False
        self.events = READ


class Streams:
    """One listening socket and its connections. When there are too many, the one that was idle for longest goes."""

    def __init__(self, loop: Loop, sock: socket.socket, resolver: Resolver, access: Access) -> None:
        self._loop = loop
        self._socket = sock
        self._resolver = resolver
        self._access = access
        self.connections: Set[_Connection] = set()
        self.strangers = self.dropped = 0
        self._sweeping = False
        sock.setblocking(False)
        loop.register(sock, READ, self._accept)

    def _accept(self, mask: int) -> None:
        try:
            accepted, source = self._socket.accept()
        except OSError:
            return
        address = source[0]
        if not self._access.admits(address):
            self.strangers += 1
            accepted.close()
            return
        of_one = [connection for connection in self.connections if connection.address == address]
        crowd = of_one if len(of_one) >= MOST_OF_ONE else list(self.connections) if len(self.connections) >= MOST_CONNECTIONS else []
        if crowd:
            self.dropped += 1
            self._drop(min(crowd, key=lambda connection: connection.deadline))
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(accepted, address, self._loop.clock())
        self.connections.add(connection)
        self._loop.register(accepted, READ, lambda events: self._ready(connection, events))
        if not self._sweeping:
            self._sweeping = True
            self._loop.later(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.clock()
        for connection in list(self.connections):
            # One that waits for us is not idle; how long other servers may take is bounded elsewhere.
            waits = connection.asking and not connection.unread
            if (connection.deadline < now and not waits) or connection.began + LONGEST_LIFE < now:
                self._drop(connection)
        self._sweeping = bool(self.connections)
        if self._sweeping:
            self._loop.later(_SWEEP, self._sweep)

    def _ready(self, connection: _Connection, events: int) -> None:
        if events & WRITE:
            self._flush(connection)
            # What waited for room has its turn before anything new is read.
            self._take(connection)
        if connection.closed or not events & READ:
            return
        try:
            data = connection.socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        if not data:
            # It may have closed its side only, and still wait for answers.
            connection.ending = True
            self._settle(connection)
            return
        connection.received += data
        self._take(connection)

    def _take(self, connection: _Connection) -> None:
        """All whole questions, but for those that must wait until answers are there or were read."""
        while self._take_some(connection):
            if connection.unread:
                self._flush(connection)
        self._settle(connection)

    def _take_some(self, connection: _Connection) -> bool:
        """Whether there was a whole question that could be taken."""
        received = connection.received
        start = 0
        while _takes_more(connection) and len(received) - start >= 2:
            end = start + 2 + struct.unpack_from("!H", received, start)[0]
            if end > len(received):
                break
            packet = bytes(received[start + 2 : end])
            start = end
            # Only a whole question earns more time: one byte now and then does not keep a connection.
            connection.deadline = self._loop.clock() + IDLE
            self._ask(connection, packet)
        del received[:start]
        return start > 0

    def _ask(self, connection: _Connection, packet: bytes) -> None:
        connection.asking += 1

        def reply(answer: bytes) -> None:
            connection.asking -= 1
            if not connection.closed:
                connection.unread += struct.pack("!H", len(answer)) + answer
                if later:
                    self._settle(connection)
                    if not connection.closed and len(connection.received) >= 2:
                        self._take(connection)

        later = False
        ignored = self._resolver.ignored
        self._resolver.handle(packet, reply, tcp=True, asker=connection.address)
        if self._resolver.ignored != ignored:
            connection.asking -= 1
        later = True

    def _settle(self, connection: _Connection) -> None:
        """Sends what there is, and sees what the connection may do next."""
        if not connection.closed and connection.unread:
            self._flush(connection)
        if connection.closed:
            return
        if connection.ending and not connection.asking and not connection.unread:
            self._drop(connection)
            return
        wants_more = not connection.ending and _takes_more(connection)
        events = (READ if wants_more else 0) | (WRITE if connection.unread else 0)
        if events != connection.events:
            if not connection.events:
                self._loop.register(connection.socket, events, lambda ready: self._ready(connection, ready))
            elif not events:
                self._loop.unregister(connection.socket)
            else:
                self._loop.modify(connection.socket, events, lambda ready: self._ready(connection, ready))
            connection.events = events

    def _flush(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.send(connection.unread)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        connection.unread = connection.unread[sent:]
        if not connection.unread:
            connection.deadline = self._loop.clock() + IDLE

    def _drop(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.closed = True
            self.connections.discard(connection)
            self._loop.unregister(connection.socket)
            connection.socket.close()

    def close(self) -> None:
        for connection in list(self.connections):
            self._drop(connection)
        self._loop.unregister(self._socket)
        self._socket.close()


def _takes_more(connection: _Connection) -> bool:
    """Whoever asks faster than it reads, or than others answer, is not read from for a while."""
    return not connection.closed and connection.asking < MOST_ASKING and len(connection.unread) < MOST_UNREAD
