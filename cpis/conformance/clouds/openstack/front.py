"""One address in front of all services, `/<service>/...` for each: counts requests, and gives fault proxies something to stand before."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "expect"}
_BLOCK = 1 << 16

log = logging.getLogger("cpis")


class Front:
    """`ports` are those of the services by name. `latency` is added to each request that changes something."""

    def __init__(self, ports: Mapping[str, int], latency: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._seen: list[tuple[str, str]] = []
        self.latency = latency
        front = self

        class Handler(_Handler):
            targets = ports
            owner = front

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="openstack-front", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def saw(self, method: str, path: str) -> None:
        with self._lock:
            self._seen.append((method, path))

    def requests(self) -> list[tuple[str, str]]:
        with self._lock:
            return list(self._seen)

    def forget(self) -> None:
        with self._lock:
            self._seen.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    targets: Mapping[str, int] = {}
    owner: Front

    def _pass(self) -> None:
        service, _, rest = self.path.lstrip("/").partition("/")
        port = self.targets.get(service)
        self.owner.saw(self.command, self.path)
        if port is None:
            self.send_error(404)
            return
        if self.owner.latency and self.command not in ("GET", "HEAD"):
            time.sleep(self.owner.latency)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.putrequest(self.command, f"/{rest}", skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", f"127.0.0.1:{port}")
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            self._send_body(connection)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            log.warning("front: %s %s: %r", self.command, self.path, error)
            self.close_connection = True
            return
        finally:
            connection.close()
        try:
            self._send_answer(answer, content)
        except ConnectionError:  # the client gave up waiting
            self.close_connection = True

    def _send_answer(self, answer: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _pass

    def _send_body(self, connection: http.client.HTTPConnection) -> None:
        """Passed on as it comes, in chunks: images may be large."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            connection.putheader("Content-Length", str(length))
            connection.endheaders(self.rfile.read(length) if length else None)
            return
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for block in self._chunks():
            connection.send(b"%x\r\n%s\r\n" % (len(block), block))
        connection.send(b"0\r\n\r\n")

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            while size:
                block = self.rfile.read(min(size, _BLOCK))
                size -= len(block)
                yield block
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, format: str, *arguments: object) -> None:
        """The count is enough."""
