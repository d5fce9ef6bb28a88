"""The judges themselves: they complain of what is wrong, where, and with the nearest word; and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import call_sites
import judge_aws
import judge_azure
import pytest
from judge_google import google

GOOGLE = "https://compute.googleapis.com/compute/v1/projects/p-1"
DISK: dict[str, Any] = {"name": "d-1", "sizeGb": "10", "labels": {"a": "b"}}
ARM = "https://management.azure.com/subscriptions/s/resourceGroups/g/providers"
VM = f"{ARM}/Microsoft.Compute/virtualMachines/vm-1?api-version=2024-07-01"
NIC = f"{ARM}/Microsoft.Network/networkInterfaces/nic-1?api-version=2024-05-01"
FORM = {
    "authorization": "AWS4-HMAC-SHA256 Credential=K/20261127/us-east-1/{}/aws4_request, ...",
    "content-type": "application/x-www-form-urlencoded"}


# Google

@pytest.mark.parametrize(("url", "body", "complaint"), [
    ("/zones/us-central1-a/disks?requestId=1", DISK, ""),
    ("/zones/us-central1-a/disks", {**DISK, "sizeGb": 10}, ""),
    ("/zones/us-central1-a/disk", DISK, "POST /compute/v1/projects/p-1/zones/us-central1-a/disk: no method has this path"),
    ("/zones/US/disks", DISK, "compute.disks.insert: zone 'US' does not match [a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"),
    ("/zones/us-central1-a/disks?requestID=1", DISK, "compute.disks.insert query: 'requestID' is not known; the nearest is 'requestId'"),
    ("/zones/us-central1-a/disks", {**DISK, "lables": {}}, "compute.disks.insert: 'lables' is not known; the nearest is 'labels'"),
    ("/zones/us-central1-a/disks", {**DISK, "sizeGb": "ten"}, "compute.disks.insert.sizeGb: 'ten' (str) is no int64, which is text"),
    ("/zones/us-central1-a/disks", {**DISK, "labels": {"a": 1}}, "compute.disks.insert.labels.a: '1' (int) is no string"),
    ("/zones/us-central1-a/disks", {**DISK, "status": "READY"}, "compute.disks.insert.status: is only for answers"),
    ("/zones/us-central1-a/disks", [], "compute.disks.insert: '[]' (list) is no object"),
    ("/zones/us-central1-a/instances", {"name": "v", "disks": [{"type": "SCRATCHY"}]},
     "compute.instances.insert.disks[0].type: 'SCRATCHY' is not known; the nearest is 'SCRATCH'"),
    ("/global/snapshots/s-1/setLabels?requestId=1", {"labels": {}}, "compute.snapshots.setLabels query: 'requestId' is not known"),
])
def test_google(url: str, body: Any, complaint: str) -> None:
    assert google().request("POST", GOOGLE + url, json.dumps(body)) == ([complaint] if complaint else [])


def test_google_names_the_verbs_of_a_path() -> None:
    (complaint,) = google().request("PUT", f"{GOOGLE}/zones/us-central1-a/disks", "{}")
    assert complaint.endswith("but with GET, POST")


@pytest.mark.parametrize(("answer", "complaint"), [
    ({"name": "d-1", "sizeGb": "10", "status": "READY"}, ""),
    ({"sizeGb": 10}, "answer of compute.disks.get.sizeGb: '10' (int) is no int64, which is text"),
    ({"status": "DONE"}, "answer of compute.disks.get.status: 'DONE' is not known"),
    ({"user": []}, "answer of compute.disks.get: 'user' is not known; the nearest is 'users'"),
    ({"users": "x"}, "answer of compute.disks.get.users: 'x' (str) is no list"),
])
def test_google_answers(answer: Any, complaint: str) -> None:
    found = google().answer("GET", f"{GOOGLE}/zones/us-central1-a/disks/d-1", json.dumps(answer))
    assert found == ([complaint] if complaint else [])


# Azure

@pytest.mark.parametrize(("verb", "url", "body", "complaint"), [
    ("PUT", VM, {"location": "westeurope", "properties": {"hardwareProfile": {"vmSize": "Standard_New_v9"}}}, ""),
    ("PUT", VM, {"tags": {}}, "virtual_machines_create_or_update: 'location' is missing"),
    ("PUT", VM, {"location": "w", "properties": {"hardwareprofile": {}}},
     "virtual_machines_create_or_update.properties: 'hardwareprofile' is not known; the nearest is 'hardwareProfile'"),
    ("PUT", VM, {"location": "w", "zones": "1"}, "virtual_machines_create_or_update.zones: '1' (str) is no list"),
    ("PUT", VM, {"location": "w", "tags": {"a": 1}}, "virtual_machines_create_or_update.tags[a]: '1' (int) is no str"),
    ("PUT", VM, {"location": "w", "properties": {"priority": "Cheap"}},
     "virtual_machines_create_or_update.properties.priority: 'Cheap' is not known"),
    ("PUT", VM, {"location": "w", "properties": {"vmId": "x"}}, "virtual_machines_create_or_update.properties.vmId: is only for answers"),
    ("PUT", VM, {"location": "w", "properties": {"storageProfile": {"osDisk": {"createOption": "FromImage", "diskSizeGB": "30"}}}},
     "virtual_machines_create_or_update.properties.storageProfile.osDisk.diskSizeGB: '30' (str) is no int"),
    ("PUT", VM, {"location": "w", "properties": {"storageProfile": {"osDisk": {}}}},
     "virtual_machines_create_or_update.properties.storageProfile.osDisk: 'createOption' is missing"),
    ("PUT", NIC, {"location": "w", "properties": {"ipConfigurations": [{"propertys": {}}]}},
     "network_interfaces_create_or_update.properties.ipConfigurations[0]: 'propertys' is not known; the nearest is 'properties'"),
    ("GET", f"{VM}&$expand=instanceView", None, ""),
    ("GET", f"{VM}&$expnd=instanceView", None, "virtual_machines_get query: '$expnd' is not known; the nearest is '$expand'"),
    ("GET", VM.partition("?")[0], None,
     "GET /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1: there is no api-version"),
    ("GET", VM, {"a": "b"}, "virtual_machines_get: has a body, but the operation takes none"),
    ("GET", f"{ARM}/Microsoft.Cake/slices/s?api-version=2024-07-01", None,
     "GET /subscriptions/s/resourceGroups/g/providers/Microsoft.Cake/slices/s: the provider 'microsoft.cake' is not described"),
    ("PUT", "https://management.azure.com/subscriptions/s/resourcegroups/G?api-version=2021-04-01", {"location": "w"}, ""),
])
def test_azure(verb: str, url: str, body: Any, complaint: str) -> None:
    found = judge_azure.request(verb, url, "" if body is None else json.dumps(body))
    assert found == ([complaint] if complaint else [])


def test_azure_names_the_versions_that_there_are() -> None:
    (complaint,) = judge_azure.request("GET", VM.replace("2024-07-01", "2024-07-02"), "")
    assert "is not there in version 2024-07-02" in complaint
    assert "2024-07-01" in complaint.partition("described: ")[2]


@pytest.mark.parametrize(("answer", "complaint"), [
    ({"id": "/x", "properties": {"vmId": "1", "provisioningState": "Succeeded"}}, ""),
    ({"properties": {"vmID": "1"}}, "answer of virtual_machines_get.properties: 'vmID' is not known; the nearest is 'vmId'"),
    ({"properties": {"instanceView": {"statuses": [{"level": "Bad"}]}}},
     "answer of virtual_machines_get.properties.instanceView.statuses[0].level: 'Bad' is not known"),
])
def test_azure_answers(answer: Any, complaint: str) -> None:
    assert judge_azure.answer("GET", VM, 200, json.dumps(answer)) == ([complaint] if complaint else [])


# AWS

def aws(service: str, action: str, **params: str) -> list[str]:
    headers = {**FORM, "authorization": FORM["authorization"].format(service)}
    return judge_aws.request("POST", "https://x.amazonaws.com/", headers, urlencode({"Action": action, **params}))


@pytest.mark.parametrize(("service", "action", "params", "complaint"), [
    ("ec2", "CreateVolume", {"AvailabilityZone": "us-east-1a", "Size": "1", "TagSpecification.1.Tag.1.Key": "a"}, ""),
    ("ec2", "CreateVolumes", {}, "The action CreateVolumes is not valid for this web service; the nearest is CreateVolume"),
    ("ec2", "CreateVolume", {"Version": "2013-10-15"}, "Version is 2013-10-15, the service's is 2016-11-15"),
    ("ec2", "CreateVolume", {"Sise": "1"}, "The parameter Sise is not recognized (Sise); the nearest is Size"),
    ("ec2", "CreateVolume", {"Size": "big"}, "Value (big) for parameter Size is invalid. It must be a integer"),
    ("ec2", "CreateVolume", {"VolumeType": "gp9"}, "one of standard, io1, io2, gp2, sc1, st1, gp3; the nearest is gp3"),
    ("ec2", "CreateVolume", {"TagSpecification.1.Tags.1.Key": "a"},
     "The parameter TagSpecification is not recognized (TagSpecification.1.Tags); the nearest is Tag"),
    ("ec2", "DescribeVolumes", {"Filter.0.Name": "a"}, "The items of the parameter Filter are numbered from 1, not: 0"),
    ("ec2", "AttachVolume", {"Device": "/dev/xvdf", "VolumeId": "vol-1"}, "The request must contain the parameter InstanceId"),
    ("elasticloadbalancing", "RegisterInstancesWithLoadBalancer", {
        "Version": "2012-06-01", "LoadBalancerName": "b", "Instances.member.1.InstanceId": "i-1"}, ""),
    ("elasticloadbalancing", "RegisterInstancesWithLoadBalancer", {
        "Version": "2012-06-01", "LoadBalancerName": "b", "Instances.1.InstanceId": "i-1"}, "(Instances.1)"),
    ("elasticloadbalancing", "RegisterTargets", {"Version": "2015-12-01", "TargetGroupArn": "a"}, "must contain the parameter Targets"),
    ("sts", "AssumeRole", {"RoleArn": "role", "RoleSessionName": "caisson"}, "It must have 20 to 2048 characters"),
])
def test_aws(service: str, action: str, params: dict[str, str], complaint: str) -> None:
    found = aws(service, action, **params)
    assert any(complaint in text for text in found) if complaint else found == []


@pytest.mark.parametrize(("verb", "path", "headers", "complaint"), [
    ("PUT", "/b/k", {"x-amz-date": "d", "x-amz-server-side-encryption": "AES256"}, ""),
    ("PUT", "/b/k?partNumber=1&uploadId=u", {}, ""),
    ("PUT", "/b/k", {"x-amz-server-side-encryption": "ROT13"}, "PutObject headers.x-amz-server-side-encryption: 'ROT13' is not known"),
    ("PUT", "/b/k", {"x-amz-colour": "red"}, "x-amz-colour"),
    ("HEAD", "/b", {}, ""),
    ("PATCH", "/b/k", {}, "no operation of S3 has this path"),
])
def test_aws_object_store(verb: str, path: str, headers: dict[str, str], complaint: str) -> None:
    found = judge_aws.request(verb, f"https://s3{path}", {"authorization": FORM["authorization"].format("s3"), **headers}, "")
    assert any(complaint in text for text in found) if complaint else found == []


def test_aws_json() -> None:
    headers = {
        "authorization": FORM["authorization"].format("servicequotas"), "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "ServiceQuotasV20190624.GetServiceQuota"}

    def judged(body: Any, **changes: str) -> list[str]:
        return judge_aws.request("POST", "https://servicequotas/", {**headers, **changes}, json.dumps(body))

    assert judged({"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"}) == []
    assert any("QuotaCode" in text for text in judged({"ServiceCode": "ec2"}))
    assert any("the nearest is 'QuotaCode'" in text for text in judged({"ServiceCode": "ec2", "QuotaCode": "L-1", "QuotaCodes": "L-1"}))
    assert judged({}, **{"x-amz-target": "ServiceQuotas.GetServiceQuota"})


@pytest.mark.parametrize(("inside", "complaint"), [
    ("<requestId>r</requestId><volumeSet><item><volumeId>vol-1</volumeId><size>1</size><status>in-use</status></item></volumeSet>", ""),
    ("<volumeSet><item><volumeID>vol-1</volumeID></item></volumeSet>",
     "answer of DescribeVolumes.volumeSet[0]: 'volumeID' is not known; the nearest is 'volumeId'"),
    ("<volumeSet><item><size>one</size></item></volumeSet>", "answer of DescribeVolumes.volumeSet[0].size: 'one' (str) is no integer"),
    ("<volumeSet><item><status>taken</status></item></volumeSet>", "answer of DescribeVolumes.volumeSet[0].status: 'taken' is not known"),
    ("<volumeSet><member/></volumeSet>", "answer of DescribeVolumes.volumeSet: 'member' is not known"),
])
def test_aws_answers(inside: str, complaint: str) -> None:
    headers = {**FORM, "authorization": FORM["authorization"].format("ec2")}
    text = f'<DescribeVolumesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{inside}</DescribeVolumesResponse>'
    assert judge_aws.answer("https://ec2/", headers, "Action=DescribeVolumes", text) == ([complaint] if complaint else [])


# Places in the source

def test_a_call_that_nothing_sends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpis" / "gcp").mkdir(parents=True)
    source = 'def f(self):\n    self._compute.run(\n        "POST", "/a")\n    self._compute.get("/b")\n'
    (tmp_path / "cpis" / "gcp" / "new.py").write_text(source)
    monkeypatch.setattr(call_sites, "_ROOT", tmp_path)
    assert call_sites.unsent("gcp", ["cpis/gcp/new.py:3"]) == ["cpis/gcp/new.py:4 self._compute.get('/b')"]
    assert call_sites.unsent("gcp", ["cpis/gcp/new.py:2", "cpis/gcp/new.py:4"]) == []


@pytest.mark.parametrize(("cloud", "least"), [("aws", 60), ("azure", 60), ("gcp", 50)])
def test_the_calls_of_the_clouds_are_found(cloud: str, least: int) -> None:
    assert len(list(call_sites.calls(cloud))) >= least
