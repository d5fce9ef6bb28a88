"""Disks and snapshots: rows 9 to 14 of the table of mistakes, and what is Google's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from gcp_bench import Bench

from cpis.conformance.clouds.gcp import Fault
from cpis.contract import Conflict, CpiError, DiskRequest, Invalid, NotFound, NotSupported, Quota, Unavailable

NEW = r"/zones/[^/]+/disks$"


def _disks(bench: Bench) -> list[str]:
    return sorted(path.rsplit("/", 1)[-1] for kind, path in bench.there.resources() if kind == "disks")


@pytest.mark.parametrize(("size_mib", "kind", "gb"), [
    (10240, "pd-standard", "10"), (10241, "pd-standard", "11"), (1, "pd-ssd", "10"), (1025, "hyperdisk-balanced", "4"),
    (5 * 1024, "hyperdisk-balanced", "5")])
def test_sizes_are_whole_gb_and_at_least_what_the_type_allows(bench: Bench, size_mib: int, kind: str, gb: str) -> None:
    """12."""
    disk = bench.thing("disks", bench.disk(size_mib, {"type": kind}))
    assert (disk["sizeGb"], disk["type"].rsplit("/", 1)[-1]) == (gb, kind)


@pytest.mark.parametrize(("size_mib", "properties", "words"), [
    (0, {}, "at least 1 MiB"), (-1, {}, "at least 1 MiB"), (10240, {"type": "pd-golden"}, "pd-balanced"),
    (10**9, {}, "65536"), (10240, {"typ": "pd-ssd"}, "type"), (10240, {"type": 5}, "must be a string"),
])
def test_disks_that_cannot_be(bench: Bench, size_mib: int, properties: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        bench.disk(size_mib, properties)
    assert words in f"{caught.value.message} {caught.value.suggestion}"
    assert not bench.there.resources()


def test_a_disk_is_made_where_its_machine_is(bench: Bench) -> None:
    vm = bench.vm({"zone": "us-central1-b"})
    assert bench.thing("disks", bench.disk(vm_cid=vm.cid))["zone"].endswith("us-central1-b")
    assert bench.thing("disks", bench.disk(properties={"zone": "us-central1-c"}))["zone"].endswith("us-central1-c")
    with pytest.raises(Invalid) as caught:
        bench.disk(properties={"zone": "us-central1-c"}, vm_cid=vm.cid)
    assert "us-central1-c" in caught.value.message
    assert "us-central1-b" in caught.value.message
    with pytest.raises(NotFound):
        bench.disk(vm_cid="vm-unknown")
    with pytest.raises(Invalid, match="needs a zone"):
        bench.again(zone=None).create_disk(DiskRequest("disk-x", 10240))


def test_a_token_that_made_another_disk(bench: Bench) -> None:
    request = DiskRequest(bench.token("disk"), 10240)
    cid = bench.cpi.create_disk(request)
    assert bench.again().create_disk(request) == cid
    for other in (dataclasses.replace(request, size_mib=20480), dataclasses.replace(request, cloud_properties={"type": "pd-ssd"})):
        with pytest.raises(Conflict):
            bench.again().create_disk(other)


@pytest.mark.parametrize("token", ["Ünusual_Token", "9-digits-first", "disk-" + "x" * 60, "ends-"])
def test_odd_tokens(bench: Bench, token: str) -> None:
    request = DiskRequest(token, 10240)
    cid = bench.cpi.create_disk(request)
    assert bench.again().create_disk(request) == cid
    (found,) = bench.cpi.find(token)
    assert (found.cid, found.token) == (cid, token)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_answer_makes_one_disk(bench: Bench, lost: str) -> None:
    bench.there.cloud.faults.append(Fault(method="POST", path=NEW, lost=lost))
    made = bench.disk()
    assert _disks(bench) == [made]


def test_a_disk_that_fails_late_leaves_nothing(bench: Bench) -> None:
    bench.there.world.limits["DISKS"] = 0
    with pytest.raises(Quota) as caught:
        bench.disk()
    assert caught.value.limit == "0.0"
    assert not bench.there.resources()


def test_an_attached_disk_is_not_deleted(bench: Bench) -> None:
    """9: the error names the machine."""
    vm, disk = bench.vm(), bench.disk()
    bench.cpi.attach_disk(vm.cid, disk)
    snapshot = bench.cpi.snapshot_disk(disk, {}, bench.token("snapshot"))
    with pytest.raises(Conflict, match=vm.cid):
        bench.cpi.delete_disk(disk)
    assert _disks(bench) == sorted([vm.cid, disk])
    assert bench.thing("snapshots", snapshot), "its snapshots went before it was looked whether it can go"
    for call in (lambda: bench.cpi.resize_disk(disk, 20480), lambda: bench.cpi.update_disk(disk, 20480, {"type": "pd-ssd"})):
        with pytest.raises(Conflict, match=vm.cid):
            call()


def test_hints_are_devices_by_id(bench: Bench) -> None:
    """Indexes of disks are shifted by a local SSD."""
    vm, disk = bench.vm({"ephemeral_disk_type": "local-ssd"}), bench.disk()
    hint = bench.cpi.attach_disk(vm.cid, disk)
    assert hint.path == f"/dev/disk/by-id/google-{disk}"
    assert bench.cpi.attach_disk(vm.cid, disk) == hint
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]


def test_a_disk_that_was_attached_by_hand(bench: Bench) -> None:
    """Under another device name, which Libcloud's `detach_volume` would not find."""
    vm, disk = bench.vm(), bench.disk()
    bench.cpi._compute.run(
        "POST", f"/zones/us-central1-a/instances/{vm.cid}/attachDisk",
        {"source": f"projects/fake-project/zones/us-central1-a/disks/{disk}", "deviceName": "by-hand"})
    assert bench.cpi.attach_disk(vm.cid, disk).path == "/dev/disk/by-id/google-by-hand"
    bench.cpi.detach_disk(vm.cid, disk)
    assert not bench.cpi.get_disks(vm.cid)


def test_a_disk_on_another_machine_is_left_alone(bench: Bench) -> None:
    """10 and 11."""
    first, second, disk = bench.vm(), bench.vm(), bench.disk()
    bench.cpi.attach_disk(first.cid, disk)
    bench.cpi.detach_disk(second.cid, disk)
    with pytest.raises(Conflict, match=first.cid):
        bench.cpi.attach_disk(second.cid, disk)
    assert list(bench.cpi.get_disks(first.cid)) == [disk]


def test_a_disk_of_another_zone_does_not_attach(bench: Bench) -> None:
    vm, disk = bench.vm(), bench.disk(properties={"zone": "us-central1-b"})
    with pytest.raises(Invalid) as caught:
        bench.cpi.attach_disk(vm.cid, disk)
    assert "us-central1-b" in caught.value.message
    assert "us-central1-a" in caught.value.message


@pytest.mark.parametrize("when", ["attach", "detach"])
def test_a_lost_answer_to_attach_and_detach(bench: Bench, when: str) -> None:
    vm, disk = bench.vm(), bench.disk()
    if when == "detach":
        bench.cpi.attach_disk(vm.cid, disk)
    bench.there.cloud.faults.append(Fault(method="POST", path=f"/{when}Disk", lost="after"))
    (bench.cpi.attach_disk if when == "attach" else bench.cpi.detach_disk)(vm.cid, disk)
    assert list(bench.cpi.get_disks(vm.cid)) == ([disk] if when == "attach" else [])


@pytest.mark.parametrize(("size_mib", "gb"), [(10240, "10"), (10239, "10"), (10241, "11"), (20480, "20")])
def test_resizing(bench: Bench, size_mib: int, gb: str) -> None:
    disk = bench.disk(10240)
    bench.cpi.resize_disk(disk, size_mib)
    assert bench.thing("disks", disk)["sizeGb"] == gb


@pytest.mark.parametrize(("made", "wanted"), [(20480, 10240), (20480, 1), (1025, 1024), (2048, 1000)])
def test_a_disk_does_not_shrink(bench: Bench, made: int, wanted: int) -> None:
    """13; a disk that was asked for with less than Google's smallest counts as that."""
    disk = bench.disk(made)
    with pytest.raises(NotSupported):
        bench.cpi.resize_disk(disk, wanted)
    with pytest.raises(NotSupported):
        bench.cpi.update_disk(disk, wanted, {"type": "pd-ssd"})
    with pytest.raises(Invalid):
        bench.cpi.resize_disk(disk, 0)


def test_a_small_disk_grows_within_what_google_gave(bench: Bench) -> None:
    disk = bench.disk(1025)
    assert len(bench.count(lambda: bench.cpi.resize_disk(disk, 2048))) == 1
    bench.cpi.resize_disk(disk, 11 * 1024)
    assert bench.thing("disks", disk)["sizeGb"] == "11"


# Another type: a copy

def test_another_type_is_a_copy_that_keeps_the_labels(bench: Bench) -> None:
    disk = bench.disk(10240, metadata={"deployment": "d"})
    token = disk
    snapshot = bench.cpi.snapshot_disk(disk, {}, bench.token("snapshot"))
    copy = bench.cpi.update_disk(disk, 20480, {"type": "pd-ssd"})
    assert copy != disk
    made = bench.thing("disks", copy)
    assert (made["type"].rsplit("/", 1)[-1], made["sizeGb"], made["labels"]["deployment"]) == ("pd-ssd", "20", "d")
    assert _disks(bench) == [copy]
    assert [found.cid for found in bench.cpi.find(token)] == [copy], "the copy is found by the token of the disk, and nothing else is left"
    assert bench.cpi.has_disk(copy)
    bench.cpi.delete_disk(copy)
    assert not bench.there.resources(), f"{snapshot} did not go with the copy"


def test_the_same_type_changes_in_place(bench: Bench) -> None:
    disk = bench.disk(10240)
    assert bench.cpi.update_disk(disk, 20480, {}) == disk
    assert bench.cpi.update_disk(disk, 20480, {"type": "pd-standard"}) == disk
    assert bench.thing("disks", disk)["sizeGb"] == "20"
    with pytest.raises(NotSupported):
        bench.cpi.update_disk(disk, 20480, {"zone": "us-central1-b"})
    with pytest.raises(Invalid):
        bench.cpi.update_disk(disk, 20480, {"type": "pd-golden"})
    with pytest.raises(NotFound):
        bench.cpi.update_disk("disk-unknown", 20480, {})


class Killed(BaseException):
    """The process ends."""


@pytest.mark.walk
@pytest.mark.parametrize("at", range(1, 12))
def test_a_copy_that_is_interrupted_neither_loses_nor_doubles(bench: Bench, at: int) -> None:
    """14: the process ends before its n-th change; then the disk is used again, and the next call copies what it is now."""
    disk = bench.disk(10240)
    user_snapshot = bench.cpi.snapshot_disk(disk, {}, bench.token("snapshot"))
    first, left = bench.again(), [at]
    start = first._compute.start

    def dying(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return start(*arguments, **more)

    first._compute.start = dying  # type: ignore[method-assign]
    try:
        copy = first.update_disk(disk, 10240, {"type": "pd-ssd"})
    except Killed:
        copy = ""
    if bench.cpi.has_disk(disk):  # it is the truth: whoever needs it goes on with it
        vm = bench.vm()
        bench.cpi.attach_disk(vm.cid, disk)
        bench.cpi.delete_vm(vm.cid)
        used_at = bench.thing("disks", disk)["lastAttachTimestamp"]
    else:
        used_at = ""
    again = bench.again()
    final = again.update_disk(disk, 10240, {"type": "pd-ssd"})
    assert copy in ("", final)
    assert final != disk
    assert _disks(bench) == [final]
    assert bench.thing("disks", final)["creationTimestamp"] > used_at, "the copy is older than what was written since"
    assert again.update_disk(disk, 10240, {"type": "pd-ssd"}) == final, "the same call once more"
    kept = [path.rsplit("/", 1)[-1] for kind, path in bench.there.resources() if kind == "snapshots"]
    assert kept == [user_snapshot], "snapshots of the copying are left"
    again.delete_disk(final)
    assert not bench.there.resources()


def test_a_copy_in_use_is_not_thrown_away(bench: Bench) -> None:
    disk = bench.disk(10240)
    copy = bench.cpi.update_disk(disk, 10240, {"type": "pd-ssd"})
    with bench.there.world.lock:
        bench.there.world.put(f"zones/us-central1-a/disks/{disk}", {
            **bench.thing("disks", copy), "name": disk, "type": "zones/us-central1-a/diskTypes/pd-standard", "selfLink": "x"})
    vm = bench.vm()
    bench.cpi.attach_disk(vm.cid, copy)
    with pytest.raises(Conflict, match=vm.cid):
        bench.cpi.update_disk(disk, 10240, {"type": "pd-ssd"})
    assert bench.cpi.has_disk(copy)


# Snapshots

def test_a_snapshot_is_waited_for_until_it_is_ready(bench: Bench) -> None:
    disk = bench.disk()
    original = bench.there.cloud._compute
    polls = []

    def slow(method: str, path: str, *rest: Any) -> Any:
        answer = original(method, path, *rest)
        if method == "GET" and "/snapshots/" in f"/{path}":
            polls.append(path)
            answer["status"] = "UPLOADING" if len(polls) < 3 else "READY"
        return answer

    bench.there.cloud._compute = slow  # type: ignore[method-assign]
    bench.cpi.snapshot_disk(disk, {"deployment": "d"}, bench.token("snapshot"))
    assert len(polls) == 3


def test_a_snapshot_that_failed_is_taken_away(bench: Bench) -> None:
    disk, token = bench.disk(), bench.token("snapshot")
    original = bench.there.cloud._compute

    def failed(method: str, path: str, *rest: Any) -> Any:
        answer = original(method, path, *rest)
        return {**answer, "status": "FAILED"} if method == "GET" and "/snapshots/" in f"/{path}" else answer

    bench.there.cloud._compute = failed  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="FAILED"):
        bench.cpi.snapshot_disk(disk, {}, token)
    assert not [path for kind, path in bench.there.resources() if kind == "snapshots"]


def test_snapshots_carry_labels_and_go_with_their_disk(bench: Bench) -> None:
    disk, other, token = bench.disk(), bench.disk(), bench.token("snapshot")
    snapshot = bench.cpi.snapshot_disk(disk, {"deployment": "D/1"}, token)
    labels = bench.thing("snapshots", snapshot)["labels"]
    assert (labels["deployment"], labels["caisson-token"], labels["director"]) == ("d-1", token, "conformance")
    with pytest.raises(Conflict):
        bench.cpi.snapshot_disk(other, {}, token)
    with pytest.raises(NotFound):
        bench.cpi.snapshot_disk("disk-unknown", {}, bench.token("snapshot"))
    bench.cpi.delete_disk(disk)
    assert _disks(bench) == [other]
    assert not [kind for kind, _ in bench.there.resources() if kind == "snapshots"]


@pytest.mark.parametrize(("reason", "kind"), [("QUOTA_EXCEEDED", Quota), ("INTERNAL_ERROR", Unavailable)])
def test_snapshots_that_fail_leave_nothing(bench: Bench, reason: str, kind: type[CpiError]) -> None:
    disk = bench.disk()
    bench.there.cloud.faults.append(Fault(method="POST", path="/createSnapshot$", code=reason, message="no"))
    with pytest.raises(kind):
        bench.cpi.snapshot_disk(disk, {}, bench.token("snapshot"))
    assert not [kind for kind, _ in bench.there.resources() if kind == "snapshots"]
