"""Machines: they come, are found, restart and go."""

from __future__ import annotations

from cpis.conformance.bench import Bench, needed, raises
from cpis.contract import Conflict, NotFound, NotSupported

UNKNOWN_VM, UNKNOWN_DISK = "vm-000000000000", "disk-000000000000"


def info_needs_no_cloud(bench: Bench) -> None:
    """`info` tells formats and version."""
    info = bench.cpi.info()
    assert info.stemcell_formats
    assert info.api_version >= 2


def info_without_a_cloud(bench: Bench) -> None:
    """Row 38: `info` answers while the cloud cannot be reached."""
    cpi = needed(bench.site.unreachable, "way to make a CPI whose cloud does not answer")()
    try:
        assert cpi.info() == bench.cpi.info()
    finally:
        cpi.close()


def vm_lives_and_dies(bench: Bench) -> None:
    """A machine is there after `create_vm`, with the address asked for, and gone after `delete_vm`."""
    vm = bench.vm()
    asked = bench.site.networks(0)
    assert [network.name for network in vm.networks] == [network.name for network in asked]
    assert all(made.ip for made in vm.networks), "a network has no address"
    assert all(made.ip == want.ip for made, want in zip(vm.networks, asked, strict=True) if want.ip)
    assert vm.ssh_address
    assert bench.cpi.has_vm(vm.cid)
    bench.cpi.delete_vm(vm.cid)
    assert not bench.cpi.has_vm(vm.cid)


def vm_is_usable_at_once(bench: Bench) -> None:
    """All methods know a machine and a disk the moment their creation has answered, however late the cloud's lists are."""
    cpi = bench.cpi
    request = bench.request()
    vm = cpi.create_vm(request)
    cpi.set_vm_metadata(vm.cid, {"deployment": "conformance"})
    assert not cpi.get_disks(vm.cid)
    assert [found.cid for found in cpi.find(request.token) if found.kind == "vm"] == [vm.cid]
    disk = bench.disk(vm_cid=vm.cid)
    cpi.attach_disk(vm.cid, disk)
    cpi.set_disk_metadata(disk, {"deployment": "conformance"})
    assert list(cpi.get_disks(vm.cid)) == [disk]
    cpi.reboot_vm(vm.cid)
    assert cpi.has_vm(vm.cid)
    cpi.delete_vm(vm.cid)
    assert not cpi.find(request.token), "a part of the deleted machine is still there"


def vm_token_is_idempotent(bench: Bench) -> None:
    """The same token and arguments answer with the same machine, all of it."""
    request = bench.request()
    first, second = bench.cpi.create_vm(request), bench.cpi.create_vm(request)
    assert first == second
    assert [found.cid for found in bench.cpi.find(request.token) if found.kind == "vm"] == [first.cid]


def vm_token_is_known_to_another_process(bench: Bench) -> None:
    """Row 4: after the director's death, a new process asking with the same token gets the same machine and the same disk."""
    make = needed(bench.site.again, "way to make a second CPI for the same cloud")
    request, disk = bench.request(), bench.disk_request()
    vm, disk_cid = bench.cpi.create_vm(request), bench.cpi.create_disk(disk)
    again = make()
    try:
        assert again.create_vm(request) == vm
        assert again.create_disk(disk) == disk_cid
        assert {found.cid for found in again.owned()} >= {vm.cid, disk_cid}
        other = bench.request(1, token=request.token)
        raises(Conflict, lambda: again.create_vm(other))
    finally:
        again.close()


def vm_token_is_not_reused(bench: Bench) -> None:
    """A token with other arguments is a Conflict."""
    token = bench.token()
    bench.cpi.create_vm(bench.request(0, token=token))
    raises(Conflict, lambda: bench.cpi.create_vm(bench.request(1, token=token)))


def vm_token_works_after_its_machine(bench: Bench) -> None:
    """A token whose machine was deleted makes a machine, and not the memory of one."""
    request = bench.request()
    bench.cpi.delete_vm(bench.cpi.create_vm(request).cid)
    vm = bench.cpi.create_vm(request)
    assert bench.cpi.has_vm(vm.cid)


def deleting_twice_succeeds(bench: Bench) -> None:
    """Rows 7 and others: what is gone already is no error."""
    vm, disk = bench.vm(), bench.disk()
    for _ in range(2):
        bench.cpi.delete_vm(vm.cid)
        bench.cpi.delete_disk(disk)
    bench.cpi.delete_vm(UNKNOWN_VM)
    bench.cpi.delete_disk(UNKNOWN_DISK)
    bench.cpi.delete_snapshot("snapshot-000000000000")
    bench.cpi.delete_stemcell("stemcell-000000000000")


def unknown_is_not_there(bench: Bench) -> None:
    """`has_vm` and `has_disk` are false for what never was; other methods raise NotFound."""
    cpi = bench.cpi
    assert not cpi.has_vm(UNKNOWN_VM)
    assert not cpi.has_disk(UNKNOWN_DISK)
    assert not cpi.find(bench.token())
    raises(NotFound, lambda: cpi.reboot_vm(UNKNOWN_VM))
    raises(NotFound, lambda: cpi.set_vm_metadata(UNKNOWN_VM, {}))
    raises(NotFound, lambda: cpi.get_disks(UNKNOWN_VM))
    raises(NotFound, lambda: cpi.set_disk_metadata(UNKNOWN_DISK, {}))
    raises(NotFound, lambda: cpi.snapshot_disk(UNKNOWN_DISK, {}, bench.token()))
    raises(NotFound, lambda: cpi.resize_disk(UNKNOWN_DISK, bench.site.disk_mib))


def deleted_is_not_there(bench: Bench) -> None:
    """What is asked of a machine or disk just deleted raises NotFound, though clouds list them for a while."""
    cpi, vm, disk = bench.cpi, bench.vm(), bench.disk()
    cpi.delete_vm(vm.cid)
    cpi.delete_disk(disk)
    assert not cpi.has_vm(vm.cid)
    assert not cpi.has_disk(disk)
    raises(NotFound, lambda: cpi.reboot_vm(vm.cid))
    raises(NotFound, lambda: cpi.set_vm_metadata(vm.cid, {}))
    raises(NotFound, lambda: cpi.get_disks(vm.cid))
    raises(NotFound, lambda: cpi.set_disk_metadata(disk, {}))
    raises(NotFound, lambda: cpi.resize_disk(disk, 2 * bench.site.disk_mib))
    raises(NotFound, lambda: cpi.attach_disk(vm.cid, disk))


def reboot_brings_it_back(bench: Bench) -> None:
    """A machine is there after a reboot."""
    vm = bench.vm()
    bench.cpi.reboot_vm(vm.cid)
    assert bench.cpi.has_vm(vm.cid)
    bench.wait_until_up(vm)


def everything_is_owned(bench: Bench) -> None:
    """What is made carries the director's mark and its token, and is gone from the list with it."""
    request, disk_request, token = bench.request(), bench.disk_request(), bench.token()
    vm, disk = bench.cpi.create_vm(request), bench.cpi.create_disk(disk_request)
    try:
        snapshot = bench.cpi.snapshot_disk(disk, {}, token)
    except NotSupported:
        snapshot = ""
    owned = {(found.cid, found.token) for found in bench.cpi.owned()}
    assert {(vm.cid, request.token), (disk, disk_request.token)} <= owned
    assert not snapshot or (snapshot, token) in owned
    bench.cpi.delete_vm(vm.cid)
    bench.cpi.delete_disk(disk)
    tokens = {request.token, disk_request.token, token}
    left = [f"{found.kind} {found.cid}" for found in bench.cpi.owned() if found.token in tokens]
    assert not left, f"still there: {left}"


def stemcell_token_is_idempotent(bench: Bench) -> None:
    """The same token answers with the same stemcell, and deleting it twice is no error."""
    token = bench.token()
    create = bench.cpi.create_stemcell
    first = create(bench.site.image_path, bench.site.stemcell_properties, token)
    assert create(bench.site.image_path, bench.site.stemcell_properties, token) == first
    for _ in range(2):
        bench.cpi.delete_stemcell(first)
    bench.vm()


CASES = (
    info_needs_no_cloud, info_without_a_cloud, vm_lives_and_dies, vm_is_usable_at_once, vm_token_is_idempotent,
    vm_token_is_known_to_another_process, vm_token_is_not_reused, vm_token_works_after_its_machine, deleting_twice_succeeds,
    unknown_is_not_there, deleted_is_not_there, reboot_brings_it_back, everything_is_owned, stemcell_token_is_idempotent,
)
