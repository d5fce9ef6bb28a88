"""Answers of vCenter that lack something, or have something of another kind: errors of the contract, and nothing left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from cpis.conformance import Bench
from cpis.conformance.clouds.vsphere import VsphereStandIn
from cpis.conformance.operations import OPERATIONS, Operation
from cpis.contract import CpiError, NotSupported, Unavailable
from cpis.vsphere import VsphereCpi
from tests.cpis.vsphere.tools import intercepted, passed

pytestmark = pytest.mark.walk


def without_properties(answer: Any) -> Any:
    """As a user gets them who may not see the objects."""
    for item in answer.objects if answer else []:
        item.propSet = []
    return answer


def without_objects(answer: Any) -> Any:
    if answer:
        object.__setattr__(answer, "objects", [])
    return answer


def of_another_kind(answer: Any) -> Any:
    """Each value a word; what a server of another version might send."""
    for item in answer.objects if answer else []:
        for prop in item.propSet or []:
            object.__setattr__(prop, "val", "nonsense")
    return answer


@pytest.mark.parametrize("spoil", [without_properties, without_objects, of_another_kind], ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_collections_that_lack_something(
    cpi: VsphereCpi, vcenter: VsphereStandIn, stemcell: str, operation: Operation, spoil: Callable[[Any], Any],
) -> None:
    bench = Bench(cpi, vcenter.site(), stemcell)
    try:
        prepared = operation.prepare(bench)
        with intercepted(cpi, "RetrievePropertiesEx", passed) as reads:
            prepared.call(cpi)
    except NotSupported as reason:
        pytest.skip(str(reason))
    finally:
        bench.clean()
    for number in range(1, len(reads) + 1):
        bench = Bench(cpi, vcenter.site(), stemcell)
        prepared = operation.prepare(bench)
        cpi._inventory.forget()
        seen: list[int] = []

        def nth(mo: Any, args: Any, call: Any, number: int = number, seen: list[int] = seen) -> Any:
            seen.append(1)
            return spoil(call()) if len(seen) == number else call()

        try:
            with intercepted(cpi, "RetrievePropertiesEx", nth):
                prepared.call(cpi)
        except CpiError:
            pass
        finally:
            cpi._inventory.forget()
            left = bench.clean()
        assert not left, f"answer {number}: {left}"
    assert [name for _, name in vcenter.resources() if not name.startswith("stemcell-")] == []


def test_what_is_on_the_second_page_is_found(cpi: VsphereCpi, vcenter: VsphereStandIn, stemcell: str) -> None:
    """25. The simulator knows no pages: each answer is cut after its first object, and the rest comes when it is asked for."""
    bench = Bench(cpi, vcenter.site(), stemcell)
    rest: list[Any] = []

    def first(mo: Any, args: Any, call: Any) -> Any:
        answer = call()
        if answer is not None and len(answer.objects) > 1:
            rest.append(answer.objects[1:])
            object.__setattr__(answer, "objects", answer.objects[:1])
            object.__setattr__(answer, "token", "more")
        return answer

    def more(mo: Any, args: Any, call: Any) -> Any:
        assert args == ["more"]
        return vmodl.query.PropertyCollector.RetrieveResult(objects=rest.pop())

    try:
        made = [bench.vm(0), bench.vm(1)]
        cpi._inventory.forget()
        with intercepted(cpi, "RetrievePropertiesEx", first), intercepted(cpi, "ContinueRetrievePropertiesEx", more) as asked:
            assert {vm.cid for vm in made} <= {found.cid for found in cpi.owned()}
        assert asked
        assert not rest
    finally:
        cpi._inventory.forget()
        assert not bench.clean()


def without_backing(devices: list[Any]) -> None:
    for device in devices:
        if isinstance(device, vim.vm.device.VirtualDisk):
            object.__setattr__(device, "backing", None)


def without_file(devices: list[Any]) -> None:
    for device in devices:
        if isinstance(device, vim.vm.device.VirtualDisk):
            device.backing.fileName = ""


@pytest.mark.parametrize("spoil", [without_backing, without_file])
def test_a_machine_whose_disks_are_not_all_told_is_not_deleted(
    cpi: VsphereCpi, vcenter: VsphereStandIn, stemcell: str, spoil: Callable[[list[Any]], None],
) -> None:
    """8: a persistent disk that is overlooked would go with its machine."""
    bench = Bench(cpi, vcenter.site(), stemcell)

    def spoiled(mo: Any, args: Any, call: Any) -> Any:
        answer = call()
        for item in answer.objects if answer else []:
            for prop in item.propSet or []:
                if prop.name == "config.hardware.device":
                    spoil(prop.val)
        return answer

    try:
        vm = bench.vm()
        disk = bench.disk(vm_cid=vm.cid)
        cpi.attach_disk(vm.cid, disk)
        with intercepted(cpi, "RetrievePropertiesEx", spoiled), pytest.raises(Unavailable, match="does not tell the files of all disks"):
            cpi.delete_vm(vm.cid)
        assert cpi.has_vm(vm.cid)
        assert list(cpi.get_disks(vm.cid)) == [disk]
        cpi.delete_vm(vm.cid)
        assert cpi.has_disk(disk)
    finally:
        assert not bench.clean()
