"""The proxy passes each request once, and lets happen to it what it is told."""

from __future__ import annotations

import gzip
import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from cpis.conformance import proxy as faulty
from cpis.conformance.certificate import self_signed
from cpis.conformance.proxy import Answer, Fault, Proxy, Rule


class Server:
    """Answers what it was asked, and counts."""

    def __init__(self, certificate: Path | None = None) -> None:
        seen = self.seen = list[tuple[str, str, bytes]]()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    raise AssertionError("the proxy passes whole bodies")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen.append((self.command, self.path, body))
                link = f"{server.url}/next".encode()
                self.send_response_only(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Azure-AsyncOperation", link.decode())
                text = b'{"link": "' + link + b'", "body": "' + body + b'"}'
                if "gzip" in self.headers.get("Accept-Encoding", ""):
                    self.send_header("Content-Encoding", "gzip")
                    text = gzip.compress(text)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(tmp_path / "proxy") as proxy:
        yield proxy


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
def test_requests_pass_once(server: Server, proxy: Proxy, method: str) -> None:
    url = proxy.front(server.url)
    answer = requests.request(method, f"{url}/a/b?c=d", data=b"text" if method != "HEAD" else None, timeout=5)
    assert answer.status_code == 200
    assert server.seen == [(method, "/a/b?c=d", b"" if method == "HEAD" else b"text")]
    assert [(request.method, request.path) for request in proxy.requests] == [(method, "/a/b?c=d")]


def test_links_stay_behind_the_proxy(server: Server, proxy: Proxy) -> None:
    """Both ways: the client sees our names, the server its own."""
    url = proxy.front(f"{server.url}/base")
    assert url.endswith("/base")
    front = url.removesuffix("/base")
    answer = requests.post(url, json={"source": f"{front}/disk"}, timeout=5)
    assert answer.headers["Azure-AsyncOperation"] == f"{front}/next"
    assert server.url not in answer.text
    assert f"{server.url}/disk".encode() in server.seen[0][2]


def test_other_servers_that_an_answer_names_are_fronted(server: Server, proxy: Proxy) -> None:
    """As OpenStack's catalog does: a server that only an answer names."""
    other = Server()
    try:
        text = {"Content-Type": "text/plain"}
        answer = requests.post(proxy.front(server.url), data=f"see {other.url}/v3", headers=text, timeout=5)
        link = answer.json()["body"].removeprefix("see ")
        assert not link.startswith(other.url)
        assert requests.get(link, timeout=5).status_code == 200
        assert other.seen == [("GET", "/v3", b"")]
    finally:
        other.close()


def test_chunked_bodies_arrive_whole(server: Server, proxy: Proxy) -> None:
    def parts() -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    requests.put(proxy.front(server.url), data=parts(), timeout=5)
    assert server.seen[0][2] == b"onetwo"


def test_a_server_that_is_gone_is_a_bad_gateway(server: Server, proxy: Proxy) -> None:
    url = proxy.front("http://127.0.0.1:1")
    assert requests.get(url, timeout=5).status_code == 502


LOST = [(faulty.LOST_BEFORE, 0, requests.ConnectionError), (faulty.LOST_AFTER, 1, requests.ConnectionError),
        (faulty.HALF, 1, requests.exceptions.ChunkedEncodingError)]


@pytest.mark.parametrize(("fault", "effects", "error"), LOST, ids=lambda value: getattr(value, "name", ""))
def test_lost_answers(server: Server, proxy: Proxy, fault: Fault, effects: int, error: type[Exception]) -> None:
    url = proxy.front(server.url)
    proxy.set(Rule(fault, nth=2))
    assert requests.get(url, timeout=5).ok
    with pytest.raises(error):
        requests.get(url, timeout=5)
    assert len(server.seen) == 1 + effects
    assert proxy.hit == 1
    assert requests.get(url, timeout=5).ok


def test_answers_in_the_clouds_place(server: Server, proxy: Proxy) -> None:
    url = proxy.front(server.url)
    refusal = Answer(429, b'{"error": 1}', (("Retry-After", "7"),))
    proxy.set(Rule(Fault("throttled", effect=False, answer=refusal), times=2), Rule(faulty.HTML_AFTER, nth=3))
    for _ in range(2):
        answer = requests.get(url, timeout=5)
        assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (429, "7", {"error": 1})
    assert not server.seen
    answer = requests.get(url, timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"], len(server.seen)) == (502, "text/html", 1)


def test_rules_choose_their_requests(server: Server, proxy: Proxy) -> None:
    url = proxy.front(server.url)
    proxy.set(
        Rule(faulty.HTML_BEFORE, method="POST", times=0), Rule(faulty.HTML_BEFORE, path="/machines/[0-9]+$"),
        Rule(faulty.HTML_BEFORE, body="Action=RunInstances"))
    asked = [("GET", "/machines", ""), ("GET", "/machines/1", ""), ("GET", "/machines/1", ""), ("POST", "/", ""), ("POST", "/", ""),
             ("PUT", "/", "Action=RunInstances&X=1"), ("PUT", "/", "Action=RunInstances")]
    statuses = [requests.request(method, url + path, data=body, timeout=5).status_code for method, path, body in asked]
    assert statuses == [200, 502, 200, 502, 502, 502, 200]
    assert proxy.requests[-1].action == "RunInstances"


def test_a_slow_answer_does_not_outlast_its_client(server: Server, proxy: Proxy) -> None:
    url = proxy.front(server.url)
    proxy.set(Rule(faulty.slow(0.2)), Rule(faulty.slow(30), nth=2))
    started = time.monotonic()
    assert requests.get(url, timeout=5).ok
    assert time.monotonic() - started >= 0.2
    with pytest.raises(requests.ReadTimeout):
        requests.get(url, timeout=0.2)
    assert len(server.seen) == 2


def test_tls_on_both_sides(proxy: Proxy, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path / "server")
    server = Server(certificate)
    try:
        url = proxy.front(server.url)
        assert url.startswith("https://")
        assert requests.get(url, timeout=5, verify=str(tmp_path / "proxy" / "proxy.pem")).ok
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=5, verify=str(certificate))
        proxy.set(Rule(faulty.LOST_AFTER))
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5, verify=str(tmp_path / "proxy" / "proxy.pem"))
    finally:
        server.close()


def test_connections_are_kept(server: Server, proxy: Proxy) -> None:
    """As clients of clouds do: several requests over one connection."""
    host = proxy.front(server.url).removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    for number in range(3):
        connection.request("POST", f"/{number}", body=b"x")
        assert connection.getresponse().read()
    connection.close()
    assert [path for _, path, _ in server.seen] == ["/0", "/1", "/2"]


def test_faults_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="needs an answer"):
        Fault("odd", effect=False)
    with pytest.raises(ValueError, match="'all' or 'half'"):
        Fault("odd", cut="most")
