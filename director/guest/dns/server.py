"""Sockets: questions in, answers out, one thread. Source: DNS contract, sections 6 and 7."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from typing import Callable, Dict, List, Optional, Set, Tuple

from . import wire
from .answer import Prepared
from .cache import Cache
from .local import Answer, Local
from .upstream import Reply, Server, Upstream

TICK = 0.2
BURST = 64
MOST_PREPARED = 4096
MOST_CONNECTIONS = 200
CONNECTION_IDLE = 5.0
MOST_WAITING = 1 << 18


class _Connection:
    """A TCP client: questions may follow each other without waiting for answers."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.socket = sock
        self.received = b""
        self.waiting = b""
        self.deadline = now + CONNECTION_IDLE
        self.asking = 0
        self.closed = False


class Resolver:
    """Answers one packet at a time. `local` may be replaced at any time; answers given before are then built anew."""

    def __init__(self, local: Local, upstream: Optional[Upstream], cache: Optional[Cache] = None) -> None:
        self._local = local
        self._upstream = upstream
        self._cache = cache
        self._prepared: Dict[bytes, Prepared] = {}

    @property
    def local(self) -> Local:
        return self._local

    def replace(self, local: Local) -> None:
        self._local = local
        self.forget()

    def forget(self) -> None:
        """To be called when health changed: it is part of the prepared answers."""
        self._prepared.clear()

    def handle(self, packet: bytes, reply: Reply, *, tcp: bool) -> None:
        """Calls `reply` once, now or later, or never when no answer is due."""
        key = packet[2:] if not tcp else b"t" + packet[2:]
        prepared = self._prepared.get(key)
        if prepared is not None:
            reply(prepared.bytes_for(packet[:2]))
            return
        try:
            query = wire.parse(packet)
        except wire.Ignored:
            return
        except wire.Malformed as error:
            reply(error.packet)
            return
        answer = self._local.answer(query.labels, query.type) if query.klass in (wire.IN, wire.ANY) else Answer(wire.REFUSED, 0)
        if answer is None and self._upstream is None:
            answer = Answer(wire.REFUSED, 0, edns=False)
        if answer is None:
            self._forward(packet, query, reply, tcp)
            return
        prepared = Prepared(query, answer, limit=wire.TCP_LIMIT if tcp else query.limit, udp=not tcp)
        if len(self._prepared) >= MOST_PREPARED:
            self._prepared.clear()
        self._prepared[key] = prepared
        reply(prepared.bytes_for(packet[:2]))

    def _forward(self, packet: bytes, query: wire.Query, reply: Reply, tcp: bool) -> None:
        assert self._upstream is not None
        limit = wire.TCP_LIMIT if tcp else query.limit
        cached = self._cache.get(packet, query) if self._cache is not None and query.flags & wire.RD else None
        if cached is not None:
            reply(_cut(cached, query, limit))
            return

        def arrived(answer: bytes) -> None:
            if self._cache is not None:
                self._cache.put(packet, query, answer)
            reply(_cut(answer, query, limit))

        self._upstream.ask(packet, query, arrived, tcp=tcp)


def _cut(answer: bytes, query: wire.Query, limit: int) -> bytes:
    """The answer, or when it is too long only its head, marked as truncated: the asker comes back over TCP."""
    if len(answer) <= limit:
        return answer
    flags = struct.unpack_from("!H", answer, 2)[0] | wire.TC
    return answer[:2] + wire.head(flags, query.question, 0)


class Loop:
    """Owns the sockets. `turn` waits for at most a tick and deals with what came."""

    def __init__(
        self, resolver: Resolver, selector: selectors.BaseSelector, upstream: Optional[Upstream], *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._selector = selector
        self._upstream = upstream
        self._clock = clock
        self._listeners: List[socket.socket] = []
        self._connections: Set[_Connection] = set()
        self._ticked = 0.0

    def listen(self, server: Server) -> Tuple[str, int]:
        """Takes UDP and TCP of one address; port 0 takes any free one. Returns what was taken. OSError when it is somebody else's."""
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        stream = socket.socket(family, socket.SOCK_STREAM)
        datagram = socket.socket(family, socket.SOCK_DGRAM)
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.bind(server)
            datagram.bind(stream.getsockname())
            stream.listen(128)
        except OSError:
            stream.close()
            datagram.close()
            raise
        for sock in (stream, datagram):
            sock.setblocking(False)
            self._listeners.append(sock)
        self._selector.register(datagram, selectors.EVENT_READ, lambda mask: self._datagrams(datagram))
        self._selector.register(stream, selectors.EVENT_READ, lambda mask: self._accept(stream))
        address = stream.getsockname()
        return address[0], address[1]

    def turn(self) -> None:
        for key, mask in self._selector.select(TICK):
            key.data(mask)
        now = self._clock()
        if now - self._ticked >= TICK or now < self._ticked:
            self._ticked = now
            if self._upstream is not None:
                self._upstream.tick()
            for connection in [connection for connection in self._connections if connection.deadline < now]:
                self._drop(connection)

    def _datagrams(self, sock: socket.socket) -> None:
        handle, send = self._resolver.handle, sock.sendto
        for _ in range(BURST):
            try:
                packet, source = sock.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # An ICMP error of an earlier answer; the socket is still good.

            def reply(answer: bytes, source: Tuple[str, int] = source) -> None:
                try:  # noqa: SIM105 - a context manager per packet costs more than the packet
                    send(answer, source)
                except OSError:
                    pass  # The asker is gone or its queue is full: it will ask again.

            handle(packet, reply, tcp=False)

    def _accept(self, sock: socket.socket) -> None:
        try:
            accepted, _ = sock.accept()
        except OSError:
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            accepted.close()
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(accepted, self._clock())
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, lambda mask: self._serve(connection, mask))

    def _serve(self, connection: _Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush(connection)
        if connection.closed or not mask & selectors.EVENT_READ:
            return
        try:
            data = connection.socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        connection.received += data
        while len(connection.received) >= 2 and not connection.closed:
            size = struct.unpack_from("!H", connection.received)[0]
            if len(connection.received) < 2 + size:
                break
            packet, connection.received = connection.received[2 : 2 + size], connection.received[2 + size :]
            # Only a whole question earns more time: one byte now and then does not keep a connection.
            connection.deadline = self._clock() + CONNECTION_IDLE
            self._resolver.handle(packet, lambda answer: self._answer(connection, answer), tcp=True)

    def _answer(self, connection: _Connection, answer: bytes) -> None:
        if connection.closed:
            return
        connection.waiting += struct.pack("!H", len(answer)) + answer
        connection.deadline = self._clock() + CONNECTION_IDLE
        if len(connection.waiting) > MOST_WAITING:
            self._drop(connection)
            return
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.send(connection.waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        connection.waiting = connection.waiting[sent:]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.waiting else 0)
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, lambda mask: self._serve(connection, mask))

    def _drop(self, connection: _Connection) -> None:
        if connection.closed:
            return
        connection.closed = True
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def close(self) -> None:
        for connection in list(self._connections):
            self._drop(connection)
        for sock in self._listeners:
            self._selector.unregister(sock)
            sock.close()
        self._listeners = []
