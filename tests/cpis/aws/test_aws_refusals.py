"""What AWS refuses: properties, credentials, answers that are none. Numbers are rows of the CPI reference's table of mistakes."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable

import pytest
from aws_requests import Time, actions

from cpis.aws import AwsCpi
from cpis.conformance.bench import Bench
from cpis.conformance.clouds.aws import AwsStandIn
from cpis.conformance.clouds.aws.account import REGION, SECRET
from cpis.contract import (
    CpiError,
    Denied,
    DiskRequest,
    Invalid,
    NotFound,
    NotSupported,
    Unavailable,
    VmRequest,
)

pytestmark = pytest.mark.walk


# What is asked is wrong

WRONG: list[tuple[str, Callable[[VmRequest, AwsStandIn], VmRequest], tuple[type[CpiError], ...], str]] = [
    ("zone", lambda r, aws: vm_properties(r, availability_zone="us-east-1x"), (Invalid,), "us-east-1x"),
    ("zone of the subnet", lambda r, aws: vm_properties(r, availability_zone=f"{REGION}b"), (Invalid,), f"{REGION}a"),
    ("type", lambda r, aws: vm_properties(r, instance_type="t9.huge"), (Invalid,), "t9.huge"),
    ("subnet", lambda r, aws: network_properties(r, subnet="subnet-0123456789abcdef0"), (NotFound,), "subnet-0123456789abcdef0"),
    ("no subnet", lambda r, aws: network_properties(r), (Invalid,), "subnet"),
    ("group", lambda r, aws: vm_properties(r, security_groups=["nobody"]), (Invalid, NotFound), "nobody"),
    ("group id", lambda r, aws: vm_properties(r, security_groups=["sg-0123456789abcdef0"]), (Invalid, NotFound), "sg-0123456789abcdef0"),
    ("image", lambda r, aws: dataclasses.replace(r, stemcell_cid="ami-0123456789abcdef0 light"), (NotFound,), "ami-0123456789abcdef0"),
    ("profile", lambda r, aws: vm_properties(r, iam_instance_profile="nobody"), (Invalid, NotFound), "nobody"),
    ("target group", lambda r, aws: vm_properties(r, lb_target_groups=["nobody"]), (NotFound,), "target"),
    ("load balancer", lambda r, aws: vm_properties(r, elbs=["nobody"]), (NotFound,), "nobody"),
    ("vip", lambda r, aws: dataclasses.replace(r, networks=(*r.networks, dataclasses.replace(
        r.networks[0], name="v", type="vip", ip="203.0.113.9"))), (NotFound,), "203.0.113.9"),
    ("route table", lambda r, aws: vm_properties(r, advertised_routes=[{"table_id": "rtb-0123456789abcdef0", "destination": "10.9.0.0/16"}]
    ), (NotFound,), "rtb-0123456789abcdef0"),
    ("host disks", lambda r, aws: vm_properties(r, raw_instance_storage=True), (Invalid,), "t3.small"),
    ("disk without size", lambda r, aws: vm_properties(r, ephemeral_disk={"type": "gp3"}), (Invalid,), "size"),
]


def vm_properties(request: VmRequest, **more: object) -> VmRequest:
    return dataclasses.replace(request, cloud_properties={**request.cloud_properties, **more})


def network_properties(request: VmRequest, **all_of_them: object) -> VmRequest:
    return dataclasses.replace(request, networks=(dataclasses.replace(request.networks[0], cloud_properties=all_of_them),))


@pytest.mark.parametrize(("change", "kinds", "word"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_named(
    aws: AwsStandIn, bench: Bench, change: Callable[[VmRequest, AwsStandIn], VmRequest], kinds: tuple[type[CpiError], ...], word: str,
) -> None:
    request = change(bench.request(0), aws)
    with pytest.raises(kinds) as caught:
        bench.cpi.create_vm(request)
    assert word in f"{caught.value} {caught.value.resource}"
    assert not bench.cpi.find(request.token), "a part of it is left"


def test_a_disk_of_another_zone(bench: Bench) -> None:
    vm = bench.vm(0)
    disk = bench.cpi.create_disk(DiskRequest(bench.token(), 1024, {"availability_zone": f"{REGION}b"}))
    with pytest.raises(Invalid, match=f"{REGION}b.*{REGION}a"):
        bench.cpi.attach_disk(vm.cid, disk)


def test_a_snapshot_of_a_disk_that_is_gone(bench: Bench) -> None:
    disk = bench.disk()
    bench.cpi.delete_disk(disk)
    with pytest.raises(NotFound):
        bench.cpi.snapshot_disk(disk, {}, bench.token())


def test_a_machine_that_goes_in_the_middle(aws: AwsStandIn, bench: Bench) -> None:
    """Somebody deletes the machine in the console while it is joined: the error says that it is gone, and nothing is left."""
    vm = bench.vm(0)
    disk = bench.disk(vm_cid=vm.cid)
    bench.cpi.attach_disk(vm.cid, disk)
    bench.cpi.delete_vm(vm.cid)
    bench.cpi.detach_disk(vm.cid, disk)
    with pytest.raises(NotFound):
        bench.cpi.attach_disk(vm.cid, disk)


def test_a_modification_too_soon(aws: AwsStandIn, bench: Bench) -> None:
    """6.2: one modification in six hours; the director copies then."""
    disk = bench.disk()
    aws.script({"action": "ModifyVolume", "code": "VolumeModificationRateExceeded", "message": "Wait at least 6 hours"})
    with pytest.raises(NotSupported, match="6 hours"):
        bench.cpi.resize_disk(disk, 4096)


# Who asks, and what answers

def another(aws: AwsStandIn, time: Time, **changes: object) -> AwsCpi:
    return AwsCpi({**aws.config, **changes}, clock=time.clock, sleep=time.sleep)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"secret_access_key": "wrong/Secret"}, "SignatureDoesNotMatch"), ({"access_key_id": "AKIANOBODY"}, "AuthFailure"),
     ({"session_token": "stale"}, "AuthFailure")],
)
def test_wrong_credentials(aws: AwsStandIn, bench: Bench, time: Time, changes: dict[str, object], code: str) -> None:
    cpi = another(aws, time, **changes)
    with pytest.raises(Denied) as caught:
        cpi.has_vm("i-0123456789abcdef0")
    assert caught.value.code == code
    assert caught.value.suggestion
    assert not any(str(value) in repr(vars(caught.value)) for key, value in changes.items() if key != "access_key_id")
    cpi.close()


def test_a_role_is_assumed_and_renewed(aws: AwsStandIn, bench: Bench, time: Time) -> None:
    """Row 24: temporary credentials that end meanwhile are fetched anew, silently."""
    cpi = another(aws, time, role_arn="arn:aws:iam::123456789012:role/caisson")
    aws.forget_requests()
    assert not cpi.has_vm("i-0123456789abcdef0")
    assert actions(aws) == ["AssumeRole", "DescribeInstances"]
    aws.settings(expire=True)
    assert not cpi.has_vm("i-0123456789abcdef0")
    assert actions(aws) == ["AssumeRole", "DescribeInstances", "DescribeInstances", "AssumeRole", "DescribeInstances"]
    cpi.close()


def test_missing_permissions(aws: AwsStandIn, bench: Bench) -> None:
    aws.settings(denied=["RunInstances"])
    with pytest.raises(Denied, match="UnauthorizedOperation"):
        bench.vm(0)


def test_secrets_are_hidden_in_errors(aws: AwsStandIn, bench: Bench) -> None:
    """Row 27: what a server repeats of a secret is not shown."""
    aws.script({"action": "DescribeInstances", "code": "InvalidParameterValue", "message": f"the secret {SECRET} is wrong"})
    with pytest.raises(Invalid) as caught:
        bench.cpi.has_vm("i-0123456789abcdef0")
    assert SECRET not in repr(vars(caught.value)) + str(caught.value)


@pytest.mark.parametrize(
    ("body", "status"),
    [("<html><head><title>503 Service Unavailable</title></head></html>", 503), ("<html><title>Sign in</title></html>", 200),
     ("<DescribeInstancesResponse><reservationSet><item>", 200)],
)
def test_answers_that_are_no_answers(aws: AwsStandIn, bench: Bench, body: str, status: int) -> None:
    """Row 36: pages of proxies and answers cut off."""
    aws.script({"action": "DescribeInstances", "body": body, "status": status, "times": 1000})
    with pytest.raises(Unavailable) as caught:
        bench.cpi.has_vm("i-0123456789abcdef0")
    assert "Traceback" not in str(caught.value)
    aws.script({"action": "DescribeInstances", "body": body, "status": status, "times": 1})
    assert bench.cpi.has_vm("i-0123456789abcdef0") is False


@pytest.mark.parametrize("body", ["<html><title>Sign in</title></html>", " ", ""])
def test_a_deletion_that_a_proxy_answered_is_made_again(aws: AwsStandIn, bench: Bench, body: str) -> None:
    cid = bench.disk()
    aws.script({"action": "DeleteVolume", "body": body, "code": "", "status": 200, "times": 1})
    bench.cpi.delete_disk(cid)
    assert not bench.cpi.has_disk(cid)


@pytest.mark.parametrize("inside", ["", "<instancesSet><item><x>1</x></item></instancesSet>"])
def test_answers_with_fields_missing(aws: AwsStandIn, bench: Bench, inside: str) -> None:
    body = f"<RunInstancesResponse>{inside}</RunInstancesResponse>"
    aws.script({"action": "RunInstances", "body": body, "status": 200, "times": 1000})
    request = bench.request(0)
    with pytest.raises(CpiError):
        bench.cpi.create_vm(request)


def test_nobody_listens(aws: AwsStandIn, bench: Bench, time: Time) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    cpi = AwsCpi(aws.config_for(url), clock=time.clock, sleep=time.sleep)
    with pytest.raises(Unavailable, match="cannot be reached"):
        cpi.has_vm("i-0123456789abcdef0")
    assert cpi.info().stemcell_formats
    cpi.close()
