"""The methods of the contract as operations that a fault can befall: what must be there before, the call, and what must hold after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from cpis.conformance.bench import Bench
from cpis.contract import Cpi, NotSupported


@dataclasses.dataclass(frozen=True)
class Prepared:
    """`call(cpi)` may be made again after it failed. `holds(cpi, answer)` raises AssertionError when its last answer is not true."""

    call: Callable[[Cpi], Any]
    holds: Callable[[Cpi, Any], None]


@dataclasses.dataclass(frozen=True)
class Operation:
    """`prepare` makes what the call needs; `creates` tells that the call makes something that carries a token."""

    name: str
    prepare: Callable[[Bench], Prepared]
    creates: bool = False


def _one(bench: Bench, token: str, kind: str) -> None:
    found = [item.cid for item in bench.cpi.find(token) if item.kind == kind]
    assert len(found) == 1, f"the token has {len(found)} of kind {kind}: {found}"


def _create_stemcell(bench: Bench) -> Prepared:
    token, site = bench.token(), bench.site

    def holds(cpi: Cpi, answer: str) -> None:
        assert answer
        cpi.delete_stemcell(answer)

    return Prepared(lambda cpi: cpi.create_stemcell(site.image_path, site.stemcell_properties, token), holds)


def _delete_stemcell(bench: Bench) -> Prepared:
    token, site = bench.token(), bench.site
    stemcell = bench.cpi.create_stemcell(site.image_path, site.stemcell_properties, token)

    def holds(cpi: Cpi, answer: None) -> None:
        assert not cpi.find(token)

    return Prepared(lambda cpi: cpi.delete_stemcell(stemcell), holds)


def _create_vm(bench: Bench) -> Prepared:
    request = bench.request()

    def holds(cpi: Cpi, answer: Any) -> None:
        assert cpi.has_vm(answer.cid)
        _one(bench, request.token, "vm")

    return Prepared(lambda cpi: cpi.create_vm(request), holds)


def _create_vm_everywhere(bench: Bench) -> Prepared:
    """On several networks, where the site has them."""
    assert bench.site.several
    request = bench.request(0, networks=bench.site.several(0))

    def holds(cpi: Cpi, answer: Any) -> None:
        assert len(answer.networks) == len(request.networks)
        _one(bench, request.token, "vm")

    return Prepared(lambda cpi: cpi.create_vm(request), holds)


def _delete_vm(bench: Bench) -> Prepared:
    request = bench.request()
    vm = bench.cpi.create_vm(request)
    disk = bench.disk(vm_cid=vm.cid)
    bench.cpi.attach_disk(vm.cid, disk)

    def holds(cpi: Cpi, answer: None) -> None:
        assert not cpi.has_vm(vm.cid)
        assert cpi.has_disk(disk), "the persistent disk went with its machine"
        left = [f"{item.kind} {item.cid}" for item in cpi.find(request.token)]
        assert not left, f"left of the machine: {left}"

    return Prepared(lambda cpi: cpi.delete_vm(vm.cid), holds)


def _has_vm(bench: Bench) -> Prepared:
    vm = bench.vm()

    def holds(cpi: Cpi, answer: bool) -> None:
        assert answer is True, "row 6: a machine that is there was said not to be"

    return Prepared(lambda cpi: cpi.has_vm(vm.cid), holds)


def _reboot_vm(bench: Bench) -> Prepared:
    vm = bench.vm()

    def holds(cpi: Cpi, answer: None) -> None:
        assert cpi.has_vm(vm.cid)

    return Prepared(lambda cpi: cpi.reboot_vm(vm.cid), holds)


def _set_vm_metadata(bench: Bench) -> Prepared:
    request = bench.request()
    vm = bench.cpi.create_vm(request)

    def holds(cpi: Cpi, answer: None) -> None:
        (found,) = (item for item in cpi.find(request.token) if item.kind == "vm")
        assert found.metadata.get("deployment") == "faults"

    return Prepared(lambda cpi: cpi.set_vm_metadata(vm.cid, {"deployment": "faults", "index": "0"}), holds)


def _create_disk(bench: Bench) -> Prepared:
    vm = bench.vm()
    request = bench.disk_request(vm_cid=vm.cid)

    def holds(cpi: Cpi, answer: str) -> None:
        assert cpi.has_disk(answer)
        _one(bench, request.token, "disk")

    return Prepared(lambda cpi: cpi.create_disk(request), holds)


def _delete_disk(bench: Bench) -> Prepared:
    disk = bench.disk()

    def holds(cpi: Cpi, answer: None) -> None:
        assert not cpi.has_disk(disk)

    return Prepared(lambda cpi: cpi.delete_disk(disk), holds)


def _has_disk(bench: Bench) -> Prepared:
    disk = bench.disk()

    def holds(cpi: Cpi, answer: bool) -> None:
        assert answer is True, "a disk that is there was said not to be"

    return Prepared(lambda cpi: cpi.has_disk(disk), holds)


def _attach_disk(bench: Bench) -> Prepared:
    vm = bench.vm()
    disk = bench.disk(vm_cid=vm.cid)

    def holds(cpi: Cpi, answer: Any) -> None:
        assert list(cpi.get_disks(vm.cid)) == [disk]
        assert cpi.attach_disk(vm.cid, disk) == answer

    return Prepared(lambda cpi: cpi.attach_disk(vm.cid, disk), holds)


def _detach_disk(bench: Bench) -> Prepared:
    vm = bench.vm()
    disk = bench.disk(vm_cid=vm.cid)
    bench.cpi.attach_disk(vm.cid, disk)

    def holds(cpi: Cpi, answer: None) -> None:
        assert not cpi.get_disks(vm.cid)
        assert cpi.has_disk(disk)

    return Prepared(lambda cpi: cpi.detach_disk(vm.cid, disk), holds)


def _get_disks(bench: Bench) -> Prepared:
    vm = bench.vm()
    disk = bench.disk(vm_cid=vm.cid)
    bench.cpi.attach_disk(vm.cid, disk)

    def holds(cpi: Cpi, answer: Any) -> None:
        assert list(answer) == [disk]

    return Prepared(lambda cpi: cpi.get_disks(vm.cid), holds)


def _resize_disk(bench: Bench) -> Prepared:
    disk, size = bench.disk(), bench.site.disk_mib

    def holds(cpi: Cpi, answer: None) -> None:
        try:
            cpi.resize_disk(disk, size)
        except NotSupported:
            return
        raise AssertionError("the disk was not resized")

    return Prepared(lambda cpi: cpi.resize_disk(disk, 2 * size), holds)


def _snapshot_disk(bench: Bench) -> Prepared:
    disk, token = bench.disk(), bench.token()

    def holds(cpi: Cpi, answer: str) -> None:
        _one(bench, token, "snapshot")

    return Prepared(lambda cpi: cpi.snapshot_disk(disk, {"deployment": "faults"}, token), holds)


def _delete_snapshot(bench: Bench) -> Prepared:
    disk, token = bench.disk(), bench.token()
    snapshot = bench.cpi.snapshot_disk(disk, {}, token)

    def holds(cpi: Cpi, answer: None) -> None:
        assert not cpi.find(token)

    return Prepared(lambda cpi: cpi.delete_snapshot(snapshot), holds)


def _owned(bench: Bench) -> Prepared:
    disk = bench.disk()

    def holds(cpi: Cpi, answer: Any) -> None:
        assert disk in {item.cid for item in answer}, "a disk that is there is not among what is owned"

    return Prepared(lambda cpi: cpi.owned(), holds)


def _find(bench: Bench) -> Prepared:
    request = bench.disk_request()
    disk = bench.cpi.create_disk(request)

    def holds(cpi: Cpi, answer: Any) -> None:
        assert [item.cid for item in answer] == [disk], "a disk that is there is not found"

    return Prepared(lambda cpi: cpi.find(request.token), holds)


OPERATIONS = (
    Operation("create_stemcell", _create_stemcell, creates=True), Operation("delete_stemcell", _delete_stemcell),
    Operation("create_vm", _create_vm, creates=True), Operation("create_vm on several networks", _create_vm_everywhere, creates=True),
    Operation("delete_vm", _delete_vm), Operation("has_vm", _has_vm), Operation("reboot_vm", _reboot_vm),
    Operation("set_vm_metadata", _set_vm_metadata), Operation("create_disk", _create_disk, creates=True),
    Operation("delete_disk", _delete_disk), Operation("has_disk", _has_disk), Operation("attach_disk", _attach_disk),
    Operation("detach_disk", _detach_disk), Operation("get_disks", _get_disks), Operation("resize_disk", _resize_disk),
    Operation("snapshot_disk", _snapshot_disk, creates=True), Operation("delete_snapshot", _delete_snapshot),
    Operation("owned", _owned), Operation("find", _find),
)
