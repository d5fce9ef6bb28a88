"""Blobs by signed links: what the director answers, and the machine's part fetching from it over real HTTPS."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from api_world import NOW, World

from director.api import blobs as api_blobs
from director.api.config import DirectorConfig
from director.blobs import Signer
from director.errors import UsageError
from director.guest.agent.actions import ACTIONS, fetch_blob
from director.guest.agent.errors import InvalidArguments, NotFetched
from director.guest.agent.host import Call, Host

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = "3b30123e-dfa6-4eff-abe6-63c2d5a88938"


@pytest.fixture
def blob(world: World) -> str:
    return world.blobs.put(CONTENT).id


def link(world: World, blob_id: str, seconds: float = 60) -> str:
    assert world.services.signer is not None
    return api_blobs.link(world.services.signer, "", blob_id, seconds)


def test_a_link_needs_no_login(world: World, blob: str) -> None:
    answer = world.anonymous.get(link(world, blob))
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-length"] == str(len(CONTENT))


def test_parts_and_head(world: World, blob: str) -> None:
    part = world.anonymous.get(link(world, blob), headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    head = world.anonymous.head(link(world, blob))
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))


def _refusals(world: World, blob: str) -> Mapping[str, str]:
    good = link(world, blob)
    path, _, query = good.partition("?")
    signer = Signer(b"s" * 32, lambda: NOW)
    expires = query.partition("&")[0].partition("=")[2]
    return {
        "no query": path,
        "no signature": f"{path}?expires={expires}",
        "wrong signature": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "not ASCII": f"{path}?expires={expires}&signature=%C3%A4",
        "expired": link(world, blob, 0),
        "prolonged": good.replace(expires, str(int(expires) + 1)),
        "of another blob": f"/signed/blobs/{world.blobs.put(b'other').id}?{query}",
        "for another method": signer.sign(path, 60, method="PUT"),
        "by another director": Signer(b"t" * 32, lambda: NOW).sign(path, 60),
        "unknown": link(world, OTHER),
        "no id": link(world, "x"),
        "dots": link(world, ".."),
        "the key beside": link(world, "..%2f..%2fvault.key"),
    }


def test_what_is_not_allowed_is_all_the_same(world: World, blob: str) -> None:
    answers = {name: world.anonymous.get(url) for name, url in _refusals(world, blob).items()}
    slashes = {name for name, answer in answers.items() if answer.status_code == 404}
    assert slashes <= {"dots", "the key beside"}  # no route has them
    assert {(answer.status_code, answer.text) for name, answer in answers.items() if name not in slashes} == {(403, "Not allowed\n")}


def test_other_methods_have_no_route(world: World, blob: str) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert world.anonymous.request(method, link(world, blob)).status_code in (401, 404)
    assert world.blobs.exists(blob)


def test_without_a_signer_nothing_is_allowed(world: World, blob: str) -> None:
    from director.api import app

    world.listening.switch.app = app.make_app(dataclasses.replace(world.services, signer=None))
    assert world.anonymous.get(link(world, blob)).status_code == 403


# The machine's part


class Machine:
    """A machine in a folder that asks the director over HTTPS."""

    def __init__(self, folder: Path, world: World) -> None:
        self.host = Host(folder / "machine")
        self.ca = world.listening.credentials.ca.read_text()
        self.base = f"https://127.0.0.1:{world.listening.server.address[1]}"
        self.pauses: list[float] = []

    def fetch(self, url: str, digest: str = DIGEST, ca: str = "") -> str:
        call = Call(self.host)

        def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        call.pause = pause  # type: ignore[method-assign]
        return fetch_blob.run(call, url, f"sha256:{digest}", ca or self.ca)

    def files(self) -> list[Path]:
        return [path for path in self.host.layout.root.rglob("*") if path.is_file()]


@pytest.fixture
def machine(tmp_path: Path, world: World) -> Machine:
    return Machine(tmp_path, world)


def test_a_machine_fetches(machine: Machine, world: World, blob: str) -> None:
    assert machine.fetch(machine.base + link(world, blob)) == "fetched"
    assert machine.files() == [machine.host.layout.blobs / DIGEST]
    assert machine.files()[0].read_bytes() == CONTENT
    assert machine.files()[0].stat().st_mode & 0o777 == 0o600
    assert machine.fetch("https://127.0.0.1:1/not-asked") == "present"


def test_what_is_refused_is_tried_three_times_and_told_without_the_link(machine: Machine, world: World, blob: str) -> None:
    url = machine.base + link(world, blob, 0)
    with pytest.raises(NotFetched, match="HTTP status 403") as caught:
        machine.fetch(url)
    assert not any(word in str(caught.value) for word in ("signature", "expires", blob))
    assert (machine.pauses, machine.files()) == ([5.0, 5.0], [])


def test_only_the_given_authority_counts(machine: Machine, world: World, blob: str, tmp_path: Path) -> None:
    from director.api import credentials

    other = credentials.prepare(tmp_path / "other", world.store, ["127.0.0.1"], NOW)
    with pytest.raises(NotFetched, match="CERTIFICATE_VERIFY_FAILED"):
        machine.fetch(machine.base + link(world, blob), ca=other.ca.read_text())
    assert machine.files() == []


def test_the_name_in_the_certificate_counts(machine: Machine, world: World, blob: str) -> None:
    with pytest.raises(NotFetched, match="CERTIFICATE_VERIFY_FAILED"):
        machine.fetch(machine.base.replace("127.0.0.1", "0.0.0.0") + link(world, blob))


def test_nobody_there(machine: Machine) -> None:
    with pytest.raises(NotFetched, match="refused"):
        machine.fetch("https://127.0.0.1:1/signed/blobs/x?signature=s")


@pytest.mark.parametrize("url", ["http://127.0.0.1/x?signature=s", "file:///etc/passwd", "https:///x?signature=s", ""])
def test_only_https(machine: Machine, url: str) -> None:
    with pytest.raises(InvalidArguments, match="https URLs only") as caught:
        machine.fetch(url)
    assert "signature" not in str(caught.value)


def test_other_content_is_not_kept(machine: Machine, world: World, blob: str) -> None:
    with pytest.raises(NotFetched, match="Checksum mismatch"):
        machine.fetch(machine.base + link(world, blob), digest="0" * 64)
    assert machine.files() == []


def test_a_full_disk_is_told_as_such(machine: Machine, world: World, blob: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fchmod", full)
    with pytest.raises(OSError, match="No space left on device"):
        machine.fetch(machine.base + link(world, blob))
    assert (machine.pauses, machine.files()) == ([], [])


Answer = Callable[[http.server.BaseHTTPRequestHandler], object]
Serve = Callable[[Answer], str]


@pytest.fixture
def serve(world: World) -> Iterator[Serve]:
    """A server with the director's certificate that answers as told; its URL."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(world.listening.credentials.certificate, world.listening.credentials.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"https://127.0.0.1:{server.server_address[1]}/x?signature=s"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _say(request: http.server.BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(CONTENT)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def test_a_short_answer_and_a_fault_are_tried_again(machine: Machine, serve: Serve) -> None:
    answers = [(200, CONTENT[:1000]), (503, b""), (200, CONTENT)]
    assert machine.fetch(serve(lambda request: _say(request, *answers.pop(0)))) == "fetched"
    assert (machine.pauses, answers) == ([5.0, 5.0], [])


def test_redirects_are_not_followed(machine: Machine, serve: Serve) -> None:
    with pytest.raises(NotFetched, match="HTTP status 302"):
        machine.fetch(serve(lambda request: _say(request, 302, b"", Location="http://127.0.0.1:1/", Content_Length="0")))


def test_what_is_no_http_is_told_without_its_words(machine: Machine, serve: Serve) -> None:
    with pytest.raises(NotFetched, match="BadStatusLine") as caught:
        machine.fetch(serve(lambda request: request.wfile.write(b"nonsense s3cret\r\n\r\n")))
    assert "s3cret" not in str(caught.value)


def test_the_agent_logs_neither_link_nor_reason() -> None:
    assert not ACTIONS["fetch_blob"].loggable


# The setting


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://10.93.1.1:25555", "10.93.1.1"), ("https://director.example/", "director.example"), ("https://[fd00::1]:443", "fd00::1"),
    ],
)
def test_the_host_for_machines_is_in_the_certificate(tmp_path: Path, url: str, host: str) -> None:
    config = DirectorConfig(tmp_path, host="0.0.0.0", blobs_url=url)
    assert config.certificate_hosts == ("127.0.0.1", "localhost", host)
    assert config.url == "https://127.0.0.1:25555"


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:25555", "10.0.0.1:25555", "https://", "https://h:x", "https://h/path", "https://h?q=1", "https://u:p@h",
        "https://a b", "https://h\n",
    ],
)
def test_other_urls_are_refused_without_repeating_them(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="must be https://HOST"):
        DirectorConfig(tmp_path, blobs_url=url)
