"""The promises of the contract, a function each. Numbers in comments are rows of the CPI reference's table of mistakes, section 13."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network

from cpis.conformance.bench import Bench, Case
from cpis.contract import Conflict, CpiError, DiskRequest, Invalid, NetworkMaker, NetworkRequest, NotFound, NotSupported, VmResources

_UNKNOWN = {"vm": "vm-000000000000", "disk": "disk-000000000000"}


def _raises(kinds: type[CpiError] | tuple[type[CpiError], ...], call: Callable[[], object]) -> CpiError:
    try:
        answer = call()
    except kinds as error:
        return error
    raise AssertionError(f"answered {answer!r} where an error belongs")


def info_needs_no_cloud(bench: Bench) -> None:
    """`info` tells formats and version."""
    info = bench.cpi.info()
    assert info.stemcell_formats
    assert info.api_version >= 2


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


def vm_token_is_idempotent(bench: Bench) -> None:
    """The same token and arguments answer with the same machine."""
    request = bench.request()
    first, second = bench.cpi.create_vm(request), bench.cpi.create_vm(request)
    assert first.cid == second.cid
    assert [found.cid for found in bench.cpi.find(request.token) if found.kind == "vm"] == [first.cid]


def vm_token_at_once_makes_one(bench: Bench) -> None:
    """Two calls with one token at the same time make one machine."""
    request = bench.request()
    with ThreadPoolExecutor(2) as pool:
        cids = {vm.cid for vm in pool.map(bench.cpi.create_vm, [request, request])}
    assert len(cids) == 1


def vm_token_is_not_reused(bench: Bench) -> None:
    """A token with other arguments is a Conflict."""
    token = bench.token()
    bench.cpi.create_vm(bench.request(0, token=token))
    _raises(Conflict, lambda: bench.cpi.create_vm(bench.request(1, token=token)))


def address_conflict_leaves_nothing(bench: Bench) -> None:
    """A second machine with an address in use is refused and leaves nothing."""
    bench.vm(0)
    request = bench.request(0)
    _raises(Conflict, lambda: bench.cpi.create_vm(request))
    assert not bench.cpi.find(request.token), "the refused machine left something"


def unknown_property_leaves_nothing(bench: Bench) -> None:
    """An unknown cloud property is Invalid, named, and leaves nothing."""
    request = bench.request(0, cloud_properties={**bench.site.vm_properties, "no_such_property": 1})
    error = _raises(Invalid, lambda: bench.cpi.create_vm(request))
    assert "no_such_property" in str(error)
    assert not bench.cpi.find(request.token)


def unknown_stemcell_is_refused(bench: Bench) -> None:
    """A machine of an unknown stemcell is refused and leaves nothing."""
    request = bench.request(0, stemcell_cid="stemcell-000000000000")
    _raises((NotFound, Invalid), lambda: bench.cpi.create_vm(request))
    assert not bench.cpi.find(request.token)


def vip_alone_is_refused(bench: Bench) -> None:
    """Row 18: a machine needs a manual or dynamic network."""
    networks = tuple(type(network)(network.name, "vip", network.ip) for network in bench.site.networks(0))
    _raises((Invalid, NotSupported), lambda: bench.cpi.create_vm(bench.request(0, networks=networks)))


def deleting_twice_succeeds(bench: Bench) -> None:
    """Rows 7 and others: what is gone already is no error."""
    vm, disk = bench.vm(), bench.disk()
    for _ in range(2):
        bench.cpi.delete_vm(vm.cid)
        bench.cpi.delete_disk(disk)
    bench.cpi.delete_vm(_UNKNOWN["vm"])
    bench.cpi.delete_disk(_UNKNOWN["disk"])
    bench.cpi.delete_snapshot("snapshot-000000000000")
    bench.cpi.delete_stemcell("stemcell-000000000000")


def unknown_is_not_there(bench: Bench) -> None:
    """`has_vm` and `has_disk` are false for what never was; other methods raise NotFound."""
    cpi = bench.cpi
    assert not cpi.has_vm(_UNKNOWN["vm"])
    assert not cpi.has_disk(_UNKNOWN["disk"])
    _raises(NotFound, lambda: cpi.reboot_vm(_UNKNOWN["vm"]))
    _raises(NotFound, lambda: cpi.set_vm_metadata(_UNKNOWN["vm"], {}))
    _raises(NotFound, lambda: cpi.get_disks(_UNKNOWN["vm"]))
    _raises(NotFound, lambda: cpi.set_disk_metadata(_UNKNOWN["disk"], {}))
    _raises(NotFound, lambda: cpi.snapshot_disk(_UNKNOWN["disk"], {}, bench.token()))
    _raises(NotFound, lambda: cpi.resize_disk(_UNKNOWN["disk"], bench.site.disk_mib))


def reboot_brings_it_back(bench: Bench) -> None:
    """A machine is there after a reboot."""
    vm = bench.vm()
    bench.cpi.reboot_vm(vm.cid)
    assert bench.cpi.has_vm(vm.cid)
    if bench.site.wait_until_up:
        bench.site.wait_until_up(vm)


def metadata_is_never_refused(bench: Bench) -> None:
    """Row 15: long, odd, empty and null values are cut, cleaned or dropped."""
    vm, disk = bench.vm(), bench.disk()
    odd: dict[str, str] = {"name": "web/0", "long": "x" * 300, "label": "a/b ü", "empty": "", "null": None}  # type: ignore[dict-item]
    bench.cpi.set_vm_metadata(vm.cid, odd)
    bench.cpi.set_disk_metadata(disk, odd)


def calculates_a_machine(bench: Bench) -> None:
    """Row 32: properties for what is asked can make a machine; too much is Invalid."""
    properties = bench.cpi.calculate_vm_cloud_properties(VmResources(1, 256, 512))
    bench.cpi.create_vm(bench.request(0, cloud_properties=properties))
    _raises(Invalid, lambda: bench.cpi.calculate_vm_cloud_properties(VmResources(100_000, 256, 512)))


def disk_token_is_idempotent(bench: Bench) -> None:
    """The same token answers with the same disk, before and after a hint where it will be attached."""
    request = DiskRequest(bench.token(), bench.site.disk_mib)
    assert bench.cpi.create_disk(request) == bench.cpi.create_disk(request)


def disk_attaches_and_detaches(bench: Bench) -> None:
    """Row 11: attaching again answers the same hint; `get_disks` tells it; detaching again is no error."""
    vm, disk = bench.vm(), bench.disk()
    hint = bench.cpi.attach_disk(vm.cid, disk)
    assert hint.path or hint.lun or hint.id
    assert bench.cpi.attach_disk(vm.cid, disk) == hint
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]
    for _ in range(2):
        bench.cpi.detach_disk(vm.cid, disk)
    assert not bench.cpi.get_disks(vm.cid)
    bench.cpi.detach_disk(vm.cid, _UNKNOWN["disk"])
    bench.cpi.detach_disk(_UNKNOWN["vm"], disk)
    _raises(NotFound, lambda: bench.cpi.attach_disk(vm.cid, _UNKNOWN["disk"]))


def attached_disk_is_safe(bench: Bench) -> None:
    """Rows 9 and 10: an attached disk is not deleted, not resized, not attached elsewhere, not detached from elsewhere."""
    first, second, disk = bench.vm(0), bench.vm(1), bench.disk()
    bench.cpi.attach_disk(first.cid, disk)
    error = _raises(Conflict, lambda: bench.cpi.delete_disk(disk))
    assert first.cid in str(error), "the error does not name the machine"
    _raises(Conflict, lambda: bench.cpi.attach_disk(second.cid, disk))
    bench.cpi.detach_disk(second.cid, disk)
    assert list(bench.cpi.get_disks(first.cid)) == [disk]


def disk_survives_its_machine(bench: Bench) -> None:
    """Row 8: deleting a machine detaches its persistent disk, whole; the data is there on the next machine."""
    first, disk = bench.vm(0), bench.disk()
    hint = bench.cpi.attach_disk(first.cid, disk)
    on_machine, wait = bench.site.on_machine, bench.site.wait_until_up
    if on_machine and wait:
        wait(first)
        on_machine(first, f"mkfs.ext4 -q {hint.path} && mount {hint.path} /mnt && echo kept > /mnt/proof && sync")
    bench.cpi.delete_vm(first.cid)
    assert bench.cpi.has_disk(disk)
    second = bench.vm(1)
    hint = bench.cpi.attach_disk(second.cid, disk)
    if on_machine and wait:
        wait(second)
        assert on_machine(second, f"mount {hint.path} /mnt && cat /mnt/proof && umount /mnt").strip() == "kept"
    bench.cpi.detach_disk(second.cid, disk)


def disk_survives_a_reboot(bench: Bench) -> None:
    """An attached disk is attached after a reboot, under the same hint."""
    vm, disk = bench.vm(), bench.disk()
    hint = bench.cpi.attach_disk(vm.cid, disk)
    bench.cpi.reboot_vm(vm.cid)
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]
    assert bench.cpi.attach_disk(vm.cid, disk) == hint
    if bench.site.on_machine and bench.site.wait_until_up:
        bench.site.wait_until_up(vm)
        assert bench.site.on_machine(vm, f"test -b {hint.path} && echo yes").strip() == "yes"


def disk_grows_and_does_not_shrink(bench: Bench) -> None:
    """Rows 12 and 13: larger works, equal is nothing, smaller is NotSupported."""
    size, disk = bench.site.disk_mib, bench.disk()
    bench.cpi.resize_disk(disk, size)
    bench.cpi.resize_disk(disk, 2 * size)
    bench.cpi.resize_disk(disk, 2 * size)
    _raises(NotSupported, lambda: bench.cpi.resize_disk(disk, size))


def update_disk_keeps_a_disk(bench: Bench) -> None:
    """`update_disk` answers a CID that exists, or NotSupported with the old one whole."""
    disk = bench.disk()
    try:
        updated = bench.cpi.update_disk(disk, 2 * bench.site.disk_mib, {})
    except NotSupported:
        updated = disk
    assert bench.cpi.has_disk(updated)
    if updated != disk:
        assert not bench.cpi.has_disk(disk)
        bench.cpi.delete_disk(updated)


def snapshot_lives_and_dies(bench: Bench) -> None:
    """A snapshot is found by its token, made once, and goes with its disk at the latest."""
    disk, token, other = bench.disk(), bench.token(), bench.token()
    snapshot = bench.cpi.snapshot_disk(disk, {"agent_id": "a"}, token)
    assert bench.cpi.snapshot_disk(disk, {"agent_id": "a"}, token) == snapshot
    assert [found.cid for found in bench.cpi.find(token)] == [snapshot]
    for _ in range(2):
        bench.cpi.delete_snapshot(snapshot)
    assert not bench.cpi.find(token)
    bench.cpi.snapshot_disk(disk, {}, other)
    bench.cpi.delete_disk(disk)
    assert not bench.cpi.find(other), "the snapshot outlived its disk"


def everything_is_owned(bench: Bench) -> None:
    """What is made carries the director's mark, and is gone from the list with it."""
    vm, disk = bench.vm(), bench.disk()
    owned = {found.cid for found in bench.cpi.owned()}
    assert {vm.cid, disk} <= owned
    bench.cpi.delete_vm(vm.cid)
    bench.cpi.delete_disk(disk)
    assert not {vm.cid, disk} & {found.cid for found in bench.cpi.owned()}


def address_can_be_used_again(bench: Bench) -> None:
    """Row 21: the address of a machine just deleted is free."""
    first = bench.vm(0)
    bench.cpi.delete_vm(first.cid)
    second = bench.vm(0)
    assert second.networks[0].ip == first.networks[0].ip or not bench.site.networks(0)[0].ip
    if bench.site.wait_until_up:
        bench.site.wait_until_up(second)


def machines_at_once(bench: Bench) -> None:
    """Four machines made and deleted at the same time do not disturb each other."""
    requests = [bench.request(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        vms = list(pool.map(bench.cpi.create_vm, requests))
        assert len({vm.cid for vm in vms}) == 4
        if bench.site.wait_until_up:
            list(pool.map(bench.site.wait_until_up, vms))
        list(pool.map(lambda vm: bench.cpi.delete_vm(vm.cid), vms))
    assert not any(bench.cpi.has_vm(vm.cid) for vm in vms)


def network_lives_and_dies(bench: Bench) -> None:
    """A network that the cloud makes is there once for its token, chooses its range when none is given, and is gone after its deletion."""
    if not isinstance(bench.cpi, NetworkMaker):
        return
    request = NetworkRequest(bench.token(), netmask_bits=28)
    made = bench.cpi.create_network(request)
    assert bench.cpi.create_network(request) == made
    subnet = ip_network(made.range)
    assert subnet.prefixlen == 28
    assert ip_address(made.gateway) in subnet
    assert [found.cid for found in bench.cpi.find(request.token)] == [made.cid]
    bench.cpi.delete_network(made.cid)
    bench.cpi.delete_network(made.cid)
    assert not bench.cpi.find(request.token)


CASES = tuple(
    Case(function)
    for function in (
        info_needs_no_cloud, vm_lives_and_dies, vm_token_is_idempotent, vm_token_at_once_makes_one, vm_token_is_not_reused,
        address_conflict_leaves_nothing, unknown_property_leaves_nothing, unknown_stemcell_is_refused, vip_alone_is_refused,
        deleting_twice_succeeds, unknown_is_not_there, reboot_brings_it_back, metadata_is_never_refused, calculates_a_machine,
        disk_token_is_idempotent, disk_attaches_and_detaches, attached_disk_is_safe, disk_survives_its_machine, disk_survives_a_reboot,
        disk_grows_and_does_not_shrink, update_disk_keeps_a_disk, snapshot_lives_and_dies, everything_is_owned,
        address_can_be_used_again, machines_at_once, network_lives_and_dies,
    )
)
