"""A director without its executor: a real store, a real blobstore, real HTTPS; tasks only write down what was asked."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from director.api import app, services
from director.api.credentials import Credentials
from director.api.server import HttpsServer
from director.blobs import LocalBlobstore, Signer
from director.cli import client as cli_client
from director.errors import CaissonError
from director.state import Store
from director.tasks import operations

NOW = 1_790_000_000.0
ADMIN = ("admin", "secret")
YAML = {"Content-Type": "text/yaml"}
TARBALL = {"Content-Type": "application/x-compressed"}


class RecordedTasks:
    """Rows in the store, output files in a folder, nothing run."""

    def __init__(self, store: Store, folder: pathlib.Path) -> None:
        self.store, self.folder = store, folder

    def create(
        self, *, kind: str, arguments: Mapping[str, Any], description: str, deployment: str = "", user: str = "", context_id: str = ""
    ) -> int:
        return self.store.tasks.add(
            operations.KINDS[kind].type, description, arguments=dict(arguments), user=user, deployment=deployment, context_id=context_id
        )

    def cancel(self, task_id: int) -> None:
        self.store.tasks.cancel(task_id)

    def output(self, task_id: int, kind: str) -> pathlib.Path | None:
        path = self.folder / str(task_id) / kind
        return path if path.exists() else None

    def write(self, task_id: int, kind: str, text: str) -> None:
        path = self.folder / str(task_id) / kind
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(text)


class Switch:
    """One server for all tests; each test puts its own application behind it."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@dataclasses.dataclass
class Listening:
    """The server with the way to it."""

    switch: Switch
    server: HttpsServer
    credentials: Credentials
    template: pathlib.Path

    def __post_init__(self) -> None:
        self.anonymous = cli_client.connect(self.endpoint())
        self.http = cli_client.connect(self.endpoint())
        self.http.auth = httpx.BasicAuth(*ADMIN)

    def close(self) -> None:
        self.http.close()
        self.anonymous.close()
        self.server.stop()

    def endpoint(self, user: str = ADMIN[0], secret: str = ADMIN[1]) -> cli_client.Endpoint:
        host, port = self.server.address
        return cli_client.Endpoint(host, port, self.credentials.ca.read_text(), user, secret)


class World:
    """What a test touches: HTTP as the administrator, and what stands behind it."""

    def __init__(self, folder: pathlib.Path, listening: Listening) -> None:
        self.listening = listening
        shutil.copy(listening.template, folder / "caisson.db")
        self.store = Store(folder / "caisson.db", clock=lambda: NOW)
        self._skip_hashing()
        self.tasks = RecordedTasks(self.store, folder / "tasks")
        self.blobs = LocalBlobstore(folder / "blobs")
        self.uploads = folder / "uploads"
        self.planned: list[tuple[str, Mapping[str, Any]]] = []
        self.plan_error: CaissonError | None = None
        self.plan_answer: Mapping[str, Any] = {"text": "+ web/0  new\n", "plan": {"changes": [{"action": "create"}]}}
        info = services.DirectorInfo("caisson", "11111111-2222-3333-4444-555555555555", "0.1.0 (00000000)", "local_cpi")
        self.services = services.Services(
            store=self.store,
            blobs=self.blobs,
            tasks=self.tasks,
            planner=self._plan,
            director=info,
            uploads=self.uploads,
            clock=lambda: NOW,
            certificate=listening.credentials.certificate,
            signer=Signer(b"s" * 32, lambda: NOW),
        )
        listening.switch.app = app.make_app(self.services)
        self.anonymous, self.http = listening.anonymous, listening.http

    def _skip_hashing(self) -> None:
        """scrypt is slow on purpose; the administrator's right password need not be hashed in every test."""
        real = self.store.users.authenticate
        (known,) = [user for user in self.store.users.all() if user.name == ADMIN[0]]

        def authenticate(name: str, password: str) -> Any:
            unchanged = known in self.store.users.all()
            return known if (name, password) == ADMIN and unchanged else real(name, password)

        self.store.users.authenticate = authenticate  # type: ignore[method-assign]

    def _plan(self, manifest: str, options: Mapping[str, Any], *, keep: bool = False) -> Mapping[str, Any]:
        self.planned.append((manifest, options))
        if self.plan_error is not None:
            raise self.plan_error
        return {key: value for key, value in self.plan_answer.items() if key != "file" or keep}

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.http.post(path, **more)

    def put(self, path: str, **more: Any) -> httpx.Response:
        return self.http.put(path, **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        return self.http.delete(path, **more)

    def last_task(self) -> Any:
        return self.store.tasks.select()[0]

    def close(self) -> None:
        self.store.close()


def listen(folder: pathlib.Path) -> Listening:
    """Start the server; `close` it at the end."""
    from director.api import credentials

    template = folder / "template.db"
    with Store(template, clock=lambda: NOW) as store:
        made = credentials.prepare(folder, store, ["127.0.0.1", "localhost"], NOW)
        store.users.set(*ADMIN)
    switch = Switch()
    server = HttpsServer(switch, made, "127.0.0.1", 0)
    server.start()
    return Listening(switch, server, made, template)
