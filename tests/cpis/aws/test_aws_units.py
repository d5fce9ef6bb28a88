"""What the AWS CPI decides without the cloud: regions, endpoints, plans of machines, tags, hints, sizes."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cpis.aws import AwsCpi, metadata
from cpis.aws.api import Batch
from cpis.aws.driver import Place, filters
from cpis.aws.facts import Subnet, is_nitro
from cpis.aws.hints import hint
from cpis.aws.launch import Plan, Planner
from cpis.cloud.schema import Schema
from cpis.conformance.clouds.aws import parameters
from cpis.contract import DiskHint, Invalid, Login, Network, NotFound, Quota, Unavailable, VmRequest

CONFIG = {"region": "eu-central-1", "access_key_id": "k", "secret_access_key": "s"}
LOGIN = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 BBBB", "PRIVATE")


class Facts:
    """An account with subnets `subnet-<zone>-<n>` and any groups."""

    def subnets(self, cids: list[str]) -> list[Subnet]:
        return [Subnet(cid, "vpc-1", f"eu-central-1{cid.split('-')[1]}", ("10.0.0.0/24", "2001:db8::/64")) for cid in cids]

    def groups(self, names: list[str], vpc: str) -> list[str]:
        return [f"sg-{name}" for name in names]

    def image(self, cid: str) -> dict[str, str]:
        return {"rootDeviceName": "/dev/sda1"}

    def type(self, name: str) -> dict[str, Any]:
        if name.startswith("d2"):
            return {"instanceStorageInfo": {"disks": [{"count": "3"}], "nvmeSupport": "unsupported"}}
        return {"instanceStorageInfo": {"disks": [{"count": "2"}], "nvmeSupport": "required"}} if name.startswith("i3en") else {}


def network(name: str = "default", **more: Any) -> Network:
    return Network(**{"name": name, "ip": "10.0.0.10", "default": ("dns", "gateway"), "cloud_properties": {"subnet": "subnet-a-1"}, **more})


def plan(properties: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None, **changes: Any) -> Plan:
    request = VmRequest(
        "vm-1", "agent", "ami-0123456789abcdef0 light", {"instance_type": "t3.small", **(properties or {})}, (network(),), LOGIN)
    request = dataclasses.replace(request, **changes)
    planner = Planner(Facts(), config or {}, "director-1")  # type: ignore[arg-type]
    return planner.plan(request, [])


# Configuration

@pytest.mark.parametrize(
    ("changes", "word"),
    [({"region": "eu-cental-1"}, "eu-central-1"), ({"region": None}, "region"), ({"regin": "x"}, "region"),
     ({"max_retries": "8"}, "max_retries"), ({"credentials_source": "file"}, "env_or_profile"), ({"default_security_groups": "sg"}, "list"),
     ({"request_rates": {"runs": [1, 1]}}, "runs"), ({"request_rates": {"run": [0, 1]}}, "run"),
     ({"connection_options": {"ca_cert": "/no/such/file"}}, "/no/such/file"), ({"metadata_options": {"http_token": "x"}}, "http_tokens")],
)
def test_configurations_that_are_wrong(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(Invalid) as caught:
        AwsCpi({**CONFIG, **changes})
    assert word in f"{caught.value} {caught.value.suggestion}"


@pytest.mark.parametrize(
    ("config", "service", "url"),
    [
        ({}, "ec2", "https://ec2.eu-central-1.amazonaws.com"), ({"region": "cn-north-1"}, "s3", "https://s3.cn-north-1.amazonaws.com.cn"),
        ({"dualstack": True}, "ec2", "https://ec2.eu-central-1.api.aws"), ({"dualstack": True}, "sts", "https://sts.eu-central-1.amazonaws.com"),
        ({"dualstack": True}, "s3", "https://s3.dualstack.eu-central-1.amazonaws.com"),
        ({"elb_endpoint": "elb.example.com"}, "elasticloadbalancing", "https://elb.example.com"),
    ],
)
def test_endpoints(config: dict[str, Any], service: str, url: str) -> None:
    assert Place({**CONFIG, **config}).url(service) == url


def test_info_needs_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 38."""
    monkeypatch.setenv("HOME", str(tmp_path))
    cpi = AwsCpi({"region": "eu-central-1"})
    assert cpi.info().stemcell_formats == ("aws-light", "aws-raw")
    cpi.close()


def test_a_ca_bundle_is_a_file_as_long_as_the_cpi_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cpi = AwsCpi({**CONFIG, "connection_options": {"ca_cert": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"}})
    assert len(list(tmp_path.iterdir())) == 1
    cpi.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("section", "key"), [
    (section, key.name) for section, keys in Schema.of("aws").sections.items() for key in keys])
def test_every_key_is_explained(section: str, key: str) -> None:
    found = next(entry for entry in Schema.of("aws").sections[section] if entry.name == key)
    assert found.description.endswith(".")
    if found.example is not None:
        assert not list(found.wrongs(found.example, key)), "the example is wrong"


# Plans of machines

def groups(found: Plan) -> list[str]:
    return [value for key, value in found.params.items() if ".SecurityGroupId." in key]


@pytest.mark.parametrize(
    ("of_type", "of_networks", "expected"),
    [(["type"], [["a"], ["b"]], ["sg-type"]), (None, [["a", "c"], ["b", "c"]], ["sg-a", "sg-c", "sg-b"]), (None, [[], []], ["sg-usual"])],
)
def test_precedence_of_security_groups(of_type: list[str] | None, of_networks: list[list[str]], expected: list[str]) -> None:
    """Row 19: the vm_type's win, then all networks' together, then the default ones."""
    networks = tuple(
        network(f"n{number}", ip=f"10.0.0.1{number}", cloud_properties={"subnet": "subnet-a-1", "security_groups": names})
        for number, names in enumerate(of_networks))
    found = plan({"security_groups": of_type} if of_type else {}, {"default_security_groups": ["usual"]}, networks=networks)
    assert groups(found) == expected * 2


def test_the_gateway_is_on_the_first_interface() -> None:
    """Row 17."""
    networks = (network("inner", default=(), ip="10.0.0.5"), network("outer"), network("float", type="vip", ip="198.51.100.7", default=()))
    found = plan(networks=networks)
    assert [[item.name for item in shared] for shared in found.interfaces] == [["outer"], ["inner"]]
    assert found.params["NetworkInterface.1.PrivateIpAddress"] == "10.0.0.10"
    assert found.params["NetworkInterface.2.PrivateIpAddress"] == "10.0.0.5"
    assert [vip.ip for vip in found.vips] == ["198.51.100.7"]


def test_addresses_of_version_6() -> None:
    found = plan(networks=(network(ip="2001:db8::7"),))
    assert found.params["NetworkInterface.1.Ipv6Addresses.1.Ipv6Address"] == "2001:db8::7"
    assert found.subnets["subnet-a-1"].prefix_and_gateway("2001:db8::7") == (64, "2001:db8::1")


def test_networks_of_a_group_share_an_interface() -> None:
    """The group stands where its first network does; all of IPv4 but the first are secondary addresses."""
    shared = (network("six", ip="2001:db8::7", default=(), nic_group=1), network("second", ip="10.0.0.11", default=(), nic_group=1))
    found = plan(networks=(network("other", ip="10.0.0.5", default=()), *shared, network("main", nic_group=1)))
    assert [[item.name for item in interface] for interface in found.interfaces] == [["main", "six", "second"], ["other"]]
    addresses = {key: value for key, value in found.params.items() if "Address" in key or key.endswith(".Primary")}
    assert addresses == {
        "NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress": "10.0.0.10", "NetworkInterface.1.PrivateIpAddresses.1.Primary": "true",
        "NetworkInterface.1.PrivateIpAddresses.2.PrivateIpAddress": "10.0.0.11", "NetworkInterface.1.PrivateIpAddresses.2.Primary": "false",
        "NetworkInterface.1.Ipv6Addresses.1.Ipv6Address": "2001:db8::7", "NetworkInterface.2.PrivateIpAddress": "10.0.0.5"}
    both = (network(nic_group=2), network("six", ip="2001:db8::7", default=(), nic_group=2))
    found = plan({"auto_assign_public_ip": True}, networks=both)
    assert found.params["NetworkInterface.1.PrivateIpAddress"] == "10.0.0.10"
    assert found.params["NetworkInterface.1.AssociatePublicIpAddress"] == "true", "it is one interface"


WRONG: list[tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ({}, {"networks": (network(type="vip"),)}, Invalid, "manual or dynamic"),
    ({}, {"networks": (network(), network("v", type="vip", ip="1.1.1.1"), network("w", type="vip", ip="1.1.1.2"))}, Invalid,
     "one floating"),
    ({}, {"networks": (network(cloud_properties={}),)}, Invalid, "subnet"),
    ({}, {"networks": (network(nic_group=1), network("b", nic_group=1, cloud_properties={"subnet": "subnet-a-2"}))}, Invalid,
     "'default' is in subnet-a-1 and 'b' is in subnet-a-2"),
    ({}, {"networks": (network(nic_group=1), network("b", type="dynamic", ip="", nic_group=1))}, Invalid,
     "dynamic network 'b' cannot share"),
    ({}, {"networks": (network(), network("b", cloud_properties={"subnet": "subnet-b-1"}))}, Invalid, "eu-central-1b"),
    ({"availability_zone": "eu-central-1c"}, {}, Invalid, "eu-central-1c"),
    ({}, {"stemcell_cid": "stemcell-1"}, NotFound, "stemcell-1"),
    ({"auto_assign_public_ip": True}, {"networks": (network(), network("b"))}, Invalid, "one network"),
    ({"raw_instance_storage": True}, {}, Invalid, "raw_instance_storage"),
    ({"ephemeral_disk": {"size": 1024, "kms_key_arn": "arn:k"}}, {}, Invalid, "encrypted"),
    ({"instance_typ": "x"}, {}, Invalid, "instance_type"),
    ({}, {"login": dataclasses.replace(LOGIN, host_private_key="HUSH" * 5000)}, Invalid, "16384"),
]


@pytest.mark.parametrize(("properties", "changes", "error", "word"), WRONG, ids=[row[3] for row in WRONG])
def test_plans_that_are_refused(properties: dict[str, Any], changes: dict[str, Any], error: type[Exception], word: str) -> None:
    """Rows 18, 26, 31 and others: before any request."""
    with pytest.raises(error) as caught:
        plan(properties, **changes)
    assert word in f"{caught.value} {getattr(caught.value, 'suggestion', '')}"
    assert "HUSH" not in str(caught.value)


def test_disks_of_the_host() -> None:
    """Those of Xen machines are mapped one by one; NVMe disks are there without."""
    xen = plan({"instance_type": "d2.xlarge", "raw_instance_storage": True}).params
    assert [value for key, value in xen.items() if "Virtual" in key] == ["ephemeral0", "ephemeral1", "ephemeral2"]
    assert not [key for key in plan({"instance_type": "i3en.large", "raw_instance_storage": True}).params if key.startswith("Block")]
    found = plan({"instance_type": "i3en.large", "ephemeral_disk": {"use_instance_storage": True}}).params
    assert (found["BlockDeviceMapping.1.DeviceName"], found["BlockDeviceMapping.1.VirtualName"]) == ("/dev/sdb", "ephemeral0")


@pytest.mark.parametrize(("price", "text"), [(0.03, "0.03"), (1, "1"), (0.00001, "0.00001")])
def test_spot_prices(price: float, text: str) -> None:
    assert plan({"spot_bid_price": price}).market()["InstanceMarketOptions.SpotOptions.MaxPrice"] == text


@pytest.mark.parametrize("properties", [
    {"spot_bid_price": 1.0, "key_name": "k", "iam_instance_profile": "arn:aws:iam::1:instance-profile/p", "placement_group": "g"},
    {"tenancy": "dedicated", "root_disk": {"size": 9000, "iops": 3000, "throughput": 125}, "auto_assign_public_ip": False},
    {"ephemeral_disk": {"size": 9000, "encrypted": True, "kms_key_arn": "k", "type": "io1", "iops": 100}, "iam_instance_profile": "p"},
    {"metadata_options": {"http_tokens": "required", "http_endpoint": "enabled", "http_put_response_hop_limit": 2,
                          "http_protocol_ipv6": "enabled", "instance_metadata_tags": "enabled"}},
    {"instance_type": "d2.xlarge", "raw_instance_storage": True, "ephemeral_disk": {"use_instance_storage": True}},
])
@pytest.mark.parametrize("ip", ["10.0.0.10", "2001:db8::7"])
def test_the_service_knows_all_parameters(properties: dict[str, Any], ip: str) -> None:
    """By the SDK's own description of the service."""
    pytest.importorskip("botocore")
    found = plan(properties, {"encrypted": True}, networks=(network(ip=ip),))
    market = found.market() if found.is_spot else {}
    assert not set(market) & set(found.params)
    parameters.check("ec2", "RunInstances", {**found.params, **market, "ClientToken": "vm-1"})


def test_the_shape_does_not_depend_on_tags() -> None:
    assert plan(metadata={"created_at": "a"}).shape == plan(metadata={"created_at": "b"}).shape
    assert plan().shape != plan({"instance_type": "t3.large"}).shape


# The disk for /var/vcap/data

HOST = {"instance_type": "m5d.large", "ephemeral_disk": {"use_instance_storage": True}}


def user_data(found: Plan) -> str:
    return base64.b64decode(found.params["UserData"]).decode()


@pytest.mark.parametrize("labelled", [False, True])
def test_a_disk_of_the_host_is_formatted(tmp_path: Path, labelled: bool) -> None:
    """Never the root or another volume, and none when the one with our label is there."""
    volume = "Amazon Elastic Block Store"
    (tmp_path / "disks").write_text(f"nvme0n1 disk {volume}\nnvme2n1 disk {volume}\nnvme1n1 disk Amazon EC2 NVMe Instance Storage\n")
    tools = {
        "blkid": "echo /dev/x" if labelled else "exit 1", "mkfs.ext4": f'echo "$@" >> {tmp_path}/log', "mountpoint": "exit 1",
        "mkdir": "exit 0", "mount": f'echo "$@" >> {tmp_path}/log', "lsblk": f"cat {tmp_path}/disks",
    }
    for name, body in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = json.loads(user_data(plan(HOST)).partition("\n")[2])["bootcmd"][0][2]
    subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, timeout=20)
    formatted = [] if labelled else ["-q -L caisson-data /dev/nvme1n1"]
    assert (tmp_path / "log").read_text().splitlines() == [*formatted, "-L caisson-data /var/vcap/data"]


@pytest.mark.parametrize("properties", [
    {}, {"ephemeral_disk": {"size": 1024}}, {"ephemeral_disk": {"use_root_disk": True}}, {**HOST, "instance_type": "m3.medium"}])
def test_volumes_are_left_to_the_director(properties: dict[str, Any]) -> None:
    assert "bootcmd" not in user_data(plan(properties))


def test_agents_of_bosh_have_their_disk() -> None:
    """BOSH's AWS stemcells wait for one at /dev/sdb."""
    settings = dataclasses.replace(LOGIN, agent_settings="{}")
    mapping = {"BlockDeviceMapping.1.DeviceName": "/dev/sdb", "BlockDeviceMapping.1.Ebs.VolumeSize": "10"}
    assert mapping.items() <= plan(login=settings).params.items()
    assert not [key for key in plan({"ephemeral_disk": {"use_root_disk": True}}, login=settings).params if key.startswith("Block")]
    assert not [key for key in plan().params if key.startswith("Block")]


# Tags

def test_tags_are_cut_cleaned_and_dropped() -> None:
    """Row 15."""
    odd = {"long": "x" * 300, "k" * 200: "v", "empty": "", "null": None, "aws:mine": "v", "odd": "a\n🚀b", "ключ": "значение"}
    found = metadata.tags(odd, {"director": "d"})
    assert len(found["long"]) == 255
    assert max(map(len, found)) == 127
    assert not {"empty", "null", "aws:mine"} & set(found)
    assert found["odd"] == "a--b"
    assert found["ключ"] == "значение"


def test_ours_and_the_forced_win() -> None:
    """Row 16: fifty at most."""
    many = {f"tag-{number:03}": "v" for number in range(100)}
    ours = {"director": "mark", "caisson-token": "vm-1"}
    found = metadata.tags({**many, "deployment": "d", "job": "web", "index": "0"}, ours, {"x": "y"})
    assert len(found) == 50
    assert {"Name": "web/0", "director": "mark", "caisson-token": "vm-1", "deployment": "d", "job": "web"}.items() <= found.items()


def test_metadata_is_replaced_and_marks_stay() -> None:
    now = {"director": "d", "caisson-token": "t", "caisson-shape": "s", "Name": "old/0", "stale": "x", "kept": "1", "aws:autoscaling": "a"}
    wanted, stale = metadata.changes(now, {"kept": "1", "new": "2", "name": "new/0"})
    assert wanted == {"new": "2", "name": "new/0", "Name": "new/0"}
    assert stale == ["stale"]


# Others

@pytest.mark.parametrize(
    ("kind", "expected"),
    [("t3.small", True), ("m5.large", True), ("m4.large", False), ("t2.micro", False), ("i3.metal", True), ("p3dn.24xlarge", True)])
def test_nitro(kind: str, expected: bool) -> None:
    assert is_nitro(kind) is expected


def test_hints() -> None:
    """12.1: the stable path of the guest, and the id by which it is found whatever the image calls it."""
    assert hint("c5.large", "vol-0a1", "/dev/sdf") == DiskHint("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0a1", "", "vol-0a1")
    assert hint("m4.large", "vol-0a1", "/dev/sdg") == DiskHint("/dev/xvdg")


def test_filters() -> None:
    assert filters(**{"tag:a": "b", "instance-id": ["x", "y"]}) == {
        "Filter.1.Name": "tag:a", "Filter.1.Value.1": "b", "Filter.2.Name": "instance-id", "Filter.2.Value.1": "x", "Filter.2.Value.2": "y"}


def test_looks_at_the_same_time_share_requests() -> None:
    gate, asked = threading.Event(), []

    def ask(params: dict[str, str]) -> list[dict[str, str]]:
        mine = [value for key, value in params.items() if ".Value." in key]
        asked.append(mine)
        gate.wait(5)
        return [{"id": value} for value in mine if value != "gone"]

    batch = Batch(ask, "id", "id")
    found: dict[str, Any] = {}

    def look(cid: str) -> None:
        found[cid] = batch.get(cid)

    threads = [threading.Thread(target=look, args=(cid,)) for cid in [*(f"i-{number}" for number in range(40)), "gone"]]
    for thread in threads:
        thread.start()
    while len(asked) < 4:  # as many requests as are under way at once
        threading.Event().wait(0.001)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert found.pop("gone") is None
    assert all(found[cid] == {"id": cid} for cid in found)
    assert len(found) == 40
    assert len(asked) < 41


@pytest.mark.parametrize("error", [Unavailable("503"), Quota("no")])
def test_looks_that_fail_are_never_nothing(error: Exception) -> None:
    """Row 6."""

    def ask(params: dict[str, str]) -> list[dict[str, str]]:
        raise error

    with pytest.raises(type(error)):
        Batch(ask, "id", "id").get("i-1")


def test_answers_without_ids_are_never_nothing() -> None:
    def ask(params: dict[str, str]) -> list[dict[str, str]]:
        return [{"other": "x"}]

    with pytest.raises(Unavailable):
        Batch(ask, "id", "id").get("i-1")


