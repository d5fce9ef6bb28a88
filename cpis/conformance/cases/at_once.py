"""Calls at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from cpis.conformance.bench import Bench
from cpis.contract import Conflict, CpiError

T = TypeVar("T")


def _at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The answers of all calls, made by a thread each."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def vm_token_at_once_makes_one(bench: Bench) -> None:
    """Two calls with one token at the same time make one machine."""
    request = bench.request()
    vms = _at_once([lambda: bench.cpi.create_vm(request)] * 2)
    assert vms[0] == vms[1]
    assert [found.cid for found in bench.cpi.find(request.token) if found.kind == "vm"] == [vms[0].cid]


def disk_token_at_once_makes_one(bench: Bench) -> None:
    """Four calls with one token at the same time make one disk."""
    request = bench.disk_request()
    disks = _at_once([lambda: bench.cpi.create_disk(request)] * 4)
    assert len(set(disks)) == 1
    assert [found.cid for found in bench.cpi.find(request.token)] == [disks[0]]


def stemcells_at_once(bench: Bench) -> None:
    """Row 29: the same stemcell made twice at once is two or one, and a machine can be made of each."""
    tokens = [bench.token(), bench.token()]
    site, create = bench.site, bench.cpi.create_stemcell
    made = _at_once([partial(create, site.image_path, site.stemcell_properties, token) for token in tokens])
    for number, stemcell in enumerate(dict.fromkeys(made)):
        vm = bench.cpi.create_vm(bench.request(number, stemcell_cid=stemcell))
        bench.cpi.delete_vm(vm.cid)


def two_attaches_at_once(bench: Bench) -> None:
    """Row 35: two disks attached to one machine at the same time are both attached, under different hints."""
    vm = bench.vm()
    disks = [bench.disk(vm_cid=vm.cid) for _ in range(2)]
    hints = _at_once([partial(bench.cpi.attach_disk, vm.cid, disk) for disk in disks])
    assert set(bench.cpi.get_disks(vm.cid)) == set(disks)
    assert hints[0] != hints[1]
    _at_once([partial(bench.cpi.detach_disk, vm.cid, disk) for disk in disks])
    assert not bench.cpi.get_disks(vm.cid)


def one_disk_to_two_machines_at_once(bench: Bench) -> None:
    """One disk attached to two machines at the same time is with one of them, and the other call is a Conflict."""
    vms = [bench.vm(0), bench.vm(1)]
    disk = bench.disk(vm_cid=vms[0].cid)

    def attach(cid: str) -> CpiError | None:
        try:
            bench.cpi.attach_disk(cid, disk)
        except CpiError as error:
            return error
        return None

    errors = _at_once([partial(attach, vm.cid) for vm in vms])
    attached = [vm.cid for vm in vms if disk in bench.cpi.get_disks(vm.cid)]
    assert len(attached) == 1, f"attached to {attached}"
    assert [type(error) for error in errors if error] == [Conflict], f"the calls ended with {errors}"


def one_address_to_two_machines_at_once(bench: Bench) -> None:
    """Two machines that want one address at the same time: one gets it, the other is a Conflict and leaves nothing."""
    requests = [bench.request(0), bench.request(0)]

    def create(number: int) -> CpiError | None:
        try:
            bench.cpi.create_vm(requests[number])
        except CpiError as error:
            return error
        return None

    errors = _at_once([partial(create, 0), partial(create, 1)])
    refused = [(request, error) for request, error in zip(requests, errors, strict=True) if error]
    assert [type(error) for _, error in refused] == [Conflict], f"the calls ended with {errors}"
    assert not bench.cpi.find(refused[0][0].token)


def deletions_at_once(bench: Bench) -> None:
    """Two deletions of one machine or disk at the same time both succeed."""
    vm, disk = bench.vm(), bench.disk()
    _at_once([lambda: bench.cpi.delete_vm(vm.cid)] * 2)
    _at_once([lambda: bench.cpi.delete_disk(disk)] * 2)
    assert not bench.cpi.has_vm(vm.cid)
    assert not bench.cpi.has_disk(disk)


def machines_at_once(bench: Bench) -> None:
    """Twenty machines, or as many as the site allows, each with a disk, made and deleted at once, do not disturb each other."""
    requests = [bench.request(number) for number in range(bench.site.machines)]
    vms = _at_once([partial(bench.cpi.create_vm, request) for request in requests])
    assert len({vm.cid for vm in vms}) == len({vm.ssh_address for vm in vms}) == len(requests)
    disks = _at_once([partial(bench.disk, vm_cid=vm.cid) for vm in vms])
    pairs = list(zip(vms, disks, strict=True))
    _at_once([partial(bench.cpi.attach_disk, vm.cid, disk) for vm, disk in pairs])
    assert all(list(bench.cpi.get_disks(vm.cid)) == [disk] for vm, disk in pairs)
    _at_once([partial(bench.wait_until_up, vm) for vm in vms])
    _at_once([partial(bench.cpi.delete_vm, vm.cid) for vm in vms])
    assert not any(bench.cpi.has_vm(vm.cid) for vm in vms)
    assert all(bench.cpi.has_disk(disk) for disk in disks)
    _at_once([partial(bench.cpi.delete_disk, disk) for disk in disks])


CASES = (
    vm_token_at_once_makes_one, disk_token_at_once_makes_one, stemcells_at_once, two_attaches_at_once, one_disk_to_two_machines_at_once,
    one_address_to_two_machines_at_once, deletions_at_once, machines_at_once,
)
