"""Stand-ins: several side by side, none of which leaves a process or a port behind."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cpis import registry
from cpis.conformance.__main__ import standing_in
from cpis.conformance.standin import Skipped
from cpis.contract import DiskRequest

pytestmark = pytest.mark.walk
NAMES = ("aws", "azure", "gcp", "vsphere")


def children() -> set[int]:
    """Process ids of all that this process, or a child of it, started and that still lives."""
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                more = [int(word) for word in task.read_text().split()]
                found |= set(more)
                waiting += more
    return {pid for pid in found if b"Z" not in _state(pid)}


def _state(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return b"Z"


def answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("name", NAMES)
def test_two_run_side_by_side_and_leave_nothing(name: str, tmp_path: Path) -> None:
    """Emulators' rows 4 and 5: ports are free ones, and whatever happens inside, processes and ports go."""
    before = children()
    endpoints: list[str] = []
    try:
        with (
            contextlib.suppress(ConnectionAbortedError), standing_in(name, tmp_path / "a") as first,
            standing_in(name, tmp_path / "b") as second,
        ):
            endpoints = [first.endpoint, second.endpoint]
            assert all(map(answers, endpoints))
            raise ConnectionAbortedError("a test that fails")
    except Skipped as reason:
        pytest.skip(str(reason))
    assert len(set(endpoints)) == 2
    assert not any(map(answers, endpoints))
    deadline = time.monotonic() + 10
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children() - before


@pytest.mark.parametrize("name", NAMES)
def test_what_one_has_the_other_has_not(name: str, tmp_path: Path) -> None:
    """A disk in the one is not in the other, and is among its resources as long as it lives."""
    try:
        with standing_in(name, tmp_path / "a") as first, standing_in(name, tmp_path / "b") as second:
            site = first.site()
            cpi = registry.load(first.cpi_type, first.config)
            with contextlib.closing(cpi):
                born = [set(first.resources()), set(second.resources())]
                disk = cpi.create_disk(DiskRequest("conformance-standins", site.disk_mib, site.disk_properties))
                assert set(first.resources()) - born[0]
                assert set(second.resources()) == born[1]
                assert first.requests()
                assert not [what for _, what in second.requests() if "disk" in what.lower() or "CreateVolume" in what]
                cpi.delete_disk(disk)
                assert set(first.resources()) == born[0]
    except Skipped as reason:
        pytest.skip(str(reason))
