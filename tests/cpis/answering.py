"""A server on this computer that answers as a test says: for whatever gives out credentials."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit


class Answerer(Protocol):
    """`hang` is set when the server ends, for answers that wait for it."""

    hang: threading.Event

    def answer(self, method: str, path: str, form: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any]:
        """`form` is the form, the JSON or the query; names of headers are in lower case. Status and body: text, or what becomes JSON."""


Who = TypeVar("Who", bound=Answerer)


@contextlib.contextmanager
def answering(make: Callable[[str], Who], pem: Path | None = None) -> Iterator[Who]:
    """Who answers, made with the server's URL, until the block ends; over TLS with this certificate and key."""
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            url = urlsplit(self.path)
            form = json.loads(body) if body.startswith("{") else {key: value[0] for key, value in parse_qs(body or url.query).items()}
            status, answer = who.answer(self.command, url.path, form, {key.lower(): value for key, value in self.headers.items()})
            text = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        do_GET = do_PUT = do_POST = _any

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        who = make(f"http{'s' if pem else ''}://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield who
        finally:
            who.hang.set()
            server.shutdown()
            thread.join()
