"""UDP. The loop here is the resolver's fast path: per question one receive, one look-up, one send."""

from __future__ import annotations

import socket
from typing import Any, Optional, Tuple

from . import wire
from .access import Access
from .limits import ANSWER, SILENCE, Limiter
from .loop import READ, Loop
from .server import Resolver

BURST = 64
LONGEST = 4096
"""Bytes of a question that are read; what is longer is cut off, and then refused as malformed."""
BUFFER = 1 << 19
"""Room for about a thousand questions. With more, one that comes after a long stop would wait for all the old ones to be answered."""
_SO_RCVBUFFORCE = 33
_LOOPBACK = frozenset(("127.0.0.1", "::1"))


def _widen(sock: socket.socket) -> None:
    """Room for the questions of a moment in which we do not run; root may have more of it than others."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


class Datagrams:
    """One socket. Strangers hear REFUSED in no more bytes than they sent, or nothing with `silent`."""

    def __init__(
        self, loop: Loop, sock: socket.socket, resolver: Resolver, access: Access, *, limiter: Optional[Limiter] = None,
        silent: bool = False,
    ) -> None:
        self._socket = sock
        self._resolver = resolver
        self._access = access
        self._limiter = limiter
        self._silent = silent
        self.strangers = 0
        sock.setblocking(False)
        _widen(sock)
        loop.register(sock, READ, self._ready)

    def _ready(self, mask: int) -> None:
        """Takes what is there, but not for ever: other sockets and timers have their turn."""
        resolver = self._resolver
        receive, send = self._socket.recvfrom, self._socket.sendto
        known, codes = self._access.known, resolver.codes
        # Looking into an empty dictionary is what switches the fast path off.
        young = resolver.table.young if self._limiter is None and resolver.watcher is None else {}
        for _ in range(BURST):
            try:
                packet, source = receive(LONGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # An ICMP error of an earlier answer; the socket is still good.
            answer = young.get(packet[2:])
            if answer is None or source[0] not in known:
                self._slowly(packet, source)
                continue
            if not isinstance(answer, bytes):
                answer = answer.bytes()
            codes[answer[1]] += 1
            try:  # noqa: SIM105 - a context manager per packet costs more than the packet
                send(packet[:2] + answer, source)
            except OSError:
                pass  # The asker is gone or its queue is full: it will ask again.

    def _slowly(self, packet: bytes, source: Tuple[Any, ...]) -> None:
        if not self._access.admits(source[0]):
            self.strangers += 1
            if not self._silent and len(packet) >= 12 and not packet[2] & 0x80:
                number, flags = wire.HEAD.unpack_from(packet)[:2]
                self._send(wire.refusal(number, flags, wire.REFUSED), source)
            return
        if self._limiter is not None and source[0] not in _LOOPBACK:
            verdict = self._limiter.judge(source[0])
            if verdict == SILENCE:
                return
            if verdict != ANSWER:
                self._cut(packet, source)
                return
        self._resolver.handle(packet, lambda answer: self._send(answer, source), asker=source[0])

    def _cut(self, packet: bytes, source: Tuple[Any, ...]) -> None:
        try:
            query = wire.parse(packet)
        except (wire.Ignored, wire.Malformed):
            return
        self._send(packet[:2] + wire.head(wire.QR | wire.TC | (query.flags & wire.RD), query.question, 0), source)

    def _send(self, answer: bytes, source: Tuple[Any, ...]) -> None:
        try:
            self._socket.sendto(answer, source)
        except OSError:
            return  # The asker is gone or its queue is full: it will ask again.
