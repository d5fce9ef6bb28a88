"""How blobs reach machines: fetched by the machine where it can, sent over SSH otherwise."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from director.blobs import LocalBlobstore
from director.errors import AgentError, NotFetched
from director.execute.blob_urls import BlobUrls
from director.execute.context import Context
from director.execute.steps import blobs
from director.machine.agent import Agent
from director.state import Store
from director.state.blobs import BlobRow

SECRET = "signature=5ec2e7"
PACKAGES = (b"one", b"two", b"three")
RENDERED = b"rendered templates"


class Machine:
    """An agent that says what it was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.told: list[tuple[str, str]] = []
        self.cas: set[str] = set()

    def missing_blobs(self, digests: tuple[str, ...]) -> tuple[str, ...]:
        return digests

    def put_blob(self, source: Path | bytes, digest: str) -> None:
        content = source if isinstance(source, bytes) else source.read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        self.told.append(("sent", digest))

    def fetch_blob(self, url: str, digest: str, *, ca: str, cancel: Any) -> None:
        assert SECRET in url
        self.cas.add(ca)
        self.told.append(("fetch", digest))
        if self.error is not None:
            raise self.error

    @property
    def ways(self) -> list[str]:
        return sorted(way for way, _ in self.told)


class World:
    def __init__(self, folder: Path, urls: bool) -> None:
        self.store = Store(folder / "caisson.db")
        self.debug: list[str] = []
        place = LocalBlobstore(folder / "blobs")
        for content in PACKAGES:
            blob = place.put(content)
            self.store.blobs.add(BlobRow(blob.id, "package", blob.sha256, blob.size))
        self.logs = place.put(b"logs")
        self.store.blobs.add(BlobRow(self.logs.id, "logs", self.logs.sha256, self.logs.size))
        self.urls = BlobUrls(lambda blob_id: f"https://d/signed/blobs/{blob_id}?{SECRET}", "CA") if urls else None
        self.ctx = cast(Context, SimpleNamespace(
            store=self.store, blobs=place, blob_urls=self.urls, log=SimpleNamespace(debug=self.debug.append), cancel=threading.Event(),
            check=lambda: None,
        ))

    def send(self, machine: Machine) -> None:
        spec = {
            "rendered_templates_archive": {"sha256": hashlib.sha256(RENDERED).hexdigest()},
            "packages": {content.decode(): {"sha1": hashlib.sha256(content).hexdigest()} for content in PACKAGES},
        }
        blobs.send(self.ctx, cast(Agent, machine), spec, SimpleNamespace(blob=self._rendered))

    @staticmethod
    def _rendered(digest: str) -> bytes | None:
        return RENDERED if digest == hashlib.sha256(RENDERED).hexdigest() else None


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made: list[World] = []

    def world(urls: bool = True) -> World:
        made.append(World(tmp_path, urls))
        return made[-1]

    yield world
    for one in made:
        one.store.close()


def test_packages_are_fetched_rendered_templates_sent(make: Any) -> None:
    world, machine = make(), Machine()
    world.send(machine)
    assert machine.ways == ["fetch"] * 3 + ["sent"]
    assert ("sent", hashlib.sha256(RENDERED).hexdigest()) in machine.told
    assert machine.cas == {"CA"}
    assert len([line for line in world.debug if "fetched by the machine itself" in line]) == 3
    assert SECRET not in "".join(world.debug) + repr(world.urls)


def test_without_a_url_all_are_sent(make: Any) -> None:
    machine = Machine()
    make(urls=False).send(machine)
    assert machine.ways == ["sent"] * 4


def test_a_machine_that_cannot_is_sent_them_and_not_asked_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "STREAMS", 1)
    world, machine, other = make(), Machine(NotFetched("Blob x could not be fetched: refused")), Machine()
    world.send(machine)
    world.send(machine)
    assert machine.ways == ["fetch"] + ["sent"] * 8
    assert world.debug == ["Blob x could not be fetched: refused; the director sends blobs to this machine over SSH"]
    world.send(other)
    assert other.ways == ["fetch"] * 3 + ["sent"]


def test_other_errors_are_errors(make: Any) -> None:
    machine = Machine(AgentError("No space left on the machine's disk"))
    with pytest.raises(AgentError, match="No space left"):
        make().send(machine)
    assert ("sent", hashlib.sha256(PACKAGES[0]).hexdigest()) not in machine.told


def test_what_is_no_package_has_no_link(make: Any) -> None:
    world, machine = make(), Machine()
    blobs.send_one(world.ctx, cast(Agent, machine), f"{world.logs.sha256}")
    assert machine.ways == ["sent"]
