"""A toy cloud over HTTP, and a CPI for it."""

from __future__ import annotations

import base64
import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from cpis.cloud import faults
from cpis.cloud.calls import Caller
from cpis.cloud.limits import Limiter
from cpis.conformance.forms import Forms
from cpis.conformance.proxy import HTML, Answer
from cpis.contract import CpiError, Found, Unavailable
from cpis.fake import FakeCpi

FORMS = Forms(
    throttled={"429, Retry-After 2": Answer(429, b"{}", (("Retry-After", "2"),)), "429": Answer(429, b"{}")},
    faulty={"502": HTML, "500": Answer(500, b"{}")}, denied={"403": Answer(403, b"{}")},
)


class ToyCloud:
    """A fake cloud behind HTTP: POST /METHOD with pickled arguments; each machine has a network card that is made first."""

    def __init__(self) -> None:
        cloud = self.cloud = FakeCpi({"director": "toy"})
        cards = self.cards = dict[str, str]()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                method, arguments = self.path.strip("/"), pickle.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = 200, None
                try:
                    if method == "create_card":
                        cards.setdefault(arguments[0], f"card-{arguments[0]}")
                    elif method == "delete_card":
                        cards.pop(arguments[0], None)
                    elif method == "cards":
                        answer = dict(cards)
                    else:
                        answer = getattr(cloud, method)(*arguments)
                except CpiError as error:
                    status, answer = 422, error
                body = json.dumps({"pickle": base64.b64encode(pickle.dumps(answer)).decode()}).encode()
                self.send_response_only(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def resources(self) -> list[tuple[str, str]]:
        return [*((found.kind, found.cid) for found in self.cloud.owned()), *(("card", name) for name in self.cards)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class ToyCpi(FakeCpi):
    """A CPI as it should be. What it inherits is only what needs no cloud."""

    name = "toy"

    def __init__(self, url: str, time: Any) -> None:
        super().__init__({})
        self.url = url
        self.calls_made = Caller(Limiter({}), self.explain, clock=time.clock, sleep=time.sleep)

    def explain(self, what: str, error: Exception) -> CpiError:
        return faults.unexplained(what, error)

    def ask(self, method: str, *arguments: Any) -> Any:
        return self.calls_made(method, lambda: self.post(method, *arguments))

    def post(self, method: str, *arguments: Any) -> Any:
        response = requests.post(f"{self.url}/{method}", data=pickle.dumps(arguments), timeout=5)
        if response.status_code not in (200, 422):
            raise faults.by_status(method, response.status_code, response.text, response.headers)
        answer = pickle.loads(base64.b64decode(response.json()["pickle"]))
        if response.status_code == 422:
            raise answer
        return answer

    def create_vm(self, request: Any) -> Any:
        self.ask("create_card", request.token)
        try:
            return self.ask("create_vm", request)
        except CpiError as error:
            if not isinstance(error, Unavailable):
                self.ask("delete_card", request.token)
            raise

    def delete_vm(self, cid: str) -> None:
        # The card first: a second try finds its token by the machine.
        token = cid.removeprefix("card of ")
        if token == cid:
            token = next((found.token for found in self.ask("owned") if found.cid == cid), "")
        self.ask("delete_card", token)
        self.ask("delete_vm", cid)

    def find(self, token: str) -> Any:
        return self.ask("find", token) or [Found("vm", f"card of {name}", name) for name in self.ask("cards") if name == token]


def _asks(method: str) -> Any:
    return lambda self, *arguments: self.ask(method, *arguments)


for _method in ("create_stemcell", "delete_stemcell", "has_vm", "reboot_vm", "set_vm_metadata", "create_disk", "delete_disk", "has_disk",
                "attach_disk", "detach_disk", "resize_disk", "update_disk", "set_disk_metadata", "get_disks", "snapshot_disk",
                "delete_snapshot", "owned"):
    setattr(ToyCpi, _method, _asks(_method))
