"""A proxy in front of a cloud that lets things go wrong: requests and answers are lost, cut off, late, or replaced by a refusal.

It passes each request once and never tries again by itself. One proxy may stand in front of several servers (`front`): loopback URLs that
answers name (service catalogs, links to operations) lead through it, too, so that a client stays behind it without knowing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import http.client
import re
import select
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cpis.conformance.certificate import self_signed

_LOOPBACK = re.compile(rb"https?://(?:127\.0\.0\.1|localhost):\d+")
_TEXT = ("json", "xml", "text", "x-www-form-urlencoded")
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection", "content-length"})
_UPSTREAM_SECONDS = 120.0
_ACTIONS = (
    re.compile(rb"(?:^|[?&])Action=(\w+)"), re.compile(rb"Body[^>]*>\s*<(?:\w+:)?(\w+)"))


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer in the cloud's place. `headers` are name and value pairs."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    `effect` tells whether the cloud gets it. Afterwards the client gets `answer`, or, when that is None, what the cloud said,
    `late_seconds` later. Of that `cut` takes away `all` (the connection is reset), `half` of the body, or nothing (empty); `spoil` makes
    another body of it.
    """

    name: str
    effect: bool = True
    answer: Answer | None = None
    late_seconds: float = 0.0
    cut: str = ""
    spoil: Callable[[bytes], bytes] | None = None

    def __post_init__(self) -> None:
        if self.cut not in ("", "all", "half"):
            raise ValueError(f"a fault cuts 'all' or 'half' of an answer, not '{self.cut}'")
        if not self.effect and self.answer is None and self.cut != "all":
            raise ValueError(f"the fault '{self.name}' has no effect, so it needs an answer or cuts all")


@dataclasses.dataclass(frozen=True)
class Request:
    """What went through. `action` is the operation that the body names, where the cloud does it that way, else empty."""

    method: str
    path: str
    action: str = ""
    body: bytes = dataclasses.field(default=b"", repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.action or self.path.partition('?')[0]}"


@dataclasses.dataclass(frozen=True)
class Rule:
    """The `fault` befalls requests number `nth` to `nth + times - 1` (from 1; `times` 0 is for ever) of those that match.

    `method` is exact, `path` and `body` are regular expressions found anywhere in the path with its query, or the body; empty matches all.
    """

    fault: Fault
    method: str = ""
    path: str = ""
    body: str = ""
    nth: int = 1
    times: int = 1

    def matches(self, request: Request) -> bool:
        return (
            self.method in ("", request.method) and re.search(self.path, request.path) is not None
            and (not self.body or re.search(self.body.encode(), request.body) is not None))

    def hits(self, number: int) -> bool:
        """Whether it befalls the match of this number."""
        return number >= self.nth and (self.times == 0 or number < self.nth + self.times)


class Proxy:
    """`front(url)` makes a listener for a server and answers its URL. `work` is a folder for the certificate of TLS listeners."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._rules: list[tuple[Rule, list[int]]] = []
        self._requests: list[Request] = []
        self._hit = 0
        self._fronts: dict[str, _Listener] = {}
        self._closed = False

    def front(self, url: str) -> str:
        """The URL under which the server at `url` (scheme, host, port; a path is kept) is reached through this proxy."""
        parts = urlsplit(url)
        base = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if self._closed:
                raise RuntimeError("the proxy is closed")
            if base not in self._fronts:
                self._fronts[base] = _Listener(self, base, self_signed(self._work) if parts.scheme == "https" else None)
            return self._fronts[base].url + url[len(base):]

    def set(self, *rules: Rule) -> None:
        """These rules from now on, counted from the beginning."""
        with self._lock:
            self._rules = [(rule, [0]) for rule in rules]
            self._hit = 0

    @property
    def hit(self) -> int:
        """How many requests were befallen since `set`."""
        with self._lock:
            return self._hit

    @property
    def requests(self) -> Sequence[Request]:
        """What went through since `forget`."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Begin to list requests anew."""
        with self._lock:
            self._requests.clear()

    def close(self) -> None:
        """End all listeners and connections."""
        with self._lock:
            self._closed = True
            fronts = list(self._fronts.values())
        for listener in fronts:
            listener.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _fault_for(self, request: Request) -> Fault | None:
        with self._lock:
            self._requests.append(request)
            chosen = None
            for rule, count in self._rules:
                if rule.matches(request):
                    count[0] += 1
                    if chosen is None and rule.hits(count[0]):
                        chosen = rule.fault
            self._hit += chosen is not None
            return chosen

    def _outward(self, body: bytes) -> bytes:
        """Loopback URLs of a server's answer, as a client behind this proxy is to see them."""
        return _LOOPBACK.sub(lambda found: self._front_of(found[0].decode()).encode(), body)

    def _front_of(self, url: str) -> str:
        with self._lock:
            if self._closed or any(listener.url == url for listener in self._fronts.values()):
                return url
        return self.front(url)

    def _inward(self, text: bytes) -> bytes:
        """Our URLs in a client's request, as the servers know them."""
        with self._lock:
            pairs = [(listener.url.encode(), base.encode()) for base, listener in self._fronts.items()]
        for ours, theirs in pairs:
            text = text.replace(ours, theirs)
        return text


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what happens here; of all else the server tells."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    proxy: Proxy
    upstream: str


class _Listener:
    """One server's front."""

    def __init__(self, proxy: Proxy, upstream: str, certificate: Path | None) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy, self._server.upstream = proxy, upstream
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: without this the second waits for the client's acknowledgement, 40 ms.
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: bodies and headers hold secrets."""

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        # http.server looks for a method of this name for each verb; here one serves all.
        setattr(self, f"do_{self.command}", self._serve)
        return parsed

    def _serve(self) -> None:
        proxy = self.server.proxy
        body = self._body()
        request = Request(self.command, self.path, _action(self.path, body), body)
        fault = proxy._fault_for(request)
        answer = None
        if fault is None or fault.effect:
            try:
                answer = self._ask(body)
            except OSError as error:
                answer = Answer(502, f"the proxy cannot reach {self.server.upstream}: {error}".encode(), content_type="text/plain")
        if fault is None:
            assert answer is not None
            self._send(answer)
            return
        if fault.late_seconds:
            self._wait(fault.late_seconds)
        if fault.cut == "all":
            self._reset()
            return
        answer = fault.answer or answer
        assert answer is not None
        if fault.spoil is not None:
            answer = dataclasses.replace(answer, body=fault.spoil(answer.body))
        self._send(answer, half=fault.cut == "half")

    def _wait(self, seconds: float) -> None:
        """Wait; not longer than the client does: a socket whose other end is closed is readable."""
        select.select([self.connection], [], [], seconds)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _ask(self, body: bytes) -> Answer:
        """The server's answer. Links in text are turned to the one side's names and the other's."""
        proxy, parts = self.server.proxy, urlsplit(self.server.upstream)
        kind = self.headers.get("Content-Type", "")
        if any(word in kind for word in _TEXT):
            body = proxy._inward(body)
        make: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
        more: dict[str, Any] = {}
        if parts.scheme == "https":
            # What stands behind a test's proxy runs on this computer, with a certificate that nobody signed.
            make, more = http.client.HTTPSConnection, {"context": ssl._create_unverified_context()}
        connection = make(parts.hostname or "", parts.port, timeout=_UPSTREAM_SECONDS, **more)
        try:
            connection.putrequest(self.command, proxy._inward(self.path.encode()).decode(), skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:  # all others may be signed
                    connection.putheader(name, value)
            connection.putheader("Connection", "close")
            if body or self.command in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            content = response.read()
            return self._translated(response, content)
        finally:
            connection.close()

    def _translated(self, response: http.client.HTTPResponse, content: bytes) -> Answer:
        proxy = self.server.proxy
        kind, packed = response.getheader("Content-Type", ""), response.getheader("Content-Encoding", "") == "gzip"
        if any(word in kind for word in _TEXT):
            content = proxy._outward(gzip.decompress(content) if packed and content else content)
        else:
            packed = False
        headers = [
            (name, proxy._outward(value.encode("latin-1")).decode("latin-1")) for name, value in response.getheaders()
            if not (packed and name.lower() == "content-encoding")]
        if self.command == "HEAD":
            return Answer(response.status, b"", tuple(headers), "")
        return Answer(response.status, content, tuple(pair for pair in headers if pair[0].lower() not in _HOP), "")

    def _send(self, answer: Answer, *, half: bool = False) -> None:
        names = {name.lower() for name, _ in answer.headers}
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.content_type and "content-type" not in names:
            self.send_header("Content-Type", answer.content_type)
        if answer.status not in (204, 304) and "content-length" not in names:
            self.send_header("Content-Length", str(max(len(answer.body), 2) if half else len(answer.body)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):  # the client may have given up
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) // 2] if half else answer.body)
            self.wfile.flush()
        self.close_connection = self.close_connection or half

    def _reset(self) -> None:
        """End the connection as a crashed server does: no answer, no farewell."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.close()


def _action(path: str, body: bytes) -> str:
    for text in (body[:4096], path.encode()):
        for pattern in _ACTIONS:
            if found := pattern.search(text):
                return found[1].decode()
    return ""


# Faults that every cloud can have

LOST_BEFORE = Fault("lost before its effect", effect=False, cut="all")
LOST_AFTER = Fault("lost after its effect", cut="all")
HALF = Fault("answer cut off", cut="half")
HTML = Answer(502, b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>", content_type="text/html")
HTML_BEFORE = Fault("502 in HTML", effect=False, answer=HTML)
HTML_AFTER = Fault("502 in HTML after its effect", answer=HTML)
PORTAL = Fault("200 in HTML", effect=False, answer=Answer(200, b"<html><title>Log in first</title></html>", content_type="text/html"))


def slow(seconds: float) -> Fault:
    """The answer comes so much later."""
    return Fault(f"slow by {seconds:g} s", late_seconds=seconds)
