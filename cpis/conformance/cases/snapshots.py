"""Snapshots of disks, on clouds that have them."""

from __future__ import annotations

from cpis.conformance.bench import Bench, NotApplicable, raises
from cpis.contract import Conflict, NotSupported


def _snapshot(bench: Bench, disk: str, token: str, metadata: dict[str, str] | None = None) -> str:
    try:
        return bench.cpi.snapshot_disk(disk, metadata or {}, token)
    except NotSupported as error:
        raise NotApplicable(f"no snapshots: {error}") from error


def snapshot_lives_and_dies(bench: Bench) -> None:
    """A snapshot is found by its token, made once, and goes with its disk at the latest."""
    disk, token, other = bench.disk(), bench.token(), bench.token()
    snapshot = _snapshot(bench, disk, token, {"agent_id": "a"})
    assert bench.cpi.snapshot_disk(disk, {"agent_id": "a"}, token) == snapshot
    assert [found.cid for found in bench.cpi.find(token)] == [snapshot]
    for _ in range(2):
        bench.cpi.delete_snapshot(snapshot)
    assert not bench.cpi.find(token)
    bench.cpi.snapshot_disk(disk, {}, other)
    bench.cpi.delete_disk(disk)
    assert not bench.cpi.find(other), "the snapshot outlived its disk"


def snapshot_carries_metadata(bench: Bench) -> None:
    """A snapshot carries the metadata it was given, and the director's mark."""
    disk, token = bench.disk(), bench.token()
    metadata = {"deployment": "conformance", "job": "web", "index": "0"}
    snapshot = _snapshot(bench, disk, token, metadata)
    (found,) = bench.cpi.find(token)
    assert (found.kind, found.cid) == ("snapshot", snapshot)
    assert found.metadata.get("deployment") == "conformance", f"carries {dict(found.metadata)}"
    assert snapshot in {item.cid for item in bench.cpi.owned()}


def snapshot_of_an_attached_disk(bench: Bench) -> None:
    """A disk in use can be snapshotted, stays attached, and is deleted with its snapshots later."""
    vm = bench.vm()
    disk, token = bench.disk(vm_cid=vm.cid), bench.token()
    bench.cpi.attach_disk(vm.cid, disk)
    _snapshot(bench, disk, token)
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]
    bench.cpi.detach_disk(vm.cid, disk)
    bench.cpi.delete_disk(disk)
    assert not bench.cpi.find(token)


def snapshot_token_is_not_reused(bench: Bench) -> None:
    """A snapshot's token with another disk is a Conflict."""
    first, second, token = bench.disk(), bench.disk(), bench.token()
    _snapshot(bench, first, token)
    raises(Conflict, lambda: bench.cpi.snapshot_disk(second, {}, token))


CASES = (snapshot_lives_and_dies, snapshot_carries_metadata, snapshot_of_an_attached_disk, snapshot_token_is_not_reused)
