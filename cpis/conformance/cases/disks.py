"""Persistent disks."""

from __future__ import annotations

import dataclasses
from functools import partial

from cpis.conformance.bench import Bench, raises
from cpis.conformance.cases.machines import UNKNOWN_DISK, UNKNOWN_VM
from cpis.contract import Conflict, Invalid, NotFound, NotSupported


def disk_token_is_idempotent(bench: Bench) -> None:
    """The same token answers with the same disk; with another size it is a Conflict."""
    request = bench.disk_request()
    disk = bench.cpi.create_disk(request)
    assert bench.cpi.create_disk(request) == disk
    assert [found.cid for found in bench.cpi.find(request.token)] == [disk]
    larger = dataclasses.replace(request, size_mib=4 * request.size_mib)
    raises(Conflict, lambda: bench.cpi.create_disk(larger))


def disk_without_size_is_refused(bench: Bench) -> None:
    """A disk of no or a negative size is Invalid and leaves nothing."""
    for size in (0, -1024):
        request = dataclasses.replace(bench.disk_request(), size_mib=size)
        raises(Invalid, partial(bench.cpi.create_disk, request))
        assert not bench.cpi.find(request.token)


def disk_attaches_and_detaches(bench: Bench) -> None:
    """Row 11: attaching again answers the same hint; `get_disks` tells it; detaching again is no error."""
    vm = bench.vm()
    disk = bench.disk(vm_cid=vm.cid)
    hint = bench.cpi.attach_disk(vm.cid, disk)
    assert hint.path or hint.lun or hint.id
    assert bench.cpi.attach_disk(vm.cid, disk) == hint
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]
    for _ in range(2):
        bench.cpi.detach_disk(vm.cid, disk)
    assert not bench.cpi.get_disks(vm.cid)
    bench.cpi.detach_disk(vm.cid, UNKNOWN_DISK)
    bench.cpi.detach_disk(UNKNOWN_VM, disk)
    raises(NotFound, lambda: bench.cpi.attach_disk(vm.cid, UNKNOWN_DISK))
    raises(NotFound, lambda: bench.cpi.attach_disk(UNKNOWN_VM, disk))


def two_disks_have_two_hints(bench: Bench) -> None:
    """Two disks of one machine are found under two hints; a third takes the place of one that was detached."""
    vm = bench.vm()
    first, second, third = (bench.disk(vm_cid=vm.cid) for _ in range(3))
    hints = [bench.cpi.attach_disk(vm.cid, disk) for disk in (first, second)]
    assert hints[0] != hints[1]
    assert set(bench.cpi.get_disks(vm.cid)) == {first, second}
    bench.cpi.detach_disk(vm.cid, first)
    assert bench.cpi.attach_disk(vm.cid, third) != hints[1]
    assert set(bench.cpi.get_disks(vm.cid)) == {second, third}
    assert bench.cpi.attach_disk(vm.cid, second) == hints[1]


def attached_disk_is_safe(bench: Bench) -> None:
    """Rows 9 and 10: an attached disk is not deleted, not attached elsewhere, not detached from elsewhere."""
    first, second = bench.vm(0), bench.vm(1)
    disk = bench.disk(vm_cid=first.cid)
    bench.cpi.attach_disk(first.cid, disk)
    error = raises(Conflict, lambda: bench.cpi.delete_disk(disk))
    assert first.cid in str(error), "the error does not name the machine"
    raises(Conflict, lambda: bench.cpi.attach_disk(second.cid, disk))
    bench.cpi.detach_disk(second.cid, disk)
    assert list(bench.cpi.get_disks(first.cid)) == [disk]
    assert not bench.cpi.get_disks(second.cid)


def disk_survives_its_machine(bench: Bench) -> None:
    """Row 8: deleting a machine detaches its persistent disk, whole; the data is there on the next machine."""
    first = bench.vm(0)
    disk = bench.disk(vm_cid=first.cid)
    hint = bench.cpi.attach_disk(first.cid, disk)
    on_machine, wait = bench.site.on_machine, bench.site.wait_until_up
    if on_machine and wait:
        wait(first)
        on_machine(first, f"mkfs.ext4 -q {hint.path} && mount {hint.path} /mnt && echo kept > /mnt/proof && sync")
    bench.cpi.delete_vm(first.cid)
    assert bench.cpi.has_disk(disk)
    second = bench.cpi.create_vm(bench.request(1, disk_cids=(disk,)))
    hint = bench.cpi.attach_disk(second.cid, disk)
    if on_machine and wait:
        wait(second)
        assert on_machine(second, f"mount {hint.path} /mnt && cat /mnt/proof && umount /mnt").strip() == "kept"
    bench.cpi.detach_disk(second.cid, disk)


def disk_survives_a_reboot(bench: Bench) -> None:
    """An attached disk is attached after a reboot, under the same hint."""
    vm = bench.vm()
    disk = bench.disk(vm_cid=vm.cid)
    hint = bench.cpi.attach_disk(vm.cid, disk)
    bench.cpi.reboot_vm(vm.cid)
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]
    assert bench.cpi.attach_disk(vm.cid, disk) == hint
    if bench.site.on_machine and bench.site.wait_until_up:
        bench.site.wait_until_up(vm)
        assert bench.site.on_machine(vm, f"test -b {hint.path} && echo yes").strip() == "yes"


def disk_grows_and_does_not_shrink(bench: Bench) -> None:
    """Row 13: larger works, equal is nothing, smaller is NotSupported."""
    size, disk = bench.site.disk_mib, bench.disk()
    bench.cpi.resize_disk(disk, size)
    bench.cpi.resize_disk(disk, 2 * size)
    bench.cpi.resize_disk(disk, 2 * size)
    raises(NotSupported, lambda: bench.cpi.resize_disk(disk, size))


def sizes_are_rounded_up(bench: Bench) -> None:
    """Row 12: a disk of 1025 MiB has at least that; growing it to the 2048 MiB that most clouds give is no error, 1024 MiB is."""
    request = dataclasses.replace(bench.disk_request(), size_mib=1025)
    disk = bench.cpi.create_disk(request)
    bench.cpi.resize_disk(disk, 1025)
    raises(NotSupported, lambda: bench.cpi.resize_disk(disk, 1024))
    bench.cpi.resize_disk(disk, 2048)
    assert bench.cpi.create_disk(request) == disk, "the token of a resized disk does not lead to it"


def resized_disk_attaches(bench: Bench) -> None:
    """A disk that grew is as large on the machine."""
    vm = bench.vm()
    disk = bench.disk(vm_cid=vm.cid)
    bench.cpi.attach_disk(vm.cid, disk)
    bench.cpi.detach_disk(vm.cid, disk)
    bench.cpi.resize_disk(disk, 2 * bench.site.disk_mib)
    hint = bench.cpi.attach_disk(vm.cid, disk)
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]
    if bench.site.on_machine and bench.site.wait_until_up:
        bench.site.wait_until_up(vm)
        size = int(bench.site.on_machine(vm, f"blockdev --getsize64 {hint.path}"))
        assert size >= 2 * bench.site.disk_mib * 2**20, f"{size} bytes on the machine"


def update_disk_keeps_a_disk(bench: Bench) -> None:
    """`update_disk` answers a CID that exists, attaches and carries the same properties, or NotSupported with the old one whole."""
    vm = bench.vm()
    disk = bench.disk(vm_cid=vm.cid)
    try:
        updated = bench.cpi.update_disk(disk, 2 * bench.site.disk_mib, bench.site.disk_properties)
    except NotSupported:
        updated = disk
    assert bench.cpi.has_disk(updated)
    assert updated == disk or not bench.cpi.has_disk(disk)
    bench.cpi.attach_disk(vm.cid, updated)
    assert list(bench.cpi.get_disks(vm.cid)) == [updated]
    bench.cpi.detach_disk(vm.cid, updated)
    raises(NotSupported, lambda: bench.cpi.update_disk(updated, bench.site.disk_mib // 2, bench.site.disk_properties))
    assert bench.cpi.has_disk(updated)
    bench.cpi.delete_disk(updated)


def update_disk_of_nothing_is_refused(bench: Bench) -> None:
    """`update_disk` of an unknown disk is NotFound, or NotSupported where disks cannot be changed."""
    raises((NotFound, NotSupported), lambda: bench.cpi.update_disk(UNKNOWN_DISK, bench.site.disk_mib, {}))


CASES = (
    disk_token_is_idempotent, disk_without_size_is_refused, disk_attaches_and_detaches, two_disks_have_two_hints, attached_disk_is_safe,
    disk_survives_its_machine, disk_survives_a_reboot, disk_grows_and_does_not_shrink, sizes_are_rounded_up, resized_disk_attaches,
    update_disk_keeps_a_disk, update_disk_of_nothing_is_refused,
)
