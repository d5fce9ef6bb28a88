"""Questions to other servers: for each a socket, a port and an id of its own, with failover. Source: DNS contract, section 8.

What comes back is believed only if it came from the asked address and port to our port (the kernel sees to that), with our id, with our
question, and is a valid message to its last byte. Of truncated answers the whole is fetched over TCP.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

from . import message, wire
from .loop import READ, WRITE, Loop, Timer
from .message import Message
from .servers import Server, Servers

MOST_PENDING = 500
MOST_WRONG = 16
OWN_SIZE = 1232
_RETRY_PLAIN = (wire.FORMERR, wire.NOTIMP)


class Asking(NamedTuple):
    """A question as other servers are asked it. `flags` are RD and CD as the asker set them."""

    question: bytes
    flags: int
    dnssec: bool = False


Answered = Callable[[Optional[Message]], None]
"""Gets the answer, or the denial (NXDOMAIN) that some server gave, or None when none gave either."""


class Pool:
    """Some servers and how to ask them: `timeout` seconds for each, `retries` more times after network errors, `parallel` at once.

    `mixed_case` spells names at random and wants them back so, which makes answers harder to guess; some old servers cannot do it.
    """

    def __init__(
        self, loop: Loop, servers: Servers, *, timeout: float = 2.0, retries: int = 0, parallel: int = 1, mixed_case: bool = False,
    ) -> None:
        self.loop = loop
        self.servers = servers
        self.timeout = timeout
        self.retries = retries
        self.parallel = parallel
        self.mixed_case = mixed_case
        self.pending: Set[_Exchange] = set()

    def ask(self, asking: Asking, answered: Answered) -> None:
        """`answered` is called once, never before this returns."""
        order = self.servers.order()
        if not order or len(self.pending) >= MOST_PENDING:
            self.loop.later(0.0, lambda: answered(None))
            return
        exchange = _Exchange(self, asking, order, answered)
        self.pending.add(exchange)
        exchange.begin()

    def tell(self) -> List[Dict[str, Any]]:
        return self.servers.tell()

    def close(self) -> None:
        for exchange in list(self.pending):
            exchange.drop()


class _Exchange:
    """One question: the servers still to ask, those being asked, and the denial that was heard."""

    def __init__(self, pool: Pool, asking: Asking, servers: List[Server], answered: Answered) -> None:
        self.pool = pool
        self.asking = asking
        self._left = [server for server in servers for _ in range(1 + pool.retries)]
        self._answered = answered
        self._running: List[_Attempt] = []
        self._denial: Optional[Message] = None

    def begin(self) -> None:
        # On the next turn: nothing of an exchange happens within the question that began it.
        self.pool.loop.later(0.0, self._fill)

    def _fill(self) -> None:
        while self._left and len(self._running) < self.pool.parallel:
            server = self._left.pop(0)
            if self._denial is not None and self.pool.servers.rests(server):
                continue  # There is an answer already; it does not wait for one who was silent a moment ago.
            attempt = _Attempt(self, server)
            self._running.append(attempt)
            if not attempt.start():
                self._running.remove(attempt)
        if not self._running:
            self._end(self._denial)

    def failed(self, attempt: "_Attempt", *, reachable: bool) -> None:
        """On to the next. A server that answered, only not usefully, is not asked once more."""
        if reachable:
            self._left = [server for server in self._left if server != attempt.server]
        self._running.remove(attempt)
        self._fill()

    def denied(self, attempt: "_Attempt", answer: Message) -> None:
        self._denial = self._denial or answer
        self.failed(attempt, reachable=True)

    def succeeded(self, answer: Message) -> None:
        self._end(answer)

    def _end(self, answer: Optional[Message]) -> None:
        self.drop()
        self._answered(answer)

    def drop(self) -> None:
        self.pool.pending.discard(self)
        self._left = []
        for attempt in self._running:
            attempt.close()
        self._running = []


class _Attempt:
    """One server being asked, over UDP and then perhaps over TCP."""

    def __init__(self, exchange: _Exchange, server: Server) -> None:
        self.server = server
        self._exchange = exchange
        self._pool = exchange.pool
        self._loop = exchange.pool.loop
        self._socket: Optional[socket.socket] = None
        self._timer: Optional[Timer] = None
        self._began = 0.0
        self._edns = True
        self._number = b""
        self._question = exchange.asking.question
        self._to_send = b""
        self._received = b""
        self._wrong = 0
        self._truncated: Optional[Message] = None

    def start(self) -> bool:
        """False when not even a packet could be sent; that is remembered of the server."""
        try:
            self._over_udp()
        except OSError:
            self.close()
            self._pool.servers.failed(self.server, self._pool.timeout)
            return False
        return True

    def _packet(self) -> bytes:
        asking = self._exchange.asking
        self._number = os.urandom(2)
        self._question = _mixed(asking.question) if self._pool.mixed_case else asking.question
        opt = wire.opt_record(OWN_SIZE, wire.DO if asking.dnssec else 0) if self._edns else b""
        return self._number + struct.pack("!HHHHH", asking.flags, 1, 0, 0, int(self._edns)) + self._question + opt

    def _open(self, kind: int) -> socket.socket:
        self.close()
        self._socket = sock = socket.socket(socket.AF_INET6 if ":" in self.server[0] else socket.AF_INET, kind)
        sock.setblocking(False)
        self._began = self._loop.clock()
        self._timer = self._loop.later(self._pool.timeout, self._silent)
        return sock

    def _over_udp(self) -> None:
        sock = self._open(socket.SOCK_DGRAM)
        # Connected: the kernel drops what comes from any other address or port, and chooses our port at random.
        sock.connect(self.server)
        sock.send(self._packet())
        self._loop.register(sock, READ, lambda mask: self._datagrams(sock))

    def _over_tcp(self) -> None:
        packet = self._packet()
        self._to_send = struct.pack("!H", len(packet)) + packet
        self._received = b""
        try:
            sock = self._open(socket.SOCK_STREAM)
            sock.connect_ex(self.server)
        except OSError:
            self._give_up()
            return
        self._loop.register(sock, WRITE, lambda mask: self._write(sock))

    def _datagrams(self, sock: socket.socket) -> None:
        while self._socket is sock:
            try:
                packet = sock.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                self._give_up()  # Nobody listens there.
                return
            if not self._judge(packet):
                self._wrong += 1
                if self._wrong >= MOST_WRONG:
                    # Somebody is guessing. Over TCP guessing is of no use.
                    self._over_tcp()

    def _write(self, sock: socket.socket) -> None:
        try:
            self._to_send = self._to_send[sock.send(self._to_send) :]
        except BlockingIOError:
            return
        except OSError:
            self._give_up()
            return
        if not self._to_send:
            self._loop.modify(sock, READ, lambda mask: self._stream(sock))

    def _stream(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        size = struct.unpack_from("!H", self._received)[0] if len(self._received) >= 2 else 65536
        if len(self._received) >= 2 + size:
            if not self._judge(self._received[2 : 2 + size], tcp=True):
                self._give_up()
        elif not data:
            self._give_up()

    def _judge(self, packet: bytes, tcp: bool = False) -> bool:
        """Whether it is the asked server's answer to our question; if so, it is dealt with."""
        if packet[:2] != self._number:
            return False
        try:
            answer = message.read(packet)
        except ValueError:
            return False
        code = answer.code
        if answer.flags & wire.OPCODE or not self._is_ours(answer):
            return False
        self._pool.servers.answered(self.server, self._loop.clock() - self._began)
        if code in _RETRY_PLAIN and self._edns and not tcp:
            self._edns = False  # Perhaps a server that has never heard of EDNS.
            if not self.start():
                self._exchange.failed(self, reachable=False)
        elif answer.flags & wire.TC and not tcp:
            self._truncated = answer if code == wire.NOERROR else None
            self._over_tcp()
        elif code == wire.NOERROR:
            self._exchange.succeeded(answer)
        elif code == wire.NXDOMAIN and answer.question:
            self.close()
            self._exchange.denied(self, answer)
        else:
            self.close()
            self._exchange.failed(self, reachable=True)
        return True

    def _is_ours(self, answer: Message) -> bool:
        """Whether it is about our question, in our spelling if that was mixed. Servers that refuse may leave the question out."""
        if not answer.question:
            return answer.code != wire.NOERROR
        if self._pool.mixed_case:
            return answer.question == self._question
        return wire.lowered(answer.question) == wire.lowered(self._question)

    def _silent(self) -> None:
        self._timer = None
        self._give_up()

    def _give_up(self) -> None:
        """The server cannot be reached, or not over TCP: then a truncated answer is better than none."""
        seconds = self._loop.clock() - self._began
        self.close()
        if self._truncated is not None:
            self._exchange.succeeded(self._truncated)
            return
        self._pool.servers.failed(self.server, seconds)
        self._exchange.failed(self, reachable=False)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._loop.unregister(self._socket)
            self._socket.close()
            self._socket = None


def _mixed(question: bytes) -> bytes:
    """The same name with the case of each letter thrown like a coin."""
    name = bytes([byte ^ 0x20 if 0x61 <= byte | 0x20 <= 0x7A and random.getrandbits(1) else byte for byte in question[:-4]])
    return name + question[-4:]
