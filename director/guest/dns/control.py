"""A small web server beside the resolver, for figures and questions about itself. Pages:

* `GET /metrics`: figures for Prometheus;
* `GET /explain?name=NAME&type=TYPE`: which rule, records, health and cache would give the answer, as JSON;
* `GET /status`: records, recursors and the query log, as JSON;
* `POST /query-log?seconds=N`: writes questions to the log for so long (0 ends it).

Over TCP it serves `/metrics` alone; the rest only over a Unix socket that root may open.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

from . import metrics, wire
from .loop import READ, WRITE, Loop
from .peers.exchange import Peers
from .querylog import QueryLog

if TYPE_CHECKING:
    from .service import Service

LARGEST_REQUEST = 8192
MOST_CONNECTIONS = 16
PATIENCE = 5.0
LONGEST_LOG = 3600.0
_WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}

Page = Tuple[int, str, str]
"""Status, media type, text."""


class Control:
    """Owns its listening sockets; a connection gets one answer and is closed."""

    def __init__(self, loop: Loop, service: "Service") -> None:
        self._loop = loop
        self._service = service
        self._connections = 0
        self._log_ends: Any = None
        self._path = ""

    def listen_tcp(self, address: str, port: int) -> Tuple[str, int]:
        """OSError when the port is taken."""
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise
        self._serve(sock, local=False)
        found = sock.getsockname()
        return found[0], found[1]

    def listen_unix(self, path: str) -> None:
        """Only its owner may open it. What a killed process left there is replaced."""
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if os.path.exists(path):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(mask)
        self._path = path
        self._serve(sock, local=True)

    def close(self) -> None:
        if self._path and os.path.exists(self._path):
            os.unlink(self._path)

    def _serve(self, sock: socket.socket, *, local: bool) -> None:
        sock.listen(MOST_CONNECTIONS)
        sock.setblocking(False)
        self._loop.register(sock, READ, lambda mask: self._accept(sock, local))

    def _accept(self, sock: socket.socket, local: bool) -> None:
        try:
            accepted, _ = sock.accept()
        except OSError:
            return
        if self._connections >= MOST_CONNECTIONS:
            accepted.close()
            return
        self._connections += 1
        accepted.setblocking(False)
        _Visit(self._loop, accepted, lambda request: self._page(request, local), self._left)

    def _left(self) -> None:
        self._connections -= 1

    def _page(self, request: str, local: bool) -> Page:
        words = request.split(" ")
        if len(words) < 3:
            return 400, "text/plain", "no HTTP request\n"
        method, (path, _, rest) = words[0], words[1].partition("?")
        if path == "/metrics" and method == "GET":
            return 200, "text/plain; version=0.0.4", metrics.text(self._service)
        parameters = dict(_unquoted(pair) for pair in rest.split("&") if pair)
        pages = {("GET", "/explain"): self._explain, ("GET", "/status"): self._status, ("POST", "/query-log"): self._query_log}
        page = pages.get((method, path))
        if not local or page is None:
            return 404, "text/plain", "there is no such page\n"
        return page(parameters)

    def _explain(self, parameters: Dict[str, str]) -> Page:
        kind = wire.TYPES.get(parameters.get("type", "A").upper())
        try:
            if kind is None:
                raise ValueError("type is one of %s" % ", ".join(wire.TYPES))
            name = parameters.get("name", "")
            return _json(explain(self._service, name, kind))
        except ValueError as error:
            return 400, "text/plain", "%s\n" % error

    def _status(self, parameters: Dict[str, str]) -> Page:
        service = self._service
        records = service.source.records
        return _json({
            "records": {
                "version": records.version, "count": records.count, "problem": service.source.problem, "left_out": records.warnings,
            },
            "domains": sorted(".".join(domain) for domain in records.domains),
            "handlers": [handler.name for handler in service.resolver.chain.handlers],
            "recursors": service.forwarder.pool.tell() if service.forwarder is not None else [],
            "health": service.health.tell() if isinstance(service.health, Peers) else service.health.enabled,
            "query_log": service.resolver.watcher is not None,
        })

    def _query_log(self, parameters: Dict[str, str]) -> Page:
        try:
            seconds = min(float(parameters.get("seconds", "60")), LONGEST_LOG)
        except ValueError:
            return 400, "text/plain", "seconds is no number\n"
        self.log_queries(seconds)
        return _json({"query_log_seconds": seconds})

    def log_queries(self, seconds: float) -> None:
        """Begins, prolongs or (0) ends the query log."""
        resolver = self._service.resolver
        if self._log_ends is not None:
            self._log_ends.cancel()
            self._log_ends = None
        if isinstance(resolver.watcher, QueryLog) and seconds <= 0:
            resolver.watcher.flush()
        resolver.watcher = (resolver.watcher or QueryLog(self._loop.clock)) if seconds > 0 else None
        if seconds > 0:
            self._log_ends = self._loop.later(seconds, lambda: self.log_queries(0))


def explain(service: "Service", name: str, kind: int) -> Dict[str, Any]:
    """Why a question gets the answer that it gets. ValueError for what is no name."""
    question = (wire.encode_name(name) if name.strip(".") else b"\0") + kind.to_bytes(2, "big") + wire.IN.to_bytes(2, "big")
    query = wire.parse(wire.HEAD.pack(0, wire.RD, 1, 0, 0, 0) + question)
    chain = service.resolver.chain
    handler = chain.handler_of(query.labels)
    return {
        "name": query.name, "type": wire.type_name(kind), "zone": ".".join(chain.zone_of(query.labels)) + ".", "handler": handler.name,
        "prepared": service.resolver.table.get(query.canonical()) is not None, **handler.explain(query),
    }


class _Visit:
    """One connection: a request is read, answered, and that is all."""

    def __init__(self, loop: Loop, sock: socket.socket, page: Callable[[str], Page], left: Callable[[], None]) -> None:
        self._loop = loop
        self._socket: Optional[socket.socket] = sock
        self._page = page
        self._left = left
        self._received = b""
        self._answer = b""
        self._timer = loop.later(PATIENCE, self._end)
        loop.register(sock, READ, self._read)

    def _read(self, mask: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(LARGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        if not data or len(self._received) > LARGEST_REQUEST:
            self._end()
        elif b"\r\n\r\n" in self._received:
            status, media, text = self._page(self._received.split(b"\r\n", 1)[0].decode("latin-1"))
            body = text.encode()
            self._answer = ("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (
                status, _WORDS[status], media, len(body))).encode() + body
            self._loop.modify(self._socket, WRITE, self._write)

    def _write(self, mask: int) -> None:
        assert self._socket is not None
        try:
            self._answer = self._answer[self._socket.send(self._answer) :]
        except BlockingIOError:
            return
        except OSError:
            self._answer = b""
        if not self._answer:
            self._end()

    def _end(self) -> None:
        if self._socket is not None:
            self._timer.cancel()
            self._loop.unregister(self._socket)
            self._socket.close()
            self._socket = None
            self._left()


def _json(tree: Any) -> Page:
    return 200, "application/json", json.dumps(tree, indent=2) + "\n"


def _unquoted(pair: str) -> Tuple[str, str]:
    from urllib.parse import unquote_plus

    name, _, value = pair.partition("=")
    return unquote_plus(name), unquote_plus(value)


def get(path: str, page: str, method: str = "GET") -> Tuple[int, str]:
    """Status and text of a page of the resolver behind the Unix socket at `path`. OSError when none is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(path)
        sock.sendall(("%s %s HTTP/1.1\r\nHost: resolver\r\n\r\n" % (method, page)).encode())
        received = b""
        while True:
            data = sock.recv(65536)
            if not data:
                break
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 3:
        raise OSError("the resolver gave no answer")
    return int(words[1]), body.decode("utf-8", "replace")
