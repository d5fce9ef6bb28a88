"""Questions to other servers: one socket, port and id each, with failover. Source: DNS contract, section 8.

Deviation: when no recursor gives an answer, the asker hears NXDOMAIN only if a recursor said so, else SERVFAIL. The reference says
NXDOMAIN for both, and applications then take a cut cable for "does not exist".
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import selectors
import socket
import struct
from typing import Callable, List, Optional, Sequence, Set, Tuple

from . import wire

Server = Tuple[str, int]
Reply = Callable[[bytes], None]
MOST_PENDING = 1000


class _Pending:
    """One question on its way: the recursors still to ask, and the socket to the one being asked."""

    def __init__(self, packet: bytes, query: wire.Query, reply: Reply, tcp: bool, servers: List[Server]) -> None:
        self.packet = packet
        self.query = query
        self.reply = reply
        self.tcp = tcp
        self.servers = servers
        self.asked: Optional[Server] = None
        self.socket: Optional[socket.socket] = None
        self.sent = b""
        self.received = b""
        self.number = b""
        self.deadline = 0.0
        self.denial: Optional[bytes] = None


class Upstream:
    """Asks without blocking: `selector` tells when an answer is there, `tick` when to give up waiting."""

    def __init__(
        self, selector: selectors.BaseSelector, clock: Callable[[], float], servers: Sequence[Server], *, timeout: float = 2.0,
        smart: bool = True,
    ) -> None:
        self._selector = selector
        self._clock = clock
        self._servers = list(servers)
        self._timeout = timeout
        self._smart = smart
        self._first = 0
        self._pending: Set[_Pending] = set()

    def use(self, servers: Sequence[Server]) -> None:
        """From now on these; questions on their way are not touched."""
        if list(servers) != self._servers:
            self._servers, self._first = list(servers), 0

    def ask(self, packet: bytes, query: wire.Query, reply: Reply, *, tcp: bool) -> None:
        """`reply` gets exactly one answer, now or later."""
        order = self._servers[self._first :] + self._servers[: self._first]
        pending = _Pending(packet, query, reply, tcp, order)
        if len(self._pending) >= MOST_PENDING or not order:
            self._give_up(pending)
            return
        self._pending.add(pending)
        self._next(pending)

    def _next(self, pending: _Pending) -> None:
        self._close(pending)
        while pending.servers:
            pending.asked = pending.servers.pop(0)
            try:
                self._send(pending, pending.asked)
                return
            except OSError:
                self._close(pending)
        self._give_up(pending)

    def _send(self, pending: _Pending, server: Server) -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        pending.socket = socket.socket(family, socket.SOCK_STREAM if pending.tcp else socket.SOCK_DGRAM)
        pending.socket.setblocking(False)
        pending.number = os.urandom(2)
        pending.received = b""
        pending.deadline = self._clock() + self._timeout
        question = pending.number + pending.packet[2:]
        if pending.tcp:
            pending.sent = struct.pack("!H", len(question)) + question
            pending.socket.connect_ex(server)
            self._selector.register(pending.socket, selectors.EVENT_WRITE, lambda mask: self._write(pending))
        else:
            # Connected: the kernel drops what comes from any other address or port.
            pending.socket.connect(server)
            pending.socket.send(question)
            self._selector.register(pending.socket, selectors.EVENT_READ, lambda mask: self._read_datagram(pending))

    def _write(self, pending: _Pending) -> None:
        assert pending.socket is not None
        try:
            sent = pending.socket.send(pending.sent)
        except BlockingIOError:
            return
        except OSError:
            self._next(pending)
            return
        pending.sent = pending.sent[sent:]
        if not pending.sent:
            self._selector.modify(pending.socket, selectors.EVENT_READ, lambda mask: self._read_stream(pending))

    def _read_datagram(self, pending: _Pending) -> None:
        assert pending.socket is not None
        try:
            answer = pending.socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            self._next(pending)
            return
        self._judge(pending, answer)

    def _read_stream(self, pending: _Pending) -> None:
        assert pending.socket is not None
        try:
            data = pending.socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._next(pending)
            return
        pending.received += data
        if len(pending.received) >= 2:
            size = struct.unpack_from("!H", pending.received)[0]
            if len(pending.received) >= 2 + size:
                self._judge(pending, pending.received[2 : 2 + size])

    def _judge(self, pending: _Pending, answer: bytes) -> None:
        asked = pending.query.question
        flags = struct.unpack_from("!H", answer, 2)[0] if len(answer) >= 12 else 0
        if answer[:2] != pending.number or not flags & wire.QR:
            if pending.tcp:
                self._next(pending)
            return
        code = flags & 0xF
        matches = answer[12 : 12 + len(asked)].lower() == asked.lower()
        if code == wire.NOERROR and not matches:
            # Another question's answer: spoofed or late. The right one may still come.
            return
        if code != wire.NOERROR:
            if code == wire.NXDOMAIN and matches:
                pending.denial = answer
            self._next(pending)
            return
        if self._smart and pending.asked in self._servers:
            self._first = self._servers.index(pending.asked)
        self._finish(pending, pending.packet[:2] + answer[2:])

    def tick(self) -> None:
        """Goes on to the next recursor where the asked one was silent for too long."""
        now = self._clock()
        for pending in [pending for pending in self._pending if pending.deadline <= now]:
            self._next(pending)

    def _give_up(self, pending: _Pending) -> None:
        if pending.denial is not None:
            self._finish(pending, pending.packet[:2] + pending.denial[2:])
            return
        flags = wire.QR | (pending.query.flags & wire.RD) | wire.RA | wire.SERVFAIL
        self._finish(pending, pending.packet[:2] + wire.head(flags, pending.query.question, 0))

    def _finish(self, pending: _Pending, answer: bytes) -> None:
        self._close(pending)
        self._pending.discard(pending)
        pending.reply(answer)

    def _close(self, pending: _Pending) -> None:
        if pending.socket is not None:
            # It may have failed before it was registered.
            with contextlib.suppress(KeyError):
                self._selector.unregister(pending.socket)
            pending.socket.close()
        pending.socket = None

    def close(self) -> None:
        for pending in list(self._pending):
            self._close(pending)
        self._pending.clear()


def server_of(text: str) -> Server:
    """`ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`. ValueError for anything else."""
    try:
        return str(ipaddress.ip_address(text.strip("[]"))), 53
    except ValueError:
        address, _, port = text.rpartition(":")
        try:
            return str(ipaddress.ip_address(address.strip("[]"))), int(port)
        except ValueError:
            raise ValueError("Invalid IP address %s" % text) from None
