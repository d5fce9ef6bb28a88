"""The fake's HTTP server: tokens, faults, routing. One thread a connection, as many as come."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cpis.conformance.clouds.gcp import routes
from cpis.conformance.clouds.gcp.faults import Fault
from cpis.conformance.clouds.gcp.storage import Store
from cpis.conformance.clouds.gcp.world import Body, Failed, Refused, World, not_found

EMAIL = "director@fake-project.iam.gserviceaccount.com"
_LONGEST_WAIT_SECONDS = 120.0
# Methods that take no `requestId`, by the API's discovery document.
_UNNAMED = re.compile(r"global/(?:snapshots|images)/[^/]+/setLabels")
_WAIT = re.compile(r"((?:zones/[^/]+|regions/[^/]+|global)/operations/([^/]+))/wait")


@functools.cache
def key_pair() -> tuple[rsa.RSAPrivateKey, str]:
    """The key of the fake's only service account, and the same as PEM; made once a process."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # short: it guards nothing, and is read in each test
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key, pem.decode()


class Drop(Exception):
    """End the connection without an answer."""


class Cloud:
    """The state behind the server. `faults` are switches, `denied` permissions that the account does not have; `seen` are the requests,
    `agents` who they said they are, `given` is how many tokens were given.

    `skew_limit` is how many seconds the clock of who signs in may differ (Google: five minutes); None for clients with a time of their own.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = Store(world)
        self.faults: list[Fault] = []
        self.denied: set[str] = set()
        self.seen: list[tuple[str, str]] = []
        self.agents: set[str] = set()
        self.bodies: list[tuple[str, str, Any]] = []
        self.skew_limit: float | None = None
        self._tokens: set[str] = set()
        self.given = 0

    def sign_in_as(self, token: str) -> None:
        """Take this token for a good one."""
        with self.world.lock:
            self._tokens.add(token)

    def expire_tokens(self) -> None:
        """All tokens so far are too old."""
        with self.world.lock:
            self._tokens.clear()

    def sign_in(self, form: Mapping[str, str]) -> tuple[int, Body]:
        """The token endpoint, for JWTs that are signed with the fake's key and of this minute."""
        try:
            head, claims, signature = form.get("assertion", "").split(".")
            key_pair()[0].public_key().verify(_bytes(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
            told = json.loads(_bytes(claims))
        except (ValueError, InvalidSignature):
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        if told.get("iss") != EMAIL:
            return 400, {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}
        if self.skew_limit is not None and abs(float(told["iat"]) - time.time()) > self.skew_limit:
            return 400, {"error": "invalid_grant", "error_description": (
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim.")}
        with self.world.lock:
            self.given += 1
            token = f"ya29.fake-token-{self.given}"
            self._tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], data: bytes,
    ) -> tuple[int, dict[str, str], Body | str | None, bool]:
        """(status, headers, body, whether only half of it comes). Raises Drop."""
        parts = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if parts.path == "/token":
            return (*self._plain(self.sign_in(dict(parse_qsl(data.decode())))), False)
        path = re.sub(rf"^/compute/v1/projects/{re.escape(self.world.project)}(?=/|$)", "", parts.path) or "/"
        with self.world.lock:
            self.seen.append((method, path))
            self.agents.add(headers.get("User-Agent", ""))
            faults = [fault for fault in self.faults if fault.hits(method, path)]
        try:
            for fault in faults:
                self._before(fault)
            status, more, body = self._effect(method, parts.path, path, query, headers, data, faults)
        except Refused as error:
            return error.status, error.headers, error.body(), False
        except _Page as page:
            return page.status, {}, str(page), False
        if any(fault.lost == "after" for fault in faults):
            raise Drop
        return status, more, body, any(fault.cut for fault in faults)

    @staticmethod
    def _plain(answer: tuple[int, Body]) -> tuple[int, dict[str, str], Body]:
        return answer[0], {}, answer[1]

    def _before(self, fault: Fault) -> None:
        if fault.lost == "before":
            raise Drop
        if fault.page is not None:
            raise _Page(fault.status or 502, fault.page)
        if fault.status:
            raise Refused(fault.status, fault.reason, fault.message, fault.headers)

    def _effect(
        self, method: str, whole: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], data: bytes, faults: list[Fault],
    ) -> tuple[int, dict[str, str], Body | None]:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._tokens:
            raise Refused(401, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token.")
        body = _json(data) if not whole.startswith("/upload/") or method == "POST" else None
        waited = _WAIT.fullmatch(path.lstrip("/"))
        if waited and method == "POST":
            return 200, {}, self._wait(waited.group(1), waited.group(2))
        with self.world.lock:
            self.world.settle()
            self.bodies.append((method, path, body))
            if whole.startswith(("/storage/", "/upload/")):
                return self.store.handle(method, whole, query, headers, data, body)
            if whole == f"/v1/projects/{self.world.project}:testIamPermissions":
                asked = (body or {}).get("permissions") or []
                return 200, {}, {"permissions": [name for name in asked if name not in self.denied]}
            if whole.startswith("/compute/v1/projects/") and path == whole:
                return 200, {}, _public(routes.read_foreign(self.world, whole.removeprefix("/compute/v1/projects/"), query))
            if not whole.startswith("/compute/v1/projects/"):
                raise Refused(404, "notFound", "Not Found")
            return 200, {}, self._compute(method, path.lstrip("/"), query, body, faults)

    def _compute(self, method: str, path: str, query: Mapping[str, str], body: Any, faults: list[Fault]) -> Body:
        if method == "GET":
            return _public(routes.read(self.world, path, query))
        if method not in ("POST", "DELETE"):
            raise Refused(405, "methodNotAllowed", "Method not allowed")
        if "requestId" in query and _UNNAMED.fullmatch(path):
            raise Refused(
                400, "invalid", 'Invalid JSON payload received. Unknown name "requestId": Cannot bind query parameter. '
                "Field 'requestId' could not be found in request message.")
        shape = json.dumps([method, path, body, sorted(item for item in query.items() if item[0] != "requestId")], sort_keys=True)

        def start() -> Any:
            operation = routes.change(self.world, method, path, query, body)
            for fault in faults:
                operation.polls += fault.polls
                if fault.code:
                    operation.effect = _failing(fault.code, fault.message)
            return operation

        return _public(self.world.once(query.get("requestId", ""), shape, start))

    def _wait(self, path: str, name: str) -> Body:
        """Holds the answer until the operation is done, two minutes at most."""
        until = self.world.clock() + _LONGEST_WAIT_SECONDS
        while True:
            with self.world.lock:
                self.world.settle()
                operation = self.world.operations.get(name)
                if operation is None:
                    raise not_found(self.world.project, path)
                if operation.polls > 0:
                    operation.polls -= 1
                    return dict(operation.body)
                left = min(operation.ready_at, until) - self.world.clock()
                if operation.body["status"] == "DONE" or left <= 0:
                    self.world.settle()
                    return dict(operation.body)
            time.sleep(left)


class _Page(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _failing(code: str, message: str) -> Any:
    def effect() -> None:
        raise Failed(code, message)

    return effect


def _public(body: Body) -> Body:
    """Without what the fake keeps for itself."""
    copy: Body = json.loads(json.dumps(body))
    items = copy.get("items")
    for item in [copy, *(items if isinstance(items, list) else [])]:
        for key in [key for key in item if key.startswith("_")]:
            del item[key]
    return copy


def _json(data: bytes) -> Any:
    if not data:
        return None
    try:
        return json.loads(data)
    except ValueError as error:
        raise Refused(400, "parseError", "Invalid JSON payload received.") from error


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: Server

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.title(): value for name, value in self.headers.items()}
        try:
            status, more, body, cut = self.server.cloud.answer(self.command, self.path, headers, data)
        except Drop:
            self.close_connection = True
            return
        text = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        kind = "text/html" if isinstance(body, str) else "application/json; charset=UTF-8"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if cut else text)
        self.wfile.flush()
        self.close_connection = self.close_connection or cut

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """The server is quiet."""


class Server(ThreadingHTTPServer):
    """Serves a Cloud on a free port of 127.0.0.1 until it is closed."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud = cloud
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, name="fake-gcp", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes in the middle of an answer is no news."""

    def close(self) -> None:
        """Ends connections too: a client that keeps one learns it."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
