"""The records beside persistent disks and snapshots, and finding both on datastores."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pyVmomi import vim

from cpis.cloud.faults import MALFORMED
from cpis.contract import CpiError, Found, NotFound, Unavailable
from cpis.vsphere.config import Config
from cpis.vsphere.inventory import Datastore, Inventory
from cpis.vsphere.session import Session
from cpis.vsphere.tasks import run, wait_all

log = logging.getLogger("cpis")


@dataclasses.dataclass(frozen=True)
class Record:
    """What a disk does not say of itself. `vm` had it last; `disk` is set for snapshots; `complete` turns true when the copy is."""

    cid: str
    token: str
    director: str
    shape: str
    size_mib: int
    type: str
    created: float | None
    metadata: Mapping[str, str]
    vm: str = ""
    disk: str = ""
    complete: bool = True

    def with_vm(self, vm: str) -> Record:
        """With another machine."""
        return dataclasses.replace(self, vm=vm)

    def with_size(self, size_mib: int) -> Record:
        """With another size."""
        return dataclasses.replace(self, size_mib=size_mib)

    def with_metadata(self, metadata: Mapping[str, str]) -> Record:
        """With other metadata."""
        return dataclasses.replace(self, metadata=metadata)

    def completed(self) -> Record:
        """Complete."""
        return dataclasses.replace(self, complete=True)

    def found(self) -> Found:
        """As the contract tells of resources."""
        return Found("snapshot" if self.disk else "disk", self.cid, self.token, self.metadata, self.created)


@dataclasses.dataclass(frozen=True)
class File:
    """A disk or record by its name without ending; `whole`: the disk's file is there, `recorded`: its record is."""

    store: Datastore
    name: str
    whole: bool
    recorded: bool


@dataclasses.dataclass(frozen=True)
class Located:
    """A disk on its datastore; not `whole`: only its record is there."""

    store: Datastore
    record: Record
    whole: bool


def _named(file: File) -> Record:
    """What the name of a file tells."""
    name, _, disk = file.name.partition(".")
    return Record(name, name, "", "", 0, "", None, {}, disk=disk)


def _parsed(data: bytes) -> Record | None:
    """None for what is no record of ours, or has values of other types."""
    try:
        values = json.loads(data)
        record = Record(**{key: value for key, value in values.items() if key in _TYPES})
    except (ValueError, TypeError, AttributeError):
        return None
    right = all(
        isinstance(getattr(record, key), kind) and not (isinstance(getattr(record, key), bool) and kind is not bool)
        for key, kind in _TYPES.items())
    return record if right and all(isinstance(value, str) for value in record.metadata.values()) else None


_TYPES: Mapping[str, Any] = {
    "cid": str, "token": str, "director": str, "shape": str, "size_mib": int, "type": str, "created": int | float | None,
    "metadata": dict, "vm": str, "disk": str, "complete": bool,
}


class Records:
    """Safe to use from many threads."""

    def __init__(self, session: Session, inventory: Inventory, config: Config) -> None:
        self._session = session
        self._inventory = inventory
        self._config = config
        self._lock = threading.Lock()
        self._folders: set[Any] = set()
        self._last: dict[str, Datastore] = {}

    def path(self, store: Datastore, name: str) -> str:
        """The datastore path of a file among the disks."""
        return f"[{store.name}] {self._config.disk_path}/{name}"

    def folder(self, store: Datastore) -> None:
        """Make the folder for disks there, once."""
        if store.ref in self._folders:
            return
        path = f"[{store.name}] {self._config.disk_path}"
        try:
            self._session.content.fileManager.MakeDirectory(path, self._inventory.now().ref, True)
        except CpiError as error:
            if error.code != "FileAlreadyExists":
                raise
        with self._lock:
            self._folders.add(store.ref)

    def write(self, store: Datastore, record: Record, name: str = "") -> None:
        """Write a record, beside a disk or a snapshot (`name`)."""
        self.folder(store)
        data = json.dumps(dataclasses.asdict(record), sort_keys=True).encode()
        self._session.put_file(self._inventory.datacenter, store.name, f"{self._config.disk_path}/{name or record.cid}.json", data)
        with self._lock:
            self._last[record.cid] = store

    def read(self, file: File) -> Record:
        """The record of a file; without one only the name is known. Raises Unavailable for one that cannot be read: whoever went on with
        a guess would write it over what is known of the disk."""
        if not file.recorded:
            return _named(file)
        path = f"{self._config.disk_path}/{file.name}.json"
        try:
            data = self._session.get_file(self._inventory.datacenter, file.store.name, path)
        except NotFound:
            return _named(file)
        record = _parsed(data)
        if record is None:
            where = self.path(file.store, f"{file.name}.json")
            raise Unavailable(
                f"the record {where} cannot be read", code=MALFORMED, resource=file.name, kind="disk",
                suggestion="Does a proxy answer in vCenter's place? When the file itself is damaged, delete it: the disk stays.")
        return record

    def listed(self, file: File) -> Record:
        """The same for lists, which one damaged record must not end: of it only the name is known."""
        try:
            return self.read(file)
        except Unavailable as error:
            if error.code != MALFORMED:
                raise
            log.warning("%s", error)
            return _named(file)

    def delete(self, store: Datastore, name: str) -> None:
        """Take a record away; gone before is fine."""
        path = self.path(store, f"{name}.json")
        manager = self._session.content.fileManager
        with contextlib.suppress(NotFound):
            run(self._session, f"deletion of {path}", lambda: manager.DeleteDatastoreFile_Task(path, self._inventory.now().ref))
        with self._lock:
            self._last.pop(name, None)

    def locate(self, cid: str) -> Located | None:
        """Where a disk is: first where it was last seen, then everywhere."""
        patterns = [f"{cid}.vmdk", f"{cid}.json"]
        last = self._last.get(cid)
        files = self.search(patterns, [last]) if last else []
        if not any(file.whole and file.recorded for file in files):
            files = self.search(patterns)
        if not files:
            return None
        best = max(files, key=lambda file: (file.recorded, file.whole))
        with self._lock:
            self._last[cid] = best.store
        return Located(best.store, self.read(best), any(file.whole and file.store == best.store for file in files))

    def search(self, patterns: Sequence[str], stores: Sequence[Datastore] | None = None) -> list[File]:
        """Files among the disks by patterns (`*`), on all datastores at once: a request for each, and one to wait for all."""
        everywhere = [store for store in self._inventory.now().datastores if store.usable] if stores is None else list(stores)
        spec = vim.host.DatastoreBrowser.SearchSpec(matchPattern=list(patterns))
        tasks = [store.browser.SearchDatastore_Task(f"[{store.name}] {self._config.disk_path}", spec) for store in everywhere]
        found: dict[tuple[str, str], File] = {}
        for store, result in zip(everywhere, wait_all(self._session, "search for disks", tasks), strict=True):
            if isinstance(result, NotFound):
                continue  # no disk was ever made there
            if isinstance(result, CpiError):
                raise result
            for item in result.file or []:
                name, _, ending = item.path.rpartition(".")
                if name.endswith("-flat"):
                    continue
                before = found.get((store.name, name), File(store, name, False, False))
                found[store.name, name] = dataclasses.replace(
                    before, whole=before.whole or ending == "vmdk", recorded=before.recorded or ending == "json")
        return list(found.values())


