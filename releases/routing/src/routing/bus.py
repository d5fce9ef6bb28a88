"""A NATS client that fits on a page: one connection over TLS, no threads, the caller polls.

Source: the NATS client protocol (INFO, CONNECT, PUB, SUB, MSG, PING, PONG, -ERR).
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from typing import List, NamedTuple, Optional, Sequence, Tuple

PING_INTERVAL = 30.0
MAX_LINE = 1 << 16


class BusError(Exception):
    """The bus cannot be reached, refused us or broke off; connect again."""


class Message(NamedTuple):
    subject: str
    reply: str
    data: bytes


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Trusts that authority alone and checks the server's name."""
    return ssl.create_default_context(cafile=ca_file)


class Bus:
    """A connection to the first reachable of `servers` (host, port); names are looked up at each `connect`."""

    def __init__(
        self, servers: Sequence[Tuple[str, int]], user: str, password: str, context: ssl.SSLContext, name: str, timeout: float = 5.0
    ) -> None:
        self._servers = list(servers)
        self._login = {"user": user, "pass": password}
        self._context = context
        self._name = name
        self._timeout = timeout
        self._socket: Optional[ssl.SSLSocket] = None
        self._buffer = b""
        self._queue: List[Message] = []
        self._subscriptions: List[str] = []
        self._heard = 0.0
        self._pinged = 0.0

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> None:
        """Connects, logs in and subscribes again to all subjects. Raises BusError when no server lets us in."""
        self.close()
        problems: List[str] = []
        for host, port, address in self._addresses(problems):
            try:
                self._open(host, port, address)
                return
            except (OSError, ValueError, BusError) as error:
                self.close()
                problems.append("%s:%d: %s" % (address, port, error))
        raise BusError("no NATS server reachable: " + "; ".join(problems))

    def _addresses(self, problems: List[str]) -> List[Tuple[str, int, str]]:
        found: List[Tuple[str, int, str]] = []
        for host, port in self._servers:
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                problems.append("%s: %s" % (host, error))
                continue
            found.extend((host, port, str(info[4][0])) for info in infos)
        random.shuffle(found)
        return found

    def _open(self, host: str, port: int, address: str) -> None:
        plain = socket.create_connection((address, port), timeout=self._timeout)
        try:
            greeting = b""
            while b"\r\n" not in greeting:
                # One byte at a time: what follows the line belongs to the TLS handshake.
                byte = plain.recv(1)
                if not byte or len(greeting) > MAX_LINE:
                    raise BusError("the server sent no greeting")
                greeting += byte
            if not greeting.startswith(b"INFO "):
                raise BusError("the server is no NATS server")
            if not json.loads(greeting[5:]).get("tls_required"):
                raise BusError("the server offers no TLS")
            self._socket = self._context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        options = {"verbose": False, "pedantic": False, "tls_required": True, "lang": "python", "version": "1", "name": self._name}
        self._buffer = b""
        self._send(b"CONNECT " + json.dumps({**options, **self._login}).encode() + b"\r\nPING\r\n")
        self._await_pong()
        for number, subject in enumerate(self._subscriptions, 1):
            self._send(b"SUB %s %d\r\n" % (subject.encode(), number))

    def _await_pong(self) -> None:
        deadline = time.monotonic() + self._timeout
        self._heard = 0.0
        while not self._heard:
            if time.monotonic() > deadline:
                raise BusError("no answer to the login in %g s" % self._timeout)
            self._read(0.5)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def subscribe(self, subject: str) -> None:
        """Wildcards as in NATS. The subscription outlives reconnects."""
        self._subscriptions.append(subject)
        if self._socket is not None:
            self._send(b"SUB %s %d\r\n" % (subject.encode(), len(self._subscriptions)))

    def publish(self, subject: str, data: bytes) -> None:
        self._send(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(data), data))

    def flush(self) -> None:
        """Returns once the server has taken in all that was published before."""
        self._send(b"PING\r\n")
        self._await_pong()

    def receive(self, timeout: float) -> List[Message]:
        """All messages that came, waiting `timeout` seconds for the first. Raises BusError when the connection is gone."""
        if not self._queue:
            self._read(timeout)
        self._keep_alive()
        messages, self._queue = self._queue, []
        return messages

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now - self._heard > 3 * PING_INTERVAL:
            raise self._broken("silent for %g s" % (now - self._heard))
        if now - max(self._heard, self._pinged) > PING_INTERVAL:
            self._pinged = now
            self._send(b"PING\r\n")

    def _broken(self, why: str) -> BusError:
        self.close()
        return BusError("the connection to NATS broke: %s" % why)

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise BusError("not connected to NATS")
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(data)
        except OSError as error:
            raise self._broken(str(error)) from error

    def _read(self, timeout: float) -> None:
        if self._socket is None:
            raise BusError("not connected to NATS")
        try:
            self._socket.settimeout(max(timeout, 0.001))
            data = self._socket.recv(65536)
        except (socket.timeout, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise self._broken(str(error)) from error
        if not data:
            raise self._broken("closed by the server")
        self._buffer += data
        self._parse()

    def _parse(self) -> None:
        while b"\r\n" in self._buffer:
            line, rest = self._buffer.split(b"\r\n", 1)
            if line.startswith(b"MSG "):
                words = line.decode("utf-8", "replace").split()
                size = int(words[-1])
                if len(rest) < size + 2:
                    return
                self._queue.append(Message(words[1], words[3] if len(words) == 5 else "", rest[:size]))
                rest = rest[size + 2 :]
            elif line == b"PING":
                self._send(b"PONG\r\n")
            elif line == b"PONG":
                self._heard = time.monotonic()
            elif line.startswith(b"-ERR"):
                raise self._broken(line.decode("utf-8", "replace"))
            self._buffer = rest
        if len(self._buffer) > (1 << 24):
            raise self._broken("a message without end")
