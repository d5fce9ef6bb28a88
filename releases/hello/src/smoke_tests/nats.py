"""NATS: what is published at one server arrives at another."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
from typing import Any, Dict, Iterator, List, Tuple

from .checks import Config, Failed, expect


class Client:
    """One connection to one server; any failure is an OSError or Failed."""

    def __init__(self, host: str, config: Config) -> None:
        nats = config["nats"]
        plain = socket.create_connection((host, nats["port"]), timeout=5)
        info = b""
        while not info.endswith(b"\r\n"):
            byte = plain.recv(1)
            if not byte:
                raise Failed("%s closed the connection before its greeting" % host)
            info += byte
        self._socket = ssl.create_default_context(cafile=nats["ca_file"]).wrap_socket(plain, server_hostname=host)
        self._file = self._socket.makefile("rb")
        self.info: Dict[str, Any] = json.loads(info.split(b" ", 1)[1])
        options = {"verbose": False, "tls_required": True, "user": nats["user"], "pass": nats["password"], "name": "smoke-tests"}
        self.send(b"CONNECT " + json.dumps(options).encode())
        self._messages: List[bytes] = []
        self.settle()

    def send(self, line: bytes) -> None:
        self._socket.sendall(line + b"\r\n")

    def publish(self, subject: str, body: bytes) -> None:
        self.send(b"PUB %s %d\r\n%s" % (subject.encode(), len(body), body))
        self.settle()

    def settle(self) -> None:
        """Returns once the server has dealt with all that was sent."""
        self.send(b"PING")
        for word, body in self._lines(5):
            if word == b"MSG":
                self._messages.append(body)
            if word == b"PONG":
                return
        raise Failed("no answer in 5 s")

    def wait(self, seconds: float) -> bytes:
        """The body of the next message."""
        if self._messages:
            return self._messages.pop(0)
        for word, body in self._lines(seconds):
            if word == b"MSG":
                return body
        raise Failed("no message in %g s" % seconds)

    def _lines(self, seconds: float) -> Iterator[Tuple[bytes, bytes]]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                line = self._file.readline()
            except socket.timeout:
                return
            words = line.split()
            if not words:
                raise Failed("the server closed the connection")
            if words[0] == b"-ERR":
                raise Failed("the server says %s" % line.decode("utf-8", "replace").strip())
            if words[0] == b"PING":
                self.send(b"PONG")
            body = self._file.read(int(words[-1]) + 2)[:-2] if words[0] == b"MSG" else b""
            yield words[0], body

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def message_crosses_the_cluster(config: Config) -> str:
    hosts = config["links"]["nats"]["instances"]
    clients: List[Tuple[str, Client]] = []
    subject, token = "smoke." + secrets.token_hex(8), secrets.token_bytes(16).hex().encode()
    try:
        clients.extend((host, Client(host, config)) for host in hosts)
        for _, client in clients:
            client.send(b"SUB %s 1" % subject.encode())
            client.settle()
        # Interest travels between the servers after the answer to the subscriber.
        time.sleep(0.2)
        clients[0][1].publish(subject, token)
        for host, client in clients:
            expect(client.wait(3) == token, "%s delivered another message" % host)
    finally:
        for _, client in clients:
            client.close()
    return "a message published at one server was received at %d" % len(clients)
