"""A FAKE of OpenStack's services, for unit tests of faults only: what real services do not do when asked to.

It keeps servers, ports, volumes, snapshots, images, groups, floating addresses and Octavia's pools in memory, and knows no more of the
APIs than the CPI uses. That the CPI speaks to the real services is proven by `make test-openstack`, not here.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.cpis.openstack.fake_routes import NETWORK, ROUTES, SECOND, SUBNET, Refused, Tree

PROJECT = "project-1"
PASSWORD = "hunter2-long"


@dataclasses.dataclass
class Fault:
    """What befalls requests (`GET /compute/servers...` by pattern): `times` of them after the first `skip`.

    `lost_before` and `lost_after` end the connection without an answer, before or after the effect; `late` as `lost_before`, and the effect
    comes with the `late`-th request that follows; else `answer` (status, body, headers) stands in for the service's.
    """

    pattern: str
    kind: str = "answer"
    times: int = 1
    skip: int = 0
    late: int = 0
    answer: tuple[int, object, Mapping[str, str]] = (500, {"computeFault": {"code": 500, "message": "Unexpected API Error."}}, {})


class FakeServices:
    """`catalog` is what a login tells of services; `full` are zones without room; `log` lists (method, path with query).

    One page of a list has `page` entries.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str]] = []
        self.bodies: list[tuple[str, str, Any]] = []
        self.full: set[str] = set()
        self.page = 1000
        self.tokens = 0
        self.catalog: list[Tree] = []
        self.revoked: set[str] = set()
        self.late: list[tuple[int, Callable[[], object]]] = []
        self.kept: dict[str, dict[str, Tree]] = {
            kind: {} for kind in ("servers", "ports", "volumes", "snapshots", "images", "server_groups", "members", "floatingips")}
        self.pools = {"web": "pool-web"}
        self.uploaded: dict[str, object] = {}
        self.limits: Tree = {}
        self.messages: list[str] = []
        self.fail_retype = False
        self.endless_build = False
        fake = self

        class Handler(_Handler):
            owner = fake

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def config(self, **more: Any) -> dict[str, Any]:
        names = ("compute", "image", "network", "volume", "load_balancer")
        return {
            "auth_url": f"{self.url}/identity/v3", "username": "u", "api_key": PASSWORD, "project": "p",
            "endpoints": {name: f"{self.url}/{name}" for name in names}, **more}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def left(self) -> list[str]:
        """Everything that exists, but for what an operator made."""
        with self.lock:
            return [f"{kind} {cid}" for kind, things in self.kept.items() if kind != "floatingips" for cid in things]

    def count(self, method: str, pattern: str) -> int:
        return sum(1 for verb, path in self.log if verb == method and re.search(pattern, path))

    # One request

    def handle(self, method: str, path: str, body: Any, token: str) -> tuple[int, object, Mapping[str, str]] | None:
        """The answer, or None when the connection ends without one."""
        with self.lock:
            self.log.append((method, path))
            self.bodies.append((method, path, body))
            self._come_late()
            fault = self._befalls(f"{method} {path}")
            if fault is not None and fault.kind in ("lost_before", "late"):
                if fault.kind == "late":
                    self.late.append((len(self.log) + fault.late, lambda: self._safely(method, path, body)))
                return None
            if fault is not None and fault.kind == "answer":
                return fault.answer
            if path.startswith("/identity"):
                return self._login(body)
            if token in self.revoked:
                return 401, {"error": {"code": 401, "message": "The request you have made requires authentication."}}, {}
            found = self._safely(method, path, body)
            return None if fault is not None else found

    def _befalls(self, line: str) -> Fault | None:
        for fault in self.faults:
            if re.search(fault.pattern, line):
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _come_late(self) -> None:
        due = [action for number, action in self.late if number <= len(self.log)]
        self.late = [(number, action) for number, action in self.late if number > len(self.log)]
        for action in due:
            action()

    def _login(self, body: Any) -> tuple[int, object, Mapping[str, str]]:
        if body["auth"]["identity"]["password"]["user"]["password"] != PASSWORD:
            return 401, {"error": {"code": 401, "message": "The request you have made requires authentication."}}, {}
        self.tokens += 1
        return 201, {"token": {
            "issued_at": "2030-01-01T00:00:00.000000Z", "expires_at": "2030-01-01T01:00:00.000000Z", "project": {"id": PROJECT},
            "roles": [{"name": "member"}], "catalog": self.catalog}}, {"X-Subject-Token": f"token-{self.tokens}"}

    def _safely(self, method: str, path: str, body: Any) -> tuple[int, object, Mapping[str, str]]:
        parts = urlsplit(path)
        plain = parts.path.replace("/compute/v2.1/", "/compute/").replace(f"/volume/v3/{PROJECT}/", "/volume/")
        try:
            return 200, self._effect(method, plain, dict(parse_qsl(parts.query)), body), {}
        except Refused as error:
            return error.status, error.body, {"X-Openstack-Request-Id": "req-fake"}

    def _effect(self, method: str, path: str, query: Mapping[str, str], body: Any) -> object:
        for verb, pattern, call in ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                return call(self, *match.groups(), **({"query": query} if verb == "GET" else {"body": body}))
        raise Refused(404, {"itemNotFound": {"code": 404, "message": f"{method} {path} is not known"}})

    def get(self, kind: str, cid: str) -> Tree:
        if cid not in self.kept[kind]:
            raise Refused(404, {"itemNotFound": {"code": 404, "message": f"{kind} {cid} could not be found."}})
        return self.kept[kind][cid]

    def make(self, kind: str, **fields: Any) -> Tree:
        cid = str(uuid.uuid4())
        self.kept[kind][cid] = {"id": cid, "created_at": "2030-01-01T00:00:00", "created": "2030-01-01T00:00:00Z", **fields}
        return self.kept[kind][cid]

    def listed(self, kind: str, query: Mapping[str, str], things: list[Tree]) -> Tree:
        """One page; the next begins after the `marker`."""
        ids = [thing["id"] for thing in things]
        begin = ids.index(query["marker"]) + 1 if "marker" in query else 0
        page = things[begin:begin + self.page]
        answer: Tree = {kind: page}
        if begin + self.page < len(things):
            answer[f"{kind}_links"] = [{"rel": "next", "href": f"http://elsewhere/v/{kind}?marker={page[-1]['id']}&" + "&".join(
                f"{key}={value}" for key, value in query.items() if key != "marker")}]
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # a hundred machines at once


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FakeServices

    def _answer(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(size)
        if len(content) < size:  # the client gave up in the middle
            self.close_connection = True
            return
        body = json.loads(content) if content and "json" in self.headers.get("Content-Type", "") else content
        answer = self.owner.handle(self.command, self.path, body, self.headers.get("X-Auth-Token", ""))
        if answer is None:
            self.close_connection = True
            return
        status, tree, headers = answer
        text = tree if isinstance(tree, bytes) else b"" if tree is None else json.dumps(tree).encode()
        if status == 200 and not text:
            status = 202 if self.path.endswith("/action") else 204
        self.send_response_only(status)
        for name, value in {"Content-Type": "text/html" if isinstance(tree, bytes) else "application/json", **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, format: str, *arguments: object) -> None: ...


__all__ = ["NETWORK", "PROJECT", "SECOND", "SUBNET", "FakeServices", "Fault"]
