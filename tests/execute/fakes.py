"""A whole director in memory: the fake cloud, machines whose agents obey the agent contract, a state database in a folder.

    world = World(folder)
    world.upload(RELEASE)
    world.deploy(manifest)
    world.fleet.calls          what was asked of which machine

`World.twin` is a new director that finds what this one would leave behind if it were killed right now.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fake_machines import Cloud, Effect, Fleet, Machine, Session, Tree, rendered

from director.blobs import LocalBlobstore
from director.errors import Unreachable
from director.execute import context, deploy, fetch, prepare, uploads
from director.execute.clouds import Clouds
from director.execute.journal import Journal
from director.machine import keys
from director.machine.agent import Agent
from director.machine.endpoint import Endpoint
from director.machine.machines import Machines
from director.release.create import create_release
from director.render.renderer import Renderer
from director.state import Store
from director.state.stemcells import StemcellRow
from director.variables import Vault

__all__ = ["Clock", "Cloud", "Fleet", "Log", "Machine", "World", "rendered"]

LOGIN = keys.generate()
STATEMENTS: dict[Any, Any] = {}
SECRET = b"s" * 32


class Log:
    """Progress kept in lists: steps as `STAGE: TASK`."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.failed: list[str] = []
        self.warnings: list[str] = []
        self.results: list[str] = []

    def stage(self, name: str, total: int = 1, tags: tuple[str, ...] = ()) -> _Stage:
        return _Stage(self, name)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def result(self, text: str) -> None:
        self.results.append(text)

    def debug(self, message: str) -> None:
        pass


class _Stage:
    def __init__(self, log: Log, name: str) -> None:
        self._log, self._name = log, name

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[_Step]:
        try:
            yield _Step()
        except BaseException:
            self._log.failed.append(f"{self._name}: {name}")
            raise
        self._log.steps.append(f"{self._name}: {name}")


class _Step:
    def status(self, text: str, progress: int) -> None:
        pass


class Clock:
    """Each look is a moment later."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class World:
    """One director's life on a state folder; `effect` is told the name of each thing that was done to database, cloud and machines."""

    def __init__(
        self, folder: Path, *, fleet: Fleet | None = None, cloud: Cloud | None = None, renderer: Renderer | None = None,
        blobs: LocalBlobstore | None = None, ids: Iterator[int] | None = None, clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.effect: Effect = lambda name: None
        self.fleet = fleet or Fleet()
        self.cloud = cloud.twin(self.fleet, self._done) if cloud else Cloud(self.fleet, self._done)
        self.clock = clock or Clock()
        self.store = Store(folder / "state.db", clock=self.clock)
        # Statements are compiled once for all worlds: each would else begin with an empty cache.
        database = self.store._db
        database.engine = database.engine.execution_options(compiled_cache=STATEMENTS)
        self.vault = Vault(self.store, folder / "vault.key", director_name="test")
        self.blobs = blobs or LocalBlobstore(folder / "blobs")
        self.renderer = renderer or Renderer()
        self.log = Log()
        self.cancel = threading.Event()
        self._ids = ids or itertools.count(1)
        self.task = 1
        self.cpis: Tree = {}
        self.clouds: dict[str, Cloud] = {}
        self._watch_commits()

    def _done(self, name: str) -> None:
        with self.fleet.lock:
            self.effect(name)

    def _watch_commits(self) -> None:
        """Tell of each transaction that was committed."""
        database = self.store._db
        write = database.write

        @contextlib.contextmanager
        def watched(**options: Any) -> Iterator[Any]:
            outermost = not database.in_transaction
            with write(**options) as connection:
                yield connection
            if outermost:
                self._done("commit")

        database.write = watched  # type: ignore[method-assign]

    @property
    def context(self) -> context.Context:
        """Surroundings of task number `task`."""
        return context.Context(
            director=context.Director("test", "uuid", LOGIN, SECRET), store=self.store, blobs=self.blobs, vault=self.vault,
            clouds=Clouds(self.cloud, lambda name, entry: self.clouds.get(name, self.cloud), lambda: self.cpis),
            machines=Machines(self._connect),
            renderer=self.renderer,
            journal=Journal(self.store, self.vault, lambda seconds: None), log=self.log, cancel=self.cancel, check=lambda: None,
            clock=self.clock, sleep=lambda seconds: None, new_id=lambda: _uuid(next(self._ids)), user="admin", task_id=self.task,
            deployment="app", threads=1,
        )

    def _connect(self, endpoint: Endpoint) -> Agent:
        machine = self.fleet.machines.get(endpoint.cid)
        if machine is None or machine.dead or machine.deaf:
            raise Unreachable(f"Machine '{endpoint.cid}' cannot be reached at {endpoint.address}:{endpoint.port}")
        assert endpoint.accepts_any or machine.host_key in endpoint.accepted_keys, "the machine shows a key that nobody pinned"
        cloud = next((cloud for cloud in self.clouds.values() if machine.cid in cloud._resources), self.cloud)
        return Agent(Session(cloud, machine, self._done))

    # What users do

    def configure(self, cloud_config: str) -> None:
        self.store.configs.save("cloud", "default", cloud_config)

    def stemcell(self) -> None:
        cid = self.cloud.create_stemcell("", {}, "stemcell")
        self.store.stemcells.add(StemcellRow("linux", "1", "linux", cid, "stemcell"))

    def upload(self, files: Mapping[str, str], version: str = "") -> None:
        """Make a release of the files and upload it."""
        source = self.folder / "release"
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        tarball = self.folder / "release.tgz"
        create_release(source, version=version, force=True, tarball=tarball, prepare=lambda folder: None)
        shutil.rmtree(source)
        uploads.upload_release(self.context, fetch.Upload(path=str(tarball)))

    def deploy(self, manifest: str, **options: Any) -> str:
        return deploy.deploy(self.context, prepare.Wanted(manifest, prepare.model.Options(**options)))

    # What tests look at

    def twin(self, folder: Path) -> World:
        """A director started after this one was killed now. Cloud and machines are copies; this world does not feel what the twin does."""
        return self._again(folder, self.blobs, itertools.count(next(copy.copy(self._ids)) + 1_000_000))

    def copy(self, folder: Path) -> World:
        """Another world that is as this one is, blobs and the ids to come included."""
        shutil.copytree(self.folder / "blobs", folder / "blobs")
        return self._again(folder, LocalBlobstore(folder / "blobs"), copy.copy(self._ids))

    def _again(self, folder: Path, blobs: LocalBlobstore, ids: Iterator[int]) -> World:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.folder / "state.db")) as source, contextlib.closing(
                sqlite3.connect(folder / "state.db")) as target:
            source.backup(target)
        shutil.copy(self.folder / "vault.key", folder)
        return World(
            folder, fleet=self.fleet.twin(), cloud=self.cloud, renderer=self.renderer, blobs=blobs, ids=ids, clock=Clock(self.clock.now),
        )._as_task(self.task)

    def _as_task(self, number: int) -> World:
        self.task = number
        return self

    def close(self) -> None:
        self.store.close()

    def dump(self) -> dict[str, list[str]]:
        """What is recorded, by table, without events; and what the cloud and its machines are."""
        with contextlib.closing(sqlite3.connect(self.folder / "state.db")) as connection:
            names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table' and name != 'events'")]
            tables = {name: sorted(map(str, connection.execute(f'select * from "{name}"'))) for name in names}
        return {**tables, "cloud": [str(self.cloud._resources)], "machines": [str(self.fleet.machines), str(self.fleet.contents)]}

    def leaks(self) -> list[str]:
        """What the cloud has and the records do not, or the other way round; open effects; tokens done twice."""
        owned = {item.cid for item in self.cloud.owned()}
        recorded = {
            *(vm.cid for vm in self.store.vms.all()), *(vm.cid for vm in self.store.vms.orphans()),
            *(disk.cid for disk in self.store.disks.all()),
            *(row.cid for row in self.store.stemcells.all()),
        }
        rows = self.store.journal.all()
        done = [row.token for row in rows if row.state == "done"]
        return [
            *(f"{cid} is not recorded" for cid in sorted(owned - recorded)), *(f"{cid} is not there" for cid in sorted(recorded - owned)),
            *(f"{row.effect} {row.token} is open" for row in rows if row.state == "intent"),
            *(f"{token} was done twice" for token in sorted({token for token in done if done.count(token) > 1})),
            *(f"{vm.cid} still compiles" for vm in self.store.vms.all() if vm.instance_id is None),
        ]

    def machine(self, group: str, index: int = 0) -> Machine:
        """The instance's machine."""
        row = self.store.instances.at("app", group, index)
        vm = self.store.vms.active_of(row.id)
        assert vm is not None, row
        return self.fleet.machines[vm.cid]


def _uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"
