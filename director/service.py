"""The director as one process: every part is made here and given to those who need it. The only place where all layers meet."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
import secrets
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import director
from cpis import contract, registry
from director import memory
from director.api import app, credentials, server, services, uploads
from director.api import blobs as api_blobs
from director.api.config import DirectorConfig
from director.blobs import LocalBlobstore, Signer
from director.execute import context, journal, kept_plans, prepare, telling, upkeep
from director.execute.blob_urls import BlobUrls
from director.execute.clouds import Clouds, maker, translated
from director.machine import keys, session
from director.machine.agent import Agent
from director.machine.endpoint import Endpoint
from director.machine.machines import Machines
from director.manifest import configs, late, load
from director.plan import explain, outline, planfile
from director.render.renderer import Renderer
from director.state import Store
from director.tasks import operations, schedule
from director.tasks.context import TaskContext
from director.tasks.outputs import Outputs
from director.tasks.queue import Tasks
from director.tasks.redact import Redactor
from director.variables import Vault

BOOT_SECONDS = 120.0
ANSWER_SECONDS = 10.0
RESOLVER_FILES = (pathlib.Path("/run/systemd/resolve/resolv.conf"), pathlib.Path("/etc/resolv.conf"))
STOP_SECONDS = 5.0
LINK_SECONDS = 1800.0  # as long as a machine is given to fetch a blob


def run(config: DirectorConfig) -> None:
    """Be the director until SIGTERM or SIGINT. Running tasks are left to the next start, which takes them up."""
    memory.keep_small()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _log_to_stderr()
    with serving(Parts.make(config)) as https:
        logging.getLogger(__name__).info("listening on %s:%s", *https.address)
        stop.wait()


@contextlib.contextmanager
def serving(parts: Parts) -> Iterator[server.HttpsServer]:
    """API and tasks of a director, for the block; its parts are closed at the end."""
    config = parts.config
    queue = Tasks(
        parts.store, config.state, operations.handlers(parts.of_task), workers=config.workers, redactor=parts.redactor,
        afterwards=memory.give_back)
    made = credentials.prepare(config.state, parts.store, config.certificate_hosts, time.time())
    upload_folder = config.state / "uploads"
    upload_folder.mkdir(exist_ok=True, mode=0o700)
    uploads.sweep(upload_folder, parts.store)
    upkeep.sweep_blobs(parts.store, parts.blobs, time.time())
    info = services.DirectorInfo(name=config.name, uuid=parts.director.uuid, version=f"{director.__version__} (00000000)", cpi=config.cpi)
    https = server.HttpsServer(
        app.make_app(services.Services(
            store=parts.store, blobs=parts.blobs, tasks=_Queue(queue), planner=parts.preview, director=info, uploads=upload_folder,
            clock=time.time, certificate=made.certificate, cpis=parts.clouds.names, clouds=parts.clouds.types,
            signer=parts.signer, vault=parts.vault,
        )), made, config.host, config.port)
    memory.settle()
    queue.start()
    timed = schedule.Schedule(
        parts.store, lambda kind, what: queue.create(operations.KINDS[kind].type, {"kind": kind}, what, user=schedule.USER))
    timed.start()
    https.start()
    try:
        yield https
    finally:
        https.stop()
        timed.stop()
        queue.stop(STOP_SECONDS)
        parts.close()


def _log_to_stderr() -> None:
    """The director's own log. Tasks lower the level of loggers for their debug outputs; that is not for here."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("alembic", "director.machine.ssh", "httpx", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _Queue:
    """The task queue in the API's words."""

    def __init__(self, queue: Tasks) -> None:
        self._queue = queue

    def create(
        self, *, kind: str, arguments: Mapping[str, Any], description: str, deployment: str = "", user: str = "", context_id: str = "",
    ) -> int:
        return self._queue.create(
            operations.KINDS[kind].type, {**arguments, "kind": arguments.get("kind") if kind == "" else kind}, description, user=user,
            deployment=deployment, context_id=context_id)

    def cancel(self, task_id: int) -> None:
        self._queue.cancel(task_id)

    def output(self, task_id: int, kind: str) -> pathlib.Path | None:
        path = self._queue.outputs.path(task_id, kind)
        return path if path.is_file() else None


@dataclasses.dataclass(frozen=True)
class Parts:
    """What operations are made of, for the whole life of the process."""

    config: DirectorConfig
    store: Store
    blobs: LocalBlobstore
    vault: Vault
    clouds: Clouds
    renderer: Renderer
    director: context.Director
    redactor: Redactor
    signer: Signer | None

    @classmethod
    def make(cls, config: DirectorConfig) -> Parts:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(config.state / "caisson.db")
        redactor = Redactor()
        vault = Vault(store, config.state / "vault.key", director_name=config.name, on_secret=redactor.add)
        login = _login(config.state / "login.key")
        seed = store.settings.get_or_make("host-key-seed", lambda: vault.seal(secrets.token_hex(32)))
        who = context.Director(
            name=config.name, uuid=store.settings.get_or_make("uuid", lambda: str(uuid.uuid4())), login=login,
            secret=bytes.fromhex(vault.unseal(seed)), recursors=recursors(), names_wait=config.names_wait,
        )
        # Whose a thing in a cloud is, is told by the uuid: names of directors are alike everywhere.
        mark = config.name if config.cpi == "local" else who.uuid
        cloud = registry.load(config.cpi, {"state_dir": str(config.state / config.cpi), "director": mark})
        if isinstance(cloud, contract.Checked):
            with translated(f"The director's cloud '{config.cpi}' cannot be used"):
                cloud.check()
        clouds = Clouds(cloud, maker(config.state / "cpis", who.uuid), lambda: _cpi_config(store, vault))
        return cls(
            config, store, LocalBlobstore(config.state / "blobs"), vault, clouds, Renderer(), who, redactor,
            _signer(store, vault) if config.blobs_url else None,
        )

    def of_task(self, task: TaskContext) -> context.Context:
        """Surroundings for one task, with connections of its own."""
        ctx = self._context(task.log, task.cancel, task.check, task.user, task.id, task.deployment)
        return dataclasses.replace(ctx, lock=task.locks.lock)

    def preview(self, manifest: str, options: Mapping[str, Any], *, keep: bool = False) -> Mapping[str, Any]:
        """What a deploy would do; with `keep` also as a file to do exactly that later. Writes nothing."""
        cancel = threading.Event()
        ctx = self._context(_Quiet(), cancel, lambda: None, "", 0, "")
        try:
            prepared = prepare.prepare(ctx, operations.wanted_of({"manifest": manifest, "options": options}), write=False)
            told = telling.told(ctx, prepared)
            file = {"file": planfile.to_tree(kept_plans.keep(ctx, prepared, options, told))} if keep else {}
        finally:
            ctx.machines.close()
        return {"text": explain.explain(told), "plan": outline.to_json(told), "warnings": list(told.warnings), **file}

    def close(self) -> None:
        self.renderer.close()
        self.clouds.close()
        self.store.close()

    def _context(
        self, log: Any, cancel: threading.Event, check: Callable[[], None], user: str, task_id: int, deployment: str,
    ) -> context.Context:
        def sleep(seconds: float) -> None:
            cancel.wait(seconds)
            check()

        return context.Context(
            director=self.director, store=self.store, blobs=self.blobs, vault=self.vault, clouds=self.clouds,
            machines=Machines(lambda endpoint: self._connect(endpoint, cancel)), renderer=self.renderer,
            journal=journal.Journal(self.store, self.vault, sleep, task_id or None), log=log, cancel=cancel, check=check, clock=time.time,
            sleep=sleep, new_id=lambda: str(uuid.uuid4()), user=user, task_id=task_id, deployment=deployment,
            blob_urls=self._blob_urls(), redact=self.redactor,
            task_events=lambda earlier: Outputs(self.config.state / "tasks").read(earlier, "event"),
        )

    def _blob_urls(self) -> BlobUrls | None:
        if (signer := self.signer) is None:
            return None
        ca = (credentials.folder(self.config.state) / "ca.pem").read_text()
        return BlobUrls(lambda blob_id: api_blobs.link(signer, self.config.blobs_url, blob_id, LINK_SECONDS), ca)

    def _connect(self, endpoint: Endpoint, cancel: threading.Event) -> Agent:
        """A machine that was ready once answers soon or not at all; a new one is given time to boot."""
        vm = self.store.vms.find(endpoint.cid)
        seconds = ANSWER_SECONDS if vm is not None and vm.notes.get("ready") else BOOT_SECONDS
        return Agent(session.connect(endpoint, self.director.login.private_pem, wait_seconds=seconds, cancel=cancel))


class _Quiet:
    """Progress of a preview: nobody follows it."""

    def stage(self, name: str, total: int = 1, tags: tuple[str, ...] = ()) -> _QuietStage:
        return _QuietStage()

    def warning(self, message: str) -> None:
        pass

    def result(self, text: str) -> None:
        pass

    def debug(self, message: str) -> None:
        logging.getLogger(__name__).debug(message)


class _QuietStage:
    def step(self, name: str) -> contextlib.AbstractContextManager[_QuietStep]:
        return contextlib.nullcontext(_QuietStep())


class _QuietStep:
    def status(self, text: str, progress: int) -> None:
        pass


def _signer(store: Store, vault: Vault) -> Signer:
    """Links keep their meaning over a restart."""
    sealed = store.settings.get_or_make("blob-links-secret", lambda: vault.seal(secrets.token_hex(32)))
    return Signer(bytes.fromhex(vault.unseal(sealed)), time.time)


def _login(path: pathlib.Path) -> keys.KeyPair:
    """The key with which this director logs in on machines, made on its first start."""
    if path.is_file():
        return keys.read(path.read_text())
    pair = keys.generate()
    path.touch(mode=0o600)
    path.write_text(pair.private_pem)
    return pair


def _cpi_config(store: Store, vault: Vault) -> dict[str, Mapping[str, Any]]:
    """Always with the newest values of variables. Source: manifest contract, section 11."""
    documents = [
        late.interpolate_for_director(load.load_yaml(config.content, f"cpi-config '{config.name}'"), vault.lookup(""), "cpi")
        for config in store.configs.current("cpi")
    ]
    return {
        cpi.name: {"type": cpi.type, "properties": cpi.properties, "migrated_from": cpi.migrated_from, "exec_path": cpi.exec_path}
        for cpi in configs.parse_cpi_config(documents)
    }


def recursors() -> tuple[str, ...]:
    """Resolvers of this computer that machines can reach too: no loopback ones."""
    for file in RESOLVER_FILES:
        if file.is_file():
            found = [line.split()[1] for line in file.read_text().splitlines() if line.startswith("nameserver") and len(line.split()) > 1]
            usable = tuple(address for address in found if not address.startswith(("127.", "::1")))
            if usable:
                return usable
    return ()

