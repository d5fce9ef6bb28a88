"""How AWS is reached: certificates that must verify, proxies, and requests that no front end cuts."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from cpis.aws import AwsCpi
from cpis.conformance.certificate import self_signed
from cpis.contract import Denied

EMPTY = b'<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet/></DescribeInstancesResponse>'
CONFIG = {"region": "eu-central-1", "access_key_id": "AKIA1", "secret_access_key": "topsecret", "session_token": "tokentoken"}


class Listener(ThreadingHTTPServer):
    """Answers that there are no instances, and keeps what came: (path, headers, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.came: list[tuple[str, dict[str, str], str]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that do not trust the certificate hang up."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.came.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(EMPTY)))
        self.end_headers()
        self.wfile.write(EMPTY)

    def log_message(self, *rest: object) -> None:
        """Nothing."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def certificate(listener: Listener, tmp_path: Path) -> Path:
    """The listener speaks TLS, with a certificate that only this file vouches for."""
    pem = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    return pem


def asked(config: dict[str, object]) -> bool:
    cpi = AwsCpi({**CONFIG, **config}, sleep=lambda seconds: None)
    try:
        return cpi.has_vm("i-0123456789abcdef0")
    finally:
        cpi.close()


def test_a_certificate_that_does_not_verify(listener: Listener, certificate: Path) -> None:
    with pytest.raises(Denied, match="does not verify") as caught:
        asked({"ec2_endpoint": f"https://127.0.0.1:{listener.server_port}"})
    assert "ca_cert" in caught.value.suggestion
    assert not listener.came, "credentials were sent to a server that nobody knows"


@pytest.mark.parametrize("as_text", [True, False])
def test_a_ca_of_ones_own(listener: Listener, certificate: Path, as_text: bool) -> None:
    """As BOSH's CPI config has it, a text, or as the path of a file."""
    text = certificate.read_text()
    public = text[text.index("-----BEGIN CERTIFICATE"):]
    given = public if as_text else str(certificate)
    assert not asked({"ec2_endpoint": f"https://127.0.0.1:{listener.server_port}", "connection_options": {"ca_cert": given}})
    assert len(listener.came) == 1


def test_a_proxy(listener: Listener) -> None:
    assert not asked({"ec2_endpoint": "http://ec2.example.com", "proxy_url": f"http://127.0.0.1:{listener.server_port}"})
    assert listener.came[0][0] == "http://ec2.example.com/"


def test_requests_are_forms_and_tokens_are_in_headers_only(listener: Listener) -> None:
    """6.2: the URL of a GET is cut by front ends; what is in a URL is written into their logs."""
    assert not asked({"ec2_endpoint": f"http://127.0.0.1:{listener.server_port}"})
    ((path, headers, body),) = listener.came
    assert path == "/"
    found = parse_qs(body)
    assert (found["Action"], found["Version"]) == (["DescribeInstances"], ["2016-11-15"])
    assert headers["x-amz-security-token"] == "tokentoken"
    assert "tokentoken" not in body + path
    assert "topsecret" not in f"{headers} {body}"
    assert "/eu-central-1/ec2/aws4_request" in headers["authorization"]
