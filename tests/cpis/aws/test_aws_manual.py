"""What operators are given works: the cloud config, the stemcell, the policy, and every key of the reference in the schema."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from cpis.aws import AwsCpi
from cpis.cloud.schema import Schema
from cpis.conformance.bench import Bench
from cpis.conformance.clouds.aws import AwsStandIn
from cpis.conformance.clouds.aws.account import ACCOUNT, REGION
from cpis.contract import NotFound

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs/clouds/aws.md").read_text()


def _yaml(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / path).read_text()))


CONFIG = _yaml("manifests/cloud-configs/aws.yml")
# Source: CPI reference, section 6.1.
KEYS = {
    "az": "availability_zone",
    "network": "subnet security_groups",
    "vm_type": (
        "instance_type availability_zone security_groups key_name spot_bid_price spot_ondemand_fallback elbs lb_target_groups "
        "iam_instance_profile placement_group tenancy auto_assign_public_ip advertised_routes raw_instance_storage source_dest_check "
        "ephemeral_disk root_disk metadata_options tags"),
    "disk_type": "type iops throughput encrypted kms_key_arn tags",
    "stemcell": (
        "ami name version disk architecture virtualization_type root_device_name kernel_id boot_mode encrypted kms_key_arn tags"),
    "cpi": (
        "credentials_source access_key_id secret_access_key session_token role_arn region ec2_endpoint elb_endpoint default_key_name "
        "default_security_groups default_iam_instance_profile max_retries dualstack connection_options encrypted kms_key_arn "
        "metadata_options enable_describe_instance_types"),
}


@pytest.mark.parametrize("section", KEYS)
def test_every_key_of_the_reference(section: str) -> None:
    assert set(KEYS[section].split()) <= {key.name for key in Schema.of("aws").sections[section]}


def test_names_are_those_of_the_local_cloud_config() -> None:
    local = _yaml("manifests/cloud-configs/local.yml")
    for part in ("azs", "vm_types", "vm_extensions", "disk_types", "networks"):
        ours, theirs = ({item["name"] for item in config[part]} for config in (CONFIG, local))
        assert theirs <= ours, part


@pytest.mark.parametrize(("part", "section"), [
    ("azs", "az"), ("vm_types", "vm_type"), ("vm_extensions", "vm_type"), ("disk_types", "disk_type")])
def test_the_cloud_config_is_right(part: str, section: str) -> None:
    for item in CONFIG[part]:
        properties = item.get("cloud_properties") or {}
        Schema.of("aws").check(section, {"instance_type": "t3.small", **properties} if part == "vm_extensions" else properties)


@pytest.mark.parametrize("subnet", CONFIG["networks"][0]["subnets"], ids=lambda subnet: subnet["range"])
def test_subnets_are_right(subnet: dict[str, Any]) -> None:
    Schema.of("aws").check("network", subnet["cloud_properties"])
    whole = ip_network(subnet["range"])
    ranges = [[ip_address(end.strip()) for end in item.split("-")] for item in subnet["reserved"]]
    for kept in (whole[2], whole[3], whole[-1]):
        assert any(part[0] <= kept <= part[-1] for part in ranges), f"{kept} is AWS's own"
    assert subnet["gateway"] == str(whole[1])
    assert len(subnet["azs"]) == 1


def test_the_address_of_the_foundation_is_in_the_subnet_of_its_zone() -> None:
    for group in _yaml("manifests/foundation.yml")["instance_groups"]:
        for address in [ip for network in group["networks"] for ip in network.get("static_ips", [])]:
            (subnet,) = [item for item in CONFIG["networks"][0]["subnets"] if ip_address(address) in ip_network(item["range"])]
            assert set(group["azs"]) == set(subnet["azs"])


# The policy

def policy() -> list[dict[str, Any]]:
    text = re.findall(r"```json\n(.*?)```", MANUAL, re.DOTALL)[0]
    return list(json.loads(text)["Statement"])


def actions(statements: list[dict[str, Any]]) -> Iterator[str]:
    for statement in statements:
        found = statement["Action"]
        yield from [found] if isinstance(found, str) else found


def used() -> set[str]:
    """Actions that the code sends, by the words that it has for them."""
    text = "\n".join(path.read_text() for path in (ROOT / "cpis/aws").glob("*.py"))
    words = set(re.findall(
        r'"((?:Describe|Create|Delete|Modify|Attach|Detach|Run|Start|Reboot|Terminate|Associate|Replace|Register|Deregister|Copy|Import|Get|Put|Head)'
        r'[A-Z]\w+)"', text))
    return {word for word in words if word != "GetCallerIdentity" and not word.endswith("Result")}  # that one everybody may


ELSEWHERE = {
    "RegisterTargets": "elasticloadbalancing:RegisterTargets", "DescribeTargetGroups": "elasticloadbalancing:DescribeTargetGroups",
    "RegisterInstancesWithLoadBalancer": "elasticloadbalancing:RegisterInstancesWithLoadBalancer", "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject", "HeadBucket": "s3:ListBucket", "GetServiceQuota": "servicequotas:GetServiceQuota",
}


def test_the_policy_allows_what_is_done_and_no_more() -> None:
    needed = {ELSEWHERE.get(word, f"ec2:{word}") for word in used()}
    assert len(needed) > 40
    allowed = set(actions(policy()))
    assert not {action for action in needed if not any(fnmatch.fnmatch(action, pattern) for pattern in allowed)}
    more = {action for action in allowed - needed if not action.startswith(("iam:", "kms:"))}
    assert more == {"s3:AbortMultipartUpload"}, "allowed, and never asked for"


def test_nothing_is_deleted_that_is_not_the_directors() -> None:
    for statement in policy():
        dangerous = [action for action in actions([statement]) if re.search(r"ec2:(Terminate|Delete(?!Route)|Deregister|Detach)", action)]
        assert not dangerous or statement["Condition"]["StringEquals"] == {"aws:ResourceTag/director": "DIRECTOR"}


def test_the_policy_is_short_enough() -> None:
    """6144 characters without white space. Source: "IAM and AWS STS quotas"."""
    assert len(re.sub(r"\s", "", json.dumps({"Version": "2012-10-17", "Statement": policy()}))) < 6144


# On the stand-in

@pytest.mark.walk
@pytest.mark.parametrize("name", [item["name"] for item in CONFIG["vm_types"]])
@pytest.mark.parametrize("extension", [None, *(item["name"] for item in CONFIG["vm_extensions"])])
def test_machines_of_the_cloud_config_are_made(aws: AwsStandIn, cpi: AwsCpi, name: str, extension: str | None) -> None:
    (properties,) = [item["cloud_properties"] for item in CONFIG["vm_types"] if item["name"] == name]
    more = next((item.get("cloud_properties") or {} for item in CONFIG["vm_extensions"] if item["name"] == extension), {})
    site = aws.site()
    (network,) = site.networks(0)
    stemcell = cpi.create_stemcell("", site.stemcell_properties, "stemcell-1")
    bench = Bench(cpi, dataclasses.replace(site, vm_properties={**site.place, **properties, **more}), stemcell)
    try:
        assert bench.vm(0).networks[0].ip == network.ip
    finally:
        assert not bench.clean()


@pytest.mark.walk
def test_the_newest_image_of_an_owner(aws: AwsStandIn, cpi: AwsCpi) -> None:
    """The stemcell of the manifests, where the owner is the stand-in's own account."""
    properties = _yaml("manifests/stemcells/debian-12-aws.yml")["cloud_properties"]
    Schema.of("aws").check("stemcell", properties)
    wanted = {**properties["ami_filter"], "owner": ACCOUNT}
    newest = cpi.create_stemcell("", {**properties, "ami_filter": {**wanted, "name": "debian-12-*"}}, "stemcell-1")
    assert newest == f"{aws.seeds['ami']} light"
    with pytest.raises(NotFound, match=REGION):
        cpi.create_stemcell("", {**properties, "ami_filter": {**wanted, "name": "nothing-*"}}, "stemcell-1")
