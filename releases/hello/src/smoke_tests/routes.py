"""Router: announced routes answer, routes taken back do not."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import secrets
import threading
from typing import Any, Tuple

from .checks import Config, Failed, eventually, expect
from .nats import Client


def _get(config: Config, host: str, path: str = "/") -> Tuple[int, str, str]:
    connection = http.client.HTTPConnection(config["links"]["gorouter"]["address"], config["router"]["port"], timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace"), response.getheader("X-Cf-RouterError", "")
    finally:
        connection.close()


def hello_answers_and_counts(config: Config) -> str:
    host = config["router"]["hello"]

    def visit() -> int:
        status, text, _ = _get(config, host)
        match = re.search(r"visit (\d+)", text)
        if status != 200 or not match:
            raise Failed("http://%s/ through the router: %d %s" % (host, status, text.strip()[:200]))
        return int(match.group(1))

    eventually(lambda: str(visit()), 30)
    first, second = visit(), visit()
    expect(second > first, "the visits do not grow: %d, then %d" % (first, second))
    return "http://%s/ answers through the router, visit %d" % (host, second)


def unknown_route_is_404(config: Config) -> str:
    status, _, error = _get(config, "no-such-route." + config["router"]["hello"])
    expect((status, error) == (404, "unknown_route"), "expected 404 unknown_route, got %d %s" % (status, error))
    return "a host without a route gets 404 unknown_route"


class _Server(http.server.ThreadingHTTPServer):
    """Answers every request with its text."""

    def __init__(self, address: str, text: str) -> None:
        body = text.encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__((address, 0), Handler)


def route_comes_and_goes(config: Config) -> str:
    token = secrets.token_hex(8)
    host = "smoke-%s.%s" % (token, config["router"]["hello"].partition(".")[2])
    server = _Server(config["ip"], token)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    message = json.dumps({"host": config["ip"], "port": server.server_port, "uris": [host, host + "/deep"]}).encode()

    def answers() -> str:
        status, text, _ = _get(config, host)
        expect((status, text) == (200, token), "http://%s/ through the router: %d" % (host, status))
        return ""

    def gone() -> str:
        status, _, error = _get(config, host)
        expect((status, error) == (404, "unknown_route"), "http://%s/ still gives %d" % (host, status))
        return ""

    try:
        client = Client(config["links"]["nats"]["address"], config)
        try:
            gone()
            client.publish("router.register", message)
            eventually(answers, 5, 0.1)
            client.publish("router.unregister", message)
            eventually(gone, 5, 0.1)
        finally:
            client.close()
    finally:
        server.shutdown()
        server.server_close()
    return "a route announced on the bus answers, and is gone after it is taken back"
