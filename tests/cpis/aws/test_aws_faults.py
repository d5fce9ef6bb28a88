"""What goes wrong on AWS, told by the stand-in over the wire. Numbers are rows of the CPI reference's table of mistakes."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import Any

import pytest
from aws_requests import Time, actions

from cpis.conformance.bench import Bench
from cpis.conformance.clouds.aws import AwsStandIn
from cpis.contract import (
    Conflict,
    CpiError,
    Invalid,
    NoCapacity,
    NotFound,
    Quota,
    Throttled,
    Unavailable,
    VmRequest,
)

pytestmark = pytest.mark.walk


# Requests

def test_a_machine_takes_two_requests(aws: AwsStandIn, bench: Bench) -> None:
    """Numbers of the issue: none needless, no list of images. The first one reads the subnet, too."""
    bench.vm(0)
    assert actions(aws) == ["DescribeSubnets", "RunInstances", "DescribeInstances"]
    aws.forget_requests()
    bench.vm(1)
    assert actions(aws) == ["RunInstances", "DescribeInstances"]
    assert {method for method, _ in aws.requests()} == {"POST"}


def test_a_disk_takes_three_requests(aws: AwsStandIn, bench: Bench) -> None:
    vm = bench.vm(0)
    aws.forget_requests()
    disk = bench.disk(vm_cid=vm.cid)
    assert actions(aws) == ["DescribeInstances", "CreateVolume", "DescribeVolumes"]
    aws.forget_requests()
    bench.cpi.attach_disk(vm.cid, disk)
    assert actions(aws) == ["DescribeInstances", "DescribeVolumes", "AttachVolume", "DescribeVolumes"]


def test_many_looks_are_one_request(aws: AwsStandIn, bench: Bench) -> None:
    """6.4: machines that are waited for at the same time are looked at together."""
    aws.settings(pending=3)
    threads = [threading.Thread(target=bench.vm, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert actions(aws).count("RunInstances") == 8
    assert actions(aws).count("DescribeSubnets") == 1
    assert len([action for action in actions(aws) if action == "DescribeInstances"]) < 8 * 4


# Answers that are lost

def test_a_lost_answer_makes_no_second_machine(aws: AwsStandIn, bench: Bench) -> None:
    """Row 4: the effect is there, its answer is not; asked again, the token gives the same machine."""
    aws.script({"action": "RunInstances", "code": "InternalError", "status": 500, "when": "after", "times": 2})
    vm = bench.vm(0)
    assert [found.cid for found in bench.cpi.owned() if found.kind == "vm"] == [vm.cid]


def test_answers_that_stay_lost_leave_nothing(aws: AwsStandIn, bench: Bench) -> None:
    aws.script({"action": "RunInstances", "code": "InternalError", "status": 500, "when": "after", "times": 1000})
    with pytest.raises(Unavailable):
        bench.vm(0)
    aws.script()
    assert not [found for found in bench.cpi.owned() if found.kind == "vm"]


def test_a_snapshot_whose_answer_is_lost(aws: AwsStandIn, bench: Bench) -> None:
    """CreateSnapshot has no token: it is not sent again before a look."""
    disk, token = bench.disk(), bench.token()
    aws.script({"action": "CreateSnapshot", "code": "InternalError", "status": 500, "when": "after"})
    snapshot = bench.cpi.snapshot_disk(disk, {}, token)
    assert [found.cid for found in bench.cpi.find(token)] == [snapshot]
    assert actions(aws).count("CreateSnapshot") == 1


def test_an_attachment_whose_answer_is_lost(aws: AwsStandIn, bench: Bench) -> None:
    vm, disk = bench.vm(0), bench.disk()
    aws.script({"action": "AttachVolume", "code": "Unavailable", "status": 503, "when": "after"})
    hint = bench.cpi.attach_disk(vm.cid, disk)
    assert bench.cpi.attach_disk(vm.cid, disk) == hint
    assert list(bench.cpi.get_disks(vm.cid)) == [disk]


# Failures after the machine is there

def failing(aws: AwsStandIn, *more: dict[str, Any]) -> None:
    aws.script({"action": "RegisterTargets", "code": "TargetGroupNotFound", "message": "no such group", "times": 100}, *more)


def test_a_machine_that_cannot_join_is_deleted(aws: AwsStandIn, bench: Bench) -> None:
    """Row 3: the machine and all of it is deleted when what comes after fails."""
    failing(aws)
    request = bench.request(0, cloud_properties={**bench.site.vm_properties, "lb_target_groups": [aws.seeds["target_group"]]})
    with pytest.raises(NotFound, match="no such group"):
        bench.cpi.create_vm(request)
    assert not bench.cpi.find(request.token)
    aws.script()
    assert bench.cpi.has_vm(bench.cpi.create_vm(request).cid), "the token is worn out"


def test_both_errors_are_told(aws: AwsStandIn, bench: Bench) -> None:
    """Row 3: when the cleaning fails, too, both are in the message, with the machine that is left."""
    failing(aws, {"action": "TerminateInstances", "code": "UnauthorizedOperation", "message": "not you", "status": 403})
    request = bench.request(0, cloud_properties={**bench.site.vm_properties, "lb_target_groups": [aws.seeds["target_group"]]})
    with pytest.raises(NotFound, match=r"no such group.*i-[0-9a-f]+ could not be deleted.*not you"):
        bench.cpi.create_vm(request)
    (left,) = [found for found in bench.cpi.find(request.token) if found.kind == "vm"]
    assert left.token == request.token


# Machines that die, come late, or are not seen yet

def test_a_machine_that_dies_at_boot_is_made_again(aws: AwsStandIn, bench: Bench) -> None:
    """6.4: pending, then terminated: twice again."""
    aws.settings(dies={"code": "Server.InternalError", "message": "Server.InternalError: Internal error on launch", "times": 2})
    assert bench.cpi.has_vm(bench.vm(0).cid)


@pytest.mark.parametrize(
    ("code", "kind"), [("Server.InternalError", Unavailable), ("Client.VolumeLimitExceeded", Quota), ("Client.InternalError", Invalid)])
def test_a_machine_that_always_dies(aws: AwsStandIn, bench: Bench, code: str, kind: type[CpiError]) -> None:
    """Row 33: the wait ends at once with the cloud's reason."""
    aws.settings(dies={"code": code, "message": f"{code}: this is why", "times": 100})
    with pytest.raises(kind, match="this is why"):
        bench.vm(0)


def test_a_machine_that_lists_do_not_have_yet(aws: AwsStandIn, bench: Bench) -> None:
    """6.4: InvalidInstanceID.NotFound for seconds after creation."""
    aws.settings(invisible=4, pending=2)
    vm = bench.vm(0)
    bench.cpi.set_vm_metadata(vm.cid, {"deployment": "d"})


def test_a_tag_on_what_is_not_there_yet(aws: AwsStandIn, bench: Bench) -> None:
    vm = bench.vm(0)
    aws.script({"action": "CreateTags", "code": "InvalidInstanceID.NotFound", "message": f"The ID '{vm.cid}' does not exist", "times": 3})
    bench.cpi.set_vm_metadata(vm.cid, {"deployment": "d"})
    assert actions(aws).count("CreateTags") == 4


def test_an_address_that_is_freed_soon(aws: AwsStandIn, bench: Bench, time: Time) -> None:
    """Row 21: the interface of a machine just deleted holds its address for a while."""
    aws.script({"action": "RunInstances", "code": "InvalidIPAddress.InUse", "message": "Address 10.244.16.10 is in use.", "times": 5})
    bench.vm(0)
    assert sum(time.slept) > 0


def test_an_address_of_a_machine_that_lives(aws: AwsStandIn, bench: Bench, time: Time) -> None:
    first = bench.vm(0)
    with pytest.raises(Conflict, match=r"10\.244\.16\.10") as caught:
        bench.vm(0)
    assert first.cid in caught.value.suggestion
    assert not time.slept, "waited for what does not change"


def test_a_disk_of_a_machine_that_goes(aws: AwsStandIn, bench: Bench) -> None:
    """The volume of a machine just deleted is in use for a moment."""
    disk = bench.disk()
    aws.script({"action": "DeleteVolume", "code": "VolumeInUse", "message": f"Volume {disk} is currently attached", "times": 3})
    bench.cpi.delete_disk(disk)
    assert not bench.cpi.has_disk(disk)
    other = bench.disk()
    aws.script({"action": "DeleteVolume", "code": "VolumeInUse", "message": f"Volume {other} is currently attached", "times": 999})
    with pytest.raises(Conflict):
        bench.cpi.delete_disk(other)
    aws.script()


def test_a_token_with_other_tags_after_its_machine(bench: Bench) -> None:
    """EC2 remembers the parameters of a token; a machine that is gone must not keep its successor from being made."""
    request = bench.request(0)
    bench.cpi.delete_vm(bench.cpi.create_vm(request).cid)
    vm = bench.cpi.create_vm(dataclasses.replace(request, metadata={**request.metadata, "created_at": "later"}))
    assert bench.cpi.has_vm(vm.cid)


def test_a_token_with_other_tags_is_the_same_machine(bench: Bench) -> None:
    request, disk = bench.request(0), bench.disk_request()
    again = dataclasses.replace(request, metadata={**request.metadata, "created_at": "later"})
    assert bench.cpi.create_vm(request) == bench.cpi.create_vm(again)
    assert bench.cpi.create_disk(disk) == bench.cpi.create_disk(dataclasses.replace(disk, metadata={"created_at": "later"}))


def test_a_group_that_was_made_anew(aws: AwsStandIn, bench: Bench) -> None:
    """Ids of groups are kept by name, but not for ever."""
    properties = {**bench.site.vm_properties, "security_groups": ["caisson"]}
    bench.cpi.delete_vm(bench.vm(0, cloud_properties=properties).cid)
    aws.script({"action": "RunInstances", "code": "InvalidGroup.NotFound", "message": "The security group 'sg-0' does not exist"})
    with pytest.raises(NotFound):
        bench.vm(0, cloud_properties=properties)
    aws.forget_requests()
    bench.vm(0, cloud_properties=properties)
    assert "DescribeSecurityGroups" in actions(aws)


# Rates and capacity

def test_throttled_for_ten_minutes(aws: AwsStandIn, bench: Bench, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    """Row 22: the call ends late, not failed, and the log says why it waits."""
    caplog.set_level(logging.INFO, "cpis")
    aws.script({"action": "RunInstances", "code": "RequestLimitExceeded", "message": "Request limit exceeded.", "status": 503, "times": 24})
    bench.vm(0)
    assert sum(time.slept) > 300
    assert "RequestLimitExceeded" in caplog.text


def test_throttled_for_ever_ends(aws: AwsStandIn, bench: Bench, time: Time) -> None:
    aws.script({"action": "DescribeInstances", "code": "RequestLimitExceeded", "status": 503, "times": 10_000})
    with pytest.raises(Throttled):
        bench.cpi.has_vm("i-0123456789abcdef0")
    assert sum(time.slept) <= 900


def test_no_capacity(aws: AwsStandIn, bench: Bench) -> None:
    aws.script({"action": "RunInstances", "code": "InsufficientInstanceCapacity", "message": "not now", "status": 500, "times": 99})
    with pytest.raises(NoCapacity, match="not now"):
        bench.vm(0)
    assert actions(aws).count("RunInstances") == 1


def test_quota_is_told_with_its_numbers(aws: AwsStandIn, bench: Bench) -> None:
    message = "You have requested more vCPU capacity than your current vCPU limit of 32 allows"
    aws.script({"action": "RunInstances", "code": "VcpuLimitExceeded", "message": message})
    with pytest.raises(Quota) as caught:
        bench.vm(0)
    assert (caught.value.limit, caught.value.code) == ("32", "VcpuLimitExceeded")
    assert caught.value.request_id


def spot(bench: Bench, **more: object) -> VmRequest:
    return bench.request(0, cloud_properties={**bench.site.vm_properties, "spot_bid_price": 0.01, **more})


def test_spot_with_fallback(aws: AwsStandIn, bench: Bench) -> None:
    """6.4: a spot instance is refused at once; then an ordinary one is taken, and the token stays one machine's."""
    aws.script({"action": "RunInstances", "code": "InsufficientInstanceCapacity", "status": 500})
    request = spot(bench, spot_ondemand_fallback=True)
    vm = bench.cpi.create_vm(request)
    aws.script()
    assert bench.cpi.create_vm(request) == vm, "the second call found a spot instance"
    assert len([found for found in bench.cpi.find(request.token) if found.kind == "vm"]) == 1


def test_spot_without_fallback(aws: AwsStandIn, bench: Bench) -> None:
    aws.script({"action": "RunInstances", "code": "SpotMaxPriceTooLow", "message": "lower than the minimum", "times": 9})
    with pytest.raises(NoCapacity):
        bench.cpi.create_vm(spot(bench))


# Existence

@pytest.mark.parametrize("method", ["has_vm", "has_disk"])
def test_existence_is_never_guessed(aws: AwsStandIn, bench: Bench, method: str) -> None:
    """Row 6: an error, not false, when the API does not answer."""
    aws.script({"action": "*", "code": "Unavailable", "status": 503, "times": 1000})
    cid = "i-0123456789abcdef0" if method == "has_vm" else "vol-0123456789abcdef0"
    with pytest.raises(Unavailable):
        getattr(bench.cpi, method)(cid)


def test_deletion_that_is_not_certain(aws: AwsStandIn, bench: Bench) -> None:
    vm = bench.vm(0)
    aws.script({"action": "TerminateInstances", "code": "Unavailable", "status": 503, "times": 1000})
    with pytest.raises(Unavailable):
        bench.cpi.delete_vm(vm.cid)
    aws.script({"action": "TerminateInstances", "code": "OperationNotPermitted", "message": "disableApiTermination", "times": 1})
    with pytest.raises(Conflict, match="disableApiTermination"):
        bench.cpi.delete_vm(vm.cid)


def test_lists_in_pages(aws: AwsStandIn, bench: Bench) -> None:
    """Row 25: what is on the second page is found."""
    vms = [bench.vm(number) for number in range(3)]
    disks = [bench.disk() for _ in range(3)]
    aws.settings(page=1)
    owned = {found.cid for found in bench.cpi.owned()}
    assert {vm.cid for vm in vms} | set(disks) <= owned
    assert actions(aws).count("DescribeVolumes") > 3
