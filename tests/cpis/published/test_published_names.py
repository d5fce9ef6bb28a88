"""Names that our pages and tables have of the vendors' things, against lists of the vendors': permissions, regions, endpoints."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import judge_azure
import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import create_loader
from judge_google import google

from cpis.aws.driver import Place
from cpis.aws.regions import check_region
from cpis.conformance.clouds.aws.parameters import model

_ROOT = Path(__file__).resolve().parents[3]
_DOCS = _ROOT / "docs" / "clouds"
# Rights to join one thing to another: no operation has their names, and no list of them is published in a library.
_JOINS = re.compile(r".*/(?:join|joinIpConfiguration|assign|deploy)/action")


def test_permissions_of_aws() -> None:
    """IAM's actions have no list of their own in a library; AWS's managed policies, which moto carries, name 17,000."""
    policies = pytest.importorskip("moto.iam.aws_managed_policies").aws_managed_policies_data
    known = set(re.findall(r'"([a-z0-9-]+:\w+)"', policies))
    named = set(re.findall(r'"((?:ec2|elasticloadbalancing|iam|kms|s3|servicequotas|sts):[A-Z]\w+)"', (_DOCS / "aws.md").read_text()))
    assert len(named) > 50
    assert named - known - {"ec2:CreateAction"} == set()  # that one is a key of conditions
    actions = {name.partition(":")[2] for name in named if name.startswith("ec2:")} - {"CreateAction"}
    assert actions <= set(model("ec2").operation_names)


def test_permissions_of_azure() -> None:
    """Operations are named by the type's path and what is done: read is GET, write PUT, delete DELETE, action a POST."""
    named = set(re.findall(r'"(Microsoft\.\w+/[\w/]+/(?:read|write|delete|action))"', (_DOCS / "azure.md").read_text()))
    assert len(named) > 40
    known = _operations_of_azure()
    assert {name for name in named if not _JOINS.fullmatch(name) and name.lower() not in known} == set()


def _operations_of_azure() -> set[str]:
    found = {"microsoft.managedidentity/userassignedidentities/read"}  # of which we only check that it is there
    packages = [
        *(f"azure.mgmt.compute.v{version}" for version in ("2024_07_01", "2023_10_02", "2023_07_03", "2021_07_01")), "azure.mgmt.network",
        "azure.mgmt.authorization.v2022_04_01", "azure.mgmt.resource.resources.v2021_04_01",
        "azure.mgmt.resource.subscriptions.v2022_12_01"]
    for package in packages:
        for operations in judge_azure.described(package).values():
            for operation in operations:
                if "/providers/" in operation.path:
                    kind = re.sub(r"/\{\w+\}", "", operation.path.rpartition("/providers/")[2]).replace("/vmimage/", "/")
                else:
                    kind = "Microsoft.Resources" + re.sub(r"/\{\w+\}", "", operation.path)
                done = {"GET": "read", "PUT": "write", "DELETE": "delete", "POST": "action"}.get(operation.verb, "")
                found.add(f"{kind}/{done}".lower())
    return found


def test_permissions_of_gcp() -> None:
    """No library lists IAM's permissions. Of most the name is that of a method; of the others at least the resource must be one."""
    named = set(re.findall(r"^- ((?:compute|storage)\.\w+\.\w+)$", (_DOCS / "gcp.md").read_text(), re.MULTILINE))
    assert len(named) > 40
    methods = google().ids()
    resources = {name.rpartition(".")[0] for name in methods}
    others = {"create": "insert", "update": "addInstances", "use": "", "useReadOnly": "", "useExternalIp": ""}
    for name in sorted(named):
        resource, _, verb = name.rpartition(".")
        assert resource in resources, name
        wanted = others.get(verb, verb)
        assert not wanted or f"{resource}.{wanted}" in methods, name


# Regions of AWS

_SERVICES = {"ec2": "ec2", "elasticloadbalancing": "elb", "s3": "s3", "sts": "sts", "servicequotas": "service-quotas"}


@functools.cache
def _loader() -> Any:
    return create_loader()


@functools.cache
def _endpoints(service: str) -> EndpointProvider:
    return EndpointProvider(_loader().load_service_model(_SERVICES[service], "endpoint-rule-set-1"), _loader().load_data("partitions"))


def _regions() -> list[str]:
    """All but those of the isolated partitions, which nobody reaches from outside."""
    partitions = _loader().load_data("endpoints")["partitions"]
    return [region for partition in partitions for region in partition["regions"] if "-iso" not in partition["partition"]]


@pytest.mark.parametrize("region", _regions())
def test_each_region_is_known_and_has_its_endpoints(region: str) -> None:
    check_region(region, has_endpoint=False)
    for dualstack in (False, True):
        place = Place({"region": region, "dualstack": dualstack})
        for service in _SERVICES:
            both = dualstack and service in ("ec2", "elasticloadbalancing", "s3")
            told = _endpoints(service).resolve_endpoint(Region=region, UseDualStack=both, UseFIPS=False)
            assert place.url(service) == told.url, service
