"""`Store`: one database with all its repositories. Opening it brings it to the newest schema."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from director.state import (
    addresses,
    blobs,
    compiled_packages,
    configs,
    database,
    deployments,
    disks,
    dns,
    errands,
    events,
    ids,
    instances,
    journal,
    links,
    locks,
    migrations,
    networks,
    releases,
    rotations,
    settings,
    stemcells,
    tasks,
    users,
    variables,
    vms,
)


class Store:
    """All that is remembered. Safe to share between threads; every repository method is a short transaction of its own unless it is
    called inside `with store.transaction():` of the same thread."""

    def __init__(self, path_or_url: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        """`path_or_url` is a file (made, mode 0600, with its folder, when missing) or an SQLAlchemy URL. Raises CaissonError when the
        database cannot be opened or is newer than this program."""
        self._db = database.Database(str(path_or_url), clock)
        self.clock = clock
        migrations.upgrade(self._db.engine, self._db.write)
        self.addresses = addresses.Addresses(self._db)
        self.blobs = blobs.Blobs(self._db)
        self.compiled_packages = compiled_packages.CompiledPackages(self._db)
        self.configs = configs.Configs(self._db)
        self.deployments = deployments.Deployments(self._db)
        self.disks = disks.Disks(self._db)
        self.dns = dns.Dns(self._db)
        self.errands = errands.Errands(self._db)
        self.events = events.Events(self._db)
        self.ids = ids.NumericIds(self._db)
        self.instances = instances.Instances(self._db)
        self.journal = journal.Journal(self._db)
        self.links = links.Links(self._db)
        self.locks = locks.Locks(self._db)
        self.networks = networks.Networks(self._db)
        self.releases = releases.Releases(self._db)
        self.rotations = rotations.Rotations(self._db)
        self.settings = settings.Settings(self._db)
        self.stemcells = stemcells.Stemcells(self._db)
        self.tasks = tasks.Tasks(self._db)
        self.users = users.Users(self._db)
        self.variables = variables.Variables(self._db)
        self.vms = vms.Vms(self._db)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All writes of this thread inside the block are kept, or none when it raises. May be nested: an inner one that raises takes back
        only its own writes. Keep it short and call no cloud inside: other writers wait. `durable` survives the loss of power too."""
        with self._db.write(durable=durable):
            yield

    def close(self) -> None:
        """Close all connections."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
