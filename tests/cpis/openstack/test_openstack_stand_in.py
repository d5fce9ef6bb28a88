"""What the stand-in is made of, as far as it can be looked at without the services: its watch, its front, what is missing."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cpis.conformance.clouds.openstack import packages, watch
from cpis.conformance.clouds.openstack.front import Front
from cpis.conformance.clouds.openstack.layout import Ports
from cpis.conformance.standin import Skipped


def test_the_watch_ends_what_is_left() -> None:
    """Row 5 of the emulators' table: a run that was killed leaves nothing behind."""
    left, ended = (subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(2))
    program = subprocess.Popen([sys.executable, "-I", "-S", watch.__file__], stdin=subprocess.PIPE, text=True)
    assert program.stdin is not None
    print(f"+{left.pid}\n+{ended.pid}\n-{ended.pid}", file=program.stdin, flush=True)
    program.stdin.close()
    assert left.wait(20) != 0
    assert ended.poll() is None
    ended.kill()
    ended.wait()
    program.kill()
    program.wait()


def test_ports_are_free_and_different() -> None:
    """Row 4."""
    ports = list(vars(Ports.free()).values())
    assert len(set(ports)) == len(ports)


def test_missing_daemons_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(packages, "RABBIT", tmp_path / "rabbitmq-server")
    with pytest.raises(Skipped, match=r"mariadbd.*rabbitmq-server.*apt-get install"):
        packages.need_daemons()


def test_packages_that_cannot_be_had_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "SERVICES", ("no-such-package-of-caisson",))
    monkeypatch.setattr(packages, "_BUILD_TOOLS", ())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(packages, "_venv", lambda venv: (venv / "bin").mkdir(parents=True))
    monkeypatch.setattr(packages, "_pip", lambda venv: [sys.executable, "-m", "pip", "install", "--dry-run", "--target", str(venv)])
    with pytest.raises(Skipped, match="no-such-package-of-caisson"):
        packages.environment(tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.fixture
def service() -> Iterator[int]:
    """Answers with what it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            assert self.headers["X-Auth-Token"] == "t"
            body = b""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(201)
            self.end_headers()
            self.wfile.write(self.path.encode() + b" " + body)

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("chunked", [False, True])
def test_the_front_passes_on_and_counts(service: int, chunked: bool) -> None:
    front = Front({"glance": service})
    body = b"x" * 200_000
    with contextlib.closing(front), contextlib.closing(http.client.HTTPConnection(front.url.removeprefix("http://"))) as connection:
        connection.request(
            "PUT", "/glance/v2/images/i/file?a=b", iter([body[:150_000], body[150_000:]]) if chunked else body, {"X-Auth-Token": "t"},
            encode_chunked=chunked)
        answer = connection.getresponse()
        assert answer.status == 201
        assert answer.read() == b"/v2/images/i/file?a=b " + body
        connection.request("GET", "/elsewhere/")
        assert connection.getresponse().status == 404
        assert front.requests() == [("PUT", "/glance/v2/images/i/file?a=b"), ("GET", "/elsewhere/")]
        front.forget()
        assert not front.requests()
