"""The pretended cloud over HTTP: tokens, ARM, identities of machines, and page blobs to upload to."""

from __future__ import annotations

import http.server
import itertools
import json
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from cpis.conformance.clouds.azure.disks import Pages
from cpis.conformance.clouds.azure.routes import Answer, Routes
from cpis.conformance.clouds.azure.store import Fault, Refused, Store, Tree

_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>proxy</body></html>"


class PageBlobs:
    """Page blobs in memory: `blobs` holds name -> bytes. URLs are signed, and good only until the disk is dropped."""

    def __init__(self) -> None:
        self.base = ""
        self.blobs: dict[str, bytearray] = {}

    def make(self, name: str, size: int) -> str:
        self.blobs[name] = bytearray(size)
        return f"{self.base}/blob/{name}?sv=2022-11-02&sig=s3cr3t-signature"

    def drop(self, name: str) -> None:
        self.blobs.pop(name, None)

    def write(self, name: str, query: Mapping[str, str], headers: Mapping[str, str], data: bytes) -> int:
        """Put Page. Answers the status. Source: the service's description of that request."""
        if query.get("sig") != "s3cr3t-signature" or name not in self.blobs:
            return 403
        headers = {key.lower(): value for key, value in headers.items()}
        first, _, last = headers.get("x-ms-range", "").removeprefix("bytes=").partition("-")
        if headers.get("x-ms-page-write", "").lower() != "update" or query.get("comp") != "page":
            return 400
        start, end = int(first), int(last) + 1
        if start % 512 or end % 512 or end - start != len(data) or len(data) > 4 * 2**20 or end > len(self.blobs[name]):
            return 416
        self.blobs[name][start:end] = data
        return 201


class Arm:
    """The server's side of everything: who may, what is asked, what goes wrong."""

    def __init__(self, store: Store, location: str, tenant: str, secrets: Mapping[str, str], pages: Pages | None = None) -> None:
        self.store = store
        self.blobs = PageBlobs()
        self.location = location
        self.routes = Routes(store, pages or self.blobs, location)
        self.log: list[tuple[str, str]] = []
        self.token_requests: list[Tree] = []
        self._tenant = tenant
        self._secrets = secrets
        self._tokens: dict[str, float] = {}
        self._numbers = itertools.count(1)

    def issue(self) -> Tree:
        live = self.store.switches.tokens_live
        token = f"token-{next(self._numbers):06d}"
        self._tokens[token] = self.store.clock() + live
        return {"access_token": token, "expires_on": str(int(time.time() + max(live, 3600))), "token_type": "Bearer"}

    def token(self, tenant: str, form: Mapping[str, str]) -> tuple[int, Tree]:
        """client_credentials with a secret or with a signed assertion."""
        self.token_requests.append(dict(form))
        if tenant.lower() != self._tenant.lower():
            return 400, {"error": "invalid_request", "error_description": f"AADSTS90002: Tenant '{tenant}' not found. Trace ID: t-1"}
        client = form.get("client_id", "")
        if client not in self._secrets:
            return 400, {"error": "unauthorized_client", "error_description": f"AADSTS700016: Application with identifier '{client}' was "
                         f"not found in the directory '{tenant}'. Trace ID: t-2"}
        if form.get("client_secret") != self._secrets[client] and "client_assertion" not in form:
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided. Trace ID: t-3"}
        return 200, self.issue()

    def expire_tokens(self) -> None:
        """All tokens given until now are refused from now on."""
        self._tokens.clear()

    def authorize(self, header: str) -> None:
        token = header.removeprefix("Bearer ").strip()
        if self._tokens.get(token, 0.0) <= self.store.clock():
            raise Refused(401, "ExpiredAuthenticationToken" if token else "AuthenticationFailed",
                          "The access token has expired or is not valid. Obtain a new token and retry.")

    def fault(self, method: str, path: str) -> Fault | None:
        return next((fault for fault in self.store.faults if fault.hits(method, path)), None)

    def handle(self, method: str, path: str, query: Mapping[str, str], body: Tree, header: str) -> tuple[Answer, Fault | None]:
        """One request under the lock. Raises Refused."""
        with self.store.lock:
            self.store.settle()
            self.log.append((method, path))
            fault = self.fault(method, path)
            if fault is not None and fault.how == "answer":
                raise Refused(fault.status, fault.code, fault.message, fault.headers)
            if fault is not None and fault.how == "before":
                return (0, None, None), fault
            self.authorize(header)
            self.store.late = Refused(409, fault.code, fault.message) if fault is not None and fault.how == "late" else None
            try:
                return self.routes.answer(method, path, query, body), fault
            finally:
                self.store.late = None


def serve(arm: Arm) -> http.server.ThreadingHTTPServer:
    """A server on a free port of this computer, not yet running."""

    class Handler(_Handler):
        cloud = arm

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    arm.blobs.base = f"http://127.0.0.1:{server.server_address[1]}"
    return server


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cloud: Arm

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        self._do()

    do_PUT = do_PATCH = do_POST = do_DELETE = do_HEAD = do_GET

    def _do(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.startswith("/blob/"):
            self._send(self.cloud.blobs.write(path.removeprefix("/blob/"), query, dict(self.headers), data), None)
            return
        if path.startswith("/metadata/identity/"):
            known = self.headers.get("Metadata") == "true" and query.get("resource")
            self._send(200 if known else 400, self.cloud.issue() if known else {"error": "invalid_request"})
            return
        if path.endswith("/oauth2/token"):
            with self.cloud.store.lock:
                self.cloud.log.append(("POST", path))
                status, answer = self.cloud.token(path.split("/")[1], dict(urllib.parse.parse_qsl(data.decode())))
            self._send(status, answer)
            return
        self._arm(path, query, data)

    def _arm(self, path: str, query: dict[str, str], data: bytes) -> None:
        try:
            try:
                body = json.loads(data) if data else {}
            except ValueError:
                raise Refused(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.") from None
            answer, fault = self.cloud.handle(self.command, path, query, body, self.headers.get("Authorization", ""))
        except Refused as refused:
            self._send(refused.status, refused.body, refused.headers)
            return
        except (KeyError, TypeError, AttributeError) as error:
            self._send(400, Refused(400, "InvalidRequestFormat", f"Cannot parse the request: {type(error).__name__} {error}").body)
            return
        if fault is not None and fault.how in ("lost", "before"):
            self.close_connection = True
            return
        if fault is not None and fault.how == "html":
            self._send(fault.status, _PAGE, kind="text/html")
            return
        status, tree, operation = answer
        headers: dict[str, str] = {}
        if operation is not None:
            compute = f"/subscriptions/{self.cloud.store.subscription}/providers/Microsoft.Compute/locations/{self.cloud.location}"
            headers["Azure-AsyncOperation"] = (
                f"http://{self.headers.get('Host')}{compute}/operations/{operation.id}?api-version=2024-07-01")
            if self.cloud.store.switches.retry_after is not None:
                headers["Retry-After"] = str(self.cloud.store.switches.retry_after)
        if isinstance(tree, dict) and list(tree) == ["plain"]:
            self._send(status, tree["plain"], headers)
        elif isinstance(tree, list):
            self._send(status, self._page(tree, path, query), headers)
        else:
            self._send(status, tree, headers, cut=fault is not None and fault.how == "cut")

    def _page(self, items: list[Tree], path: str, query: dict[str, str]) -> Tree:
        """One page; ids are in capitals, as lists of the service sometimes have them."""
        first, size = int(query.get("$skiptoken", 0)), self.cloud.store.switches.page_size
        page = [{**item, "id": _shout(item["id"])} if "id" in item else item for item in items[first:first + size]]
        if first + size >= len(items):
            return {"value": page}
        link = urllib.parse.urlencode({**query, "$skiptoken": str(first + size)})
        return {"value": page, "nextLink": f"http://{self.headers.get('Host')}{urllib.parse.quote(path)}?{link}"}

    def _send(
        self, status: int, answer: Any, headers: Mapping[str, str] | None = None, *, kind: str = "application/json", cut: bool = False,
    ) -> None:
        data = b"" if answer is None else (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        lines = {
            "Date": self.date_time_string(), "Content-Length": str(len(data)), "Content-Type": kind,
            "x-ms-request-id": f"req-{len(self.cloud.log):05d}", **(headers or {})}
        head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        if cut:
            data, self.close_connection = data[: len(data) // 2], True
        self.wfile.write(head.encode() + b"\r\n" + (b"" if self.command == "HEAD" else data))


def _shout(identity: str) -> str:
    parts = identity.split("/")
    return "/".join([*parts[:3], "resourceGroups", parts[4].upper(), *parts[5:]]) if len(parts) > 4 else identity
