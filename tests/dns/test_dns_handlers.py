"""The table of handlers: who gets a question, the handlers of single domains, and a page for each."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dnskit
import pytest
from dnskit import ask, read, records_text, resolver

from director.guest.dns import domains, handlers, metrics
from director.guest.dns.cache import Cache
from director.guest.dns.loop import Loop
from director.guest.dns.servers import Servers
from director.guest.dns.settings import Settings
from director.guest.dns.upstream import Pool
from director.guest.dns.web import WebPool

FOLDER = Path(handlers.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
HEADINGS = ["Description", "Zones", "Settings", "Answers", "Metrics", "Examples"]


@pytest.mark.parametrize("name", NAMES)
def test_each_handler_has_a_page_with_the_same_headings(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text("utf-8")
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert all(part.strip() for part in re.split(r"^#.*$", text, flags=re.MULTILINE)[2:]), "no heading without a text"


@pytest.mark.parametrize("name", NAMES)
def test_pages_name_settings_and_figures_that_exist(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text("utf-8")
    source = Path(metrics.__file__).read_text("utf-8")
    assert [figure for figure in re.findall(r"boshdns_\w+", text) if f'"{figure}"' not in source] == []
    words = re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text.split("## Settings")[1].split("## Answers")[0])
    assert [word for word in words if word not in Settings._fields] == []


def test_no_page_is_left_of_a_handler_that_is_gone() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == NAMES


def test_each_handler_is_named_like_its_file() -> None:
    made = resolver(files={"x.int": ["1.2.3.4"]}).chain.handlers
    assert {handler.name for handler in made} == set(NAMES) - {"deny", "forward", "http"}


def made_of(loop: Loop, specs: list[Any]) -> list[handlers.Handler]:
    def pool(servers: object) -> Pool:
        return Pool(loop, Servers([], loop.clock))

    return domains.Domains(loop, pool, lambda: Cache(loop.clock), denies_failures=False).make(specs)


def deny(domain: str, **more: str) -> dict[str, Any]:
    return {"domain": domain, "source": {"type": "deny", **more}}


@pytest.mark.parametrize(("name", "handler"), [
    ("q-s0.db.default.cf.bosh", "records"), ("x.int", "aliases"), ("below.x.int", "aliases"), ("int", "refusal"), ("corp.example", "deny"),
    ("deep.below.corp.example", "deny"), ("xcorp.example", "refusal"), ("upcheck.bosh-dns", "upcheck"),
    ("below.upcheck.bosh-dns", "upcheck"),
    ("a.bosh-agent-id", "agents"), ("5.0.0.10.in-addr.arpa", "refusal"), ("example.com", "refusal"), ("", "refusal"),
    ("local.corp.example", "aliases"), ("bosh", "records"),
])
def test_the_longest_zone_decides(name: str, handler: str) -> None:
    server = resolver(
        files={"x.int": ["1.2.3.4"], "local.corp.example": ["1.2.3.5"]}, recursors=False,
        domains=made_of(Loop(), [deny("corp.example."), deny("bosh")]))
    assert server.chain.handler_of(tuple(name.split(".")) if name else ()).name == handler


def test_without_records_no_zone_is_ours() -> None:
    server = resolver(records_text([]), recursors=False)
    for name in ("q-s0.db.default.cf.bosh", "a.bosh-agent-id"):
        assert ask(server, name).code == "REFUSED"


def test_an_alias_of_the_upchecks_name_comes_before_it() -> None:
    assert ask(resolver(files={"upcheck.bosh-dns": ["1.2.3.4"]}), "upcheck.bosh-dns").answers == ("1.2.3.4",)


@pytest.mark.parametrize(("more", "code"), [({}, "NXDOMAIN"), ({"response": "REFUSED"}, "REFUSED")])
def test_deny(more: dict[str, str], code: str) -> None:
    reply = ask(resolver(domains=made_of(Loop(), [deny("corp.example", **more)])), "a.corp.example", "TXT")
    assert (reply.code, reply.authoritative) == (code, True)


@pytest.mark.parametrize(("spec", "why"), [
    (deny("a.example", response="NOTIMP"),
     'Configuring handler for "a.example": Invalid response type "NOTIMP", must be NXDOMAIN or REFUSED'),
    ({"domain": "a.example", "source": {"type": "dns"}}, 'Configuring handler for "a.example": No recursors present'),
    ({"domain": "a.example", "source": {"type": "dns", "recursors": ["ns.example"]}}, "Invalid IP address ns.example"),
    ({"domain": "a.example", "source": {"type": "http"}}, 'Configuring handler for "a.example": HTTP handler must receive a URL'),
    ({"domain": "a.example", "source": {"type": "magic"}}, 'Configuring handler for "a.example": Unexpected handler source type: magic'),
    ({"domain": "a.example"}, "Unexpected handler source type"), (deny(""), "has no domain"), ({"source": {}}, "has no domain"),
    ("x", "no domain"),
])
def test_handlers_that_cannot_be_are_said(spec: Any, why: str) -> None:
    with pytest.raises(domains.BadHandlers) as caught:
        made_of(Loop(), [spec, deny("bad.example", response="x")])
    assert why in str(caught.value)
    assert "bad.example" in str(caught.value), "all at once"


def test_reverse_names_of_all_kinds() -> None:
    rows = [dnskit.row(f"id-{text.replace(':', '')}", "1", text, "1", 0) for text in ("fd00::a", "6000::1", "a000::6", "10.0.0.5")]
    server = resolver(records_text(rows), files={"first.int": ["id-60001.db.default.cf.bosh"]})
    for address, names in (
        ("fd00000000000000000000000000000a", {"id-fd00a.db.default.cf.bosh."}),
        ("a0000000000000000000000000000006", {"id-a0006.db.default.cf.bosh."}),
        ("60000000000000000000000000000001", {"id-60001.db.default.cf.bosh.", "first.int."}),
    ):
        for kind in ("PTR", "A", "ANY"):
            reply = ask(server, ".".join(reversed(address)).upper() + ".ip6.arpa.", kind)
            assert (reply.code, set(reply.answers), reply.authoritative, reply.recursion_available) == ("NOERROR", names, True, False)
    assert ask(server, "foo.arpa.", "PTR").code == "FORMERR"


@pytest.mark.parametrize("name", ["0.0.10.in-addr.arpa", "9.0.0.10.in-addr.arpa", "256.0.0.10.in-addr.arpa", "x.0.0.10.in-addr.arpa",
                                  "1.5.0.0.10.in-addr.arpa", "a.0.d.f.ip6.arpa", "05.0.0.10.in-addr.arpa"])
def test_other_addresses_and_parts_of_addresses_are_asked_of_others(name: str) -> None:
    server = resolver()
    replies: list[bytes] = []
    server.handle(dnskit.question(name, "PTR"), replies.append)
    assert replies == [], "the recursors are being asked"


class Web(BaseHTTPRequestHandler):
    """Answers what the test put there, and remembers what was asked."""

    asked: list[str]
    body: bytes
    status: int

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def web() -> Iterator[tuple[type[Web], str]]:
    kind = type("AWeb", (Web,), {"asked": [], "body": b"", "status": 200})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def over_web(loop: Loop, url: str, name: str, kind: str, cache: bool = False) -> Callable[[], dnskit.Reply]:
    spec = {"domain": "web.example", "cache": {"enabled": cache}, "source": {"type": "http", "url": url}}
    server = resolver(domains=made_of(loop, [spec]), loop=loop)

    def once() -> dnskit.Reply:
        replies: list[bytes] = []
        server.handle(dnskit.question(name, kind), replies.append)
        for _ in range(200):
            if replies:
                break
            loop.turn(0.05)
        return read(replies[0])

    return once


ADDRESS = {"name": "a.web.example.", "type": 1, "TTL": 60, "data": "1.2.3.4"}


@pytest.mark.parametrize(("kind", "tree", "code", "answers"), [
    ("A", {"TC": False, "Answer": [ADDRESS]}, "NOERROR", ("1.2.3.4",)),
    ("AAAA", {"Answer": [{**ADDRESS, "type": 28, "data": "fd00::1"}, ADDRESS]}, "NOERROR", ("fd00::1",)),
    ("AAAA", {"Answer": [ADDRESS]}, "NOERROR", ()),
    ("ANY", {"Answer": [{"type": 1, "data": "1.2.3.4"}, {**ADDRESS, "type": 28, "data": "fd00::1"}]}, "NOERROR", ("1.2.3.4", "fd00::1")),
    ("TXT", {"Answer": [{**ADDRESS, "type": 16, "data": '"hi"'}]}, "NOERROR", ("026869",)),
    ("A", {"Answer": [{"type": 5, "data": "b.example"}, {**ADDRESS, "name": "b.example"}]}, "NOERROR",
     (b"\1b\7example\0".hex(), "1.2.3.4")),
    ("A", {"Status": 3}, "NXDOMAIN", ()), ("A", {"Status": 2}, "SERVFAIL", ()), ("A", {"Answer": None}, "NOERROR", ()),
    ("A", {"Answer": [{"type": 1}]}, "SERVFAIL", ()), ("A", {"Answer": [{"type": 1, "data": "nonsense"}]}, "SERVFAIL", ()),
    ("A", [], "SERVFAIL", ()), ("A", "no", "SERVFAIL", ()),
])
def test_answers_of_web_servers(web: tuple[type[Web], str], kind: str, tree: Any, code: str, answers: tuple[str, ...]) -> None:
    page, url = web
    page.body = json.dumps(tree).encode()
    loop = Loop()
    reply = over_web(loop, url, "A.web.example", kind)()
    assert (reply.code, reply.answers, reply.name) == (code, answers, "A.web.example.")
    assert page.asked == [f"/?name=a.web.example.&type={dnskit.TYPES[kind]}"]
    loop.close()


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (204, b""), (200, b"{"), (200, b"x" * 100_000)])
def test_pages_that_are_no_answer(web: tuple[type[Web], str], status: int, body: bytes) -> None:
    page, url = web
    page.status, page.body = status, body
    loop = Loop()
    assert over_web(loop, url, "a.web.example", "A")().code == "SERVFAIL"
    loop.close()


def test_answers_of_web_servers_are_kept_on_demand(web: tuple[type[Web], str]) -> None:
    page, url = web
    page.body = json.dumps({"Answer": [ADDRESS]}).encode()
    loop = Loop()
    once = over_web(loop, url, "a.web.example", "A", cache=True)
    assert [once().answers for _ in range(3)] == [("1.2.3.4",)] * 3
    assert len(page.asked) == 1
    loop.close()


def test_a_slow_web_server_delays_nobody_else() -> None:
    loop = Loop()
    going_on = threading.Event()

    def slow(url: str, timeout: float) -> bytes:
        going_on.wait(5)
        return json.dumps({"Answer": [ADDRESS]}).encode()

    from director.guest.dns.forwarding import Forwarder
    from director.guest.dns.handlers.http import Http

    server = resolver(domains=[Http(("web", "example"), Forwarder(loop, WebPool(loop, "http://x", fetch=slow)))], loop=loop)
    replies: list[bytes] = []
    server.handle(dnskit.question("a.web.example"), replies.append)
    assert len(ask(server, "q-s4.db.default.cf.bosh").answers) == 2
    assert replies == []
    going_on.set()
    for _ in range(100):
        if not replies:
            loop.turn(0.05)
    assert read(replies[0]).answers == ("1.2.3.4",)
    loop.close()


def test_threads_for_web_servers_end_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    from director.guest.dns import web as module
    from director.guest.dns.upstream import Asking

    monkeypatch.setattr(module, "REST", 0.02)
    loop = Loop()
    pool = WebPool(loop, "http://x", fetch=lambda url, timeout: b"{}")
    done: list[object] = []
    for _ in range(30):
        pool.ask(Asking(dnskit.question("a.web.example")[12:], 0x0100), done.append)
    for _ in range(200):
        if len(done) == 30 and not pool._threads:
            break
        loop.turn(0.02)
    assert (len(done), pool._threads) == (30, 0)
    pool.ask(Asking(dnskit.question("a.web.example")[12:], 0x0100), done.append)
    for _ in range(100):
        if len(done) == 31:
            break
        loop.turn(0.05)
    assert len(done) == 31
    loop.close()


def test_explanations_say_what_makes_the_answer() -> None:
    known = dnskit.FakeHealth(states={"uuid-b": "failing"})
    server = resolver(files={"x.int": ["q-s3.db.default.cf.bosh", "1.2.3.4"]}, known=known)

    def told(name: str, kind: int = 1) -> dict[str, Any]:
        from director.guest.dns import wire

        query = wire.parse(dnskit.question(name))
        return server.chain.handler_of(query.labels).explain(query)

    found = told("x.int")
    assert found["alias"] == {"from": "files", "targets": ["q-s3.db.default.cf.bosh", "1.2.3.4"]}
    assert [(each["ip"], each["state"], each["named"]) for each in found["selections"][0]["records"]] == [
        ("10.0.0.5", "running", True), ("10.0.0.6", "failing", False)]
    assert (found["code"], found["addresses"]) == ("NOERROR", ["10.0.0.5", "1.2.3.4"])
    assert (told("nobody.q-g1.bosh")["code"], told("nobody.q-g1.bosh")["addresses"]) == ("NXDOMAIN", [])
    assert "one or three labels" in told("a.b.c.bosh")["problem"]
    assert told("5.0.0.10.in-addr.arpa")["names"] == ["uuid-A.db.default.cf.bosh"]
    assert told("9.0.0.10.in-addr.arpa")["beyond"]["cache"] == {"state": "off"}
    assert told("upcheck.bosh-dns")["rule"]
    assert known.asked == [], "an explanation follows nobody"
