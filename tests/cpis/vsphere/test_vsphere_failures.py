"""What fails while machines are made: nothing is left, nothing is made twice, nothing secret is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pyVmomi import vim

from cpis.cloud.faults import LOST
from cpis.conformance.clouds.vsphere import VsphereStandIn
from cpis.contract import Conflict, CpiError, NoCapacity, Unavailable, VmRequest
from cpis.vsphere import VsphereCpi
from cpis.vsphere.errors import of_fault
from cpis.vsphere.inventory import Start, collect, read
from tests.cpis.vsphere.tools import HUSH, facts, intercepted, passed

pytestmark = pytest.mark.walk


def fault(name: str, **more: Any) -> CpiError:
    return of_fault("PowerOnVM_Task", getattr(vim.fault, name)(**more))


def test_a_cluster_without_room_gives_way_to_the_next(cpi: VsphereCpi, request_: VmRequest) -> None:
    """Section 10.4, "power-on"."""
    starts: list[Any] = []

    def refuse_first(mo: Any, args: Any, call: Any) -> Any:
        starts.append(mo)
        if len(starts) == 1:
            raise fault("GenericDrsFault")
        return call()

    with intercepted(cpi, "CloneVM_Task", passed) as clones, intercepted(cpi, "PowerOnVM_Task", refuse_first):
        cpi.create_vm(request_)
    pools = {cpi._inventory.cluster(name).root_pool: name for name in ("DC0_C0", "DC0_C1")}
    assert sorted(pools[spec.location.pool] for _, _, spec in clones) == ["DC0_C0", "DC0_C1"]
    assert [found.kind for found in cpi.find(request_.token)] == ["vm"]


@pytest.mark.parametrize("step", ["ReconfigVM_Task", "PowerOnVM_Task"])
def test_what_fails_after_the_clone_leaves_nothing(vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest, step: str) -> None:
    """Row 3."""
    def refuse(mo: Any, args: Any, call: Any) -> Any:
        raise fault("InsufficientMemoryResourcesFault", msg="Not enough memory.")

    with intercepted(cpi, step, refuse), pytest.raises(NoCapacity, match="Not enough memory"):
        cpi.create_vm(request_)
    assert not cpi.find(request_.token)
    assert not [name for kind, name in vcenter.resources() if name == request_.token]


def test_a_clean_up_that_fails_is_told_too(cpi: VsphereCpi, request_: VmRequest) -> None:
    """Row 3: both errors, and what was left is found by its mark."""
    def refuse(mo: Any, args: Any, call: Any) -> Any:
        raise fault("NoPermission", msg="You may not start it.", privilegeId="VirtualMachine.Interact.PowerOn")

    def refuse_too(mo: Any, args: Any, call: Any) -> Any:
        raise fault("NoPermission", msg="You may not delete it.")

    with intercepted(cpi, "PowerOnVM_Task", refuse), intercepted(cpi, "Destroy_Task", refuse_too), pytest.raises(CpiError) as caught:
        cpi.create_vm(request_)
    assert "You may not start it." in str(caught.value)
    assert "You may not delete it." in str(caught.value)
    assert request_.token in {found.cid for found in cpi.owned()}


def test_a_clone_whose_answer_is_lost_is_found_and_finished(cpi: VsphereCpi, request_: VmRequest) -> None:
    """Row 4: exactly one exists afterwards."""
    def lose(mo: Any, args: Any, call: Any) -> Any:
        call()
        raise Unavailable("CloneVM_Task: the answer did not come", code=LOST)

    with intercepted(cpi, "CloneVM_Task", lose) as calls:
        vm = cpi.create_vm(request_)
    assert len(calls) == 1, "a second clone would be a second machine"
    assert cpi.has_vm(vm.cid)
    assert len([name for name in _names(cpi) if name == request_.token]) == 1


def test_a_process_killed_after_the_clone_is_gone_on_with(vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest) -> None:
    """Row 4."""
    class Killed(BaseException):
        pass

    def die(mo: Any, args: Any, call: Any) -> Any:
        raise Killed

    cpi._creation._away = lambda cid, error: None  # type: ignore[method-assign]  # a killed process cleans nothing up
    try:
        with intercepted(cpi, "PowerOnVM_Task", die), pytest.raises(Killed):
            cpi.create_vm(request_)
    finally:
        del cpi._creation._away
    again = VsphereCpi(vcenter.config)
    with intercepted(again, "CloneVM_Task", passed) as calls:
        vm = again.create_vm(request_)
    assert not calls
    assert facts(again, vm.cid, "runtime.powerState")["runtime.powerState"] == "poweredOn"
    again.close()


def test_a_machine_of_that_name_that_is_not_ours_is_left_alone(cpi: VsphereCpi, request_: VmRequest, stemcell: str) -> None:
    """DuplicateName is what a real vCenter answers; the simulator of 0.24.2 takes two."""
    template = cpi._stemcells._find(stemcell)
    folder = cpi._inventory.folder("caisson-vms")
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=cpi._inventory.cluster("DC0_C0").root_pool), powerOn=False, template=False)
    template.CloneVM_Task(folder, request_.token, spec)
    theirs = cpi._inventory.find(f"vm/caisson-vms/{request_.token}")

    def duplicate(mo: Any, args: Any, call: Any) -> Any:
        raise of_fault("CloneVM_Task", vim.fault.DuplicateName(name=request_.token))

    with intercepted(cpi, "CloneVM_Task", duplicate), pytest.raises(Conflict, match=request_.token):
        cpi.create_vm(request_)
    assert read(cpi.session, theirs, "name")["name"] == request_.token


def test_the_address_of_a_machine_that_is_not_ours(
    vcenter: VsphereStandIn, cpi: VsphereCpi, stemcell: str, request_: VmRequest,
) -> None:
    """Section 10.4, "IP conflict": what its tools tell counts."""
    net = cpi._inventory.network("VM Network")
    nic = vim.vm.device.VirtualDeviceSpec(operation="add", device=vim.vm.device.VirtualVmxnet3(key=-1, backing=net.backing))
    tell = vim.option.OptionValue(key="SET.guest.ipAddress", value=request_.networks[0].ip)  # how the simulator plays tools
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=cpi._inventory.cluster("DC0_C0").root_pool), powerOn=False, template=False,
        config=vim.vm.ConfigSpec(deviceChange=[nic]))
    # The simulator does not fill Network.vm, along which a vCenter leads to all machines: it is put where ours are.
    cpi._stemcells._find(stemcell).CloneVM_Task(cpi._inventory.folder("caisson-vms"), "theirs", spec)
    theirs = cpi._inventory.find("vm/caisson-vms/theirs")
    theirs.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[tell]))
    try:
        with pytest.raises(Conflict, match=f"{request_.networks[0].ip} is in use by theirs"):
            cpi.create_vm(request_)
        unguarded = VsphereCpi({**vcenter.config, "ensure_no_ip_conflicts": False})
        unguarded.create_vm(request_)
        unguarded.close()
    finally:
        theirs.Destroy_Task()


def test_has_vm_says_no_only_when_it_knows(cpi: VsphereCpi) -> None:
    """Row 6."""
    def faulty(mo: Any, args: Any, call: Any) -> Any:
        raise Unavailable("FindByUuid: 503", code="503")

    with intercepted(cpi, "FindByUuid", faulty), pytest.raises(Unavailable):
        cpi.has_vm("vm-1")


def test_nothing_secret_is_told(cpi: VsphereCpi, request_: VmRequest, caplog: pytest.LogCaptureFixture) -> None:
    """Row 27."""
    caplog.set_level(logging.DEBUG)

    def refuse(mo: Any, args: Any, call: Any) -> Any:
        raise of_fault("ReconfigVM_Task", vim.fault.InvalidPowerState(existingState="poweredOn"))

    with intercepted(cpi, "ReconfigVM_Task", refuse), pytest.raises(Conflict) as caught:
        cpi.create_vm(request_)
    for text in (caplog.text, repr(caught.value), str(caught.value)):
        assert HUSH not in text
        assert "guestinfo" not in text


def _names(cpi: VsphereCpi) -> list[str]:
    folder = cpi._inventory.folder("caisson-vms")
    children = read(cpi.session, folder, "childEntity")["childEntity"]
    found = collect(cpi.session, [Start(ref) for ref in children], {vim.VirtualMachine: ["name"]})
    return [item["name"] for item in found.values()]
