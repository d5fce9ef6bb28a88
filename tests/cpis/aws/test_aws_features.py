"""What cloud_properties of AWS do, seen by another client: the SDK of AWS, which comes with moto."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpis.aws import AwsCpi
from cpis.conformance.bench import Bench
from cpis.conformance.clouds.aws import AwsStandIn
from cpis.conformance.clouds.aws.account import BUCKET, KEY, REGION, SECRET, VIP
from cpis.contract import Conflict, CpiError, DiskRequest, Invalid, NotFound, NotSupported, Uses, Vm

pytestmark = pytest.mark.walk


@pytest.fixture(scope="module")
def sdk(aws: AwsStandIn) -> Any:
    """A client of the SDK by service."""
    boto3 = pytest.importorskip("boto3")

    def client(service: str) -> Any:
        return boto3.client(
            service, endpoint_url=aws.endpoint, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET)

    return client


@pytest.fixture
def bench(aws: AwsStandIn, cpi: AwsCpi) -> Iterator[Bench]:
    site = aws.site()
    bench = Bench(cpi, site, cpi.create_stemcell("", site.stemcell_properties, "conformance-stemcell"))
    yield bench
    aws.script()
    aws.settings(denied=[], vcpus=640.0)
    assert not bench.clean()
    assert not aws.resources(), "something leaked"


def made(bench: Bench, **properties: object) -> Vm:
    return bench.vm(0, cloud_properties={**bench.site.vm_properties, **properties})


def look(sdk: Any, vm: Vm) -> dict[str, Any]:
    instance: dict[str, Any] = sdk("ec2").describe_instances(InstanceIds=[vm.cid])["Reservations"][0]["Instances"][0]
    return instance


def tags(thing: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags") or thing.get("TagSet") or []}


def user_data(sdk: Any, vm: Vm) -> str:
    answer = sdk("ec2").describe_instance_attribute(InstanceId=vm.cid, Attribute="userData")
    return base64.b64decode(answer["UserData"]["Value"]).decode()


# Machines

def test_login_and_host_key_are_in_the_user_data(bench: Bench, sdk: Any) -> None:
    """6.3: our user with our key, and the host key that the director made."""
    text = user_data(sdk, made(bench))
    login = bench.site.login
    assert text.startswith("#cloud-config\n")
    found = json.loads(text.partition("\n")[2])
    assert found["users"][0]["name"] == login.user
    assert found["users"][0]["ssh_authorized_keys"] == [login.public_key]
    assert found["ssh_keys"]["ed25519_public"] == login.host_public_key
    assert "bootcmd" not in found


def test_settings_of_an_agent_are_the_user_data(bench: Bench, sdk: Any) -> None:
    settings = json.dumps({"agent_id": "a", "networks": {}})
    vm = bench.vm(0, login=dataclasses.replace(bench.site.login, agent_settings=settings))
    assert user_data(sdk, vm) == settings


def test_all_parts_carry_the_marks(bench: Bench, sdk: Any) -> None:
    """4.1: token and director on the machine, its volumes and interfaces, in the creating request."""
    request = bench.request(0, metadata={"deployment": "d", "job": "web", "index": "0"})
    vm = bench.cpi.create_vm(request)
    instance = look(sdk, vm)
    volumes = sdk("ec2").describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [vm.cid]}])["Volumes"]
    interfaces = sdk("ec2").describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [vm.cid]}])
    for thing in (instance, *volumes, *interfaces["NetworkInterfaces"]):
        found = tags(thing)
        assert (found["caisson-token"], found["director"], found["deployment"]) == (request.token, "conformance", "d")
    assert tags(instance)["Name"] == "web/0"
    assert instance["ClientToken"] == request.token


@pytest.mark.parametrize(
    ("metadata", "name"),
    [({"name": "web/1234", "job": "web", "index": "0"}, "web/1234"), ({"job": "web", "index": "0"}, "web/0"),
     ({"compiling": "ruby"}, "compiling/ruby"), ({}, "")],
)
def test_the_name_in_the_console(bench: Bench, sdk: Any, metadata: dict[str, str], name: str) -> None:
    vm = made(bench)
    bench.cpi.set_vm_metadata(vm.cid, metadata)
    assert tags(look(sdk, vm)).get("Name", "") == (name or "machine/0")


def test_options_of_machines(bench: Bench, sdk: Any) -> None:
    vm = made(
        bench, key_name="caisson", iam_instance_profile="caisson-vm", tenancy="dedicated", placement_group="near", source_dest_check=False,
        metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 2}, tags={"cost": "42", "deployment": "loses"},
    )
    instance = look(sdk, vm)
    assert instance["KeyName"] == "caisson"
    assert instance["Placement"]["Tenancy"] == "dedicated"
    assert instance["Placement"]["GroupName"] == "near"
    assert (instance["MetadataOptions"]["HttpTokens"], instance["MetadataOptions"]["HttpPutResponseHopLimit"]) == ("required", 2)
    assert instance["IamInstanceProfile"]["Arn"].endswith("/caisson-vm")
    assert tags(instance)["cost"] == "42"
    (interface,) = sdk("ec2").describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [vm.cid]}])["NetworkInterfaces"]
    assert interface["SourceDestCheck"] is False


def test_root_and_ephemeral_disk(bench: Bench, sdk: Any) -> None:
    vm = made(bench, root_disk={"size": 20_481, "type": "gp3"}, ephemeral_disk={"size": 10_000, "encrypted": True})
    volumes = {item["DeviceName"]: item["Ebs"]["VolumeId"] for item in look(sdk, vm)["BlockDeviceMappings"]}
    assert set(volumes) == {"/dev/xvda", "/dev/sdb"}
    root, data = (sdk("ec2").describe_volumes(VolumeIds=[volumes[name]])["Volumes"][0] for name in ("/dev/xvda", "/dev/sdb"))
    assert (root["Size"], root["VolumeType"], root["Encrypted"]) == (21, "gp3", False)
    assert (data["Size"], data["VolumeType"], data["Encrypted"]) == (10, "gp3", True)
    assert all(item["Ebs"]["DeleteOnTermination"] for item in look(sdk, vm)["BlockDeviceMappings"])
    assert vm.ephemeral_disk is not None
    assert vm.ephemeral_disk.id == volumes["/dev/sdb"]
    assert not bench.cpi.get_disks(vm.cid), "its own disks are no persistent ones"


def test_the_account_encrypts_by_default(aws: AwsStandIn, bench: Bench, sdk: Any) -> None:
    cpi = AwsCpi({**aws.config, "encrypted": True})
    vm = cpi.create_vm(bench.request(0))
    disk = cpi.create_disk(bench.disk_request(vm_cid=vm.cid))
    volumes = [item["Ebs"]["VolumeId"] for item in look(sdk, vm)["BlockDeviceMappings"]]
    assert all(volume["Encrypted"] for volume in sdk("ec2").describe_volumes(VolumeIds=[*volumes, disk])["Volumes"])
    cpi.close()


@pytest.mark.parametrize("names", [["caisson"], None])
def test_security_groups_by_name_and_id(aws: AwsStandIn, bench: Bench, sdk: Any, names: list[str] | None) -> None:
    vm = made(bench, security_groups=names or [aws.seeds["security_group"]])
    assert [group["GroupId"] for group in look(sdk, vm)["NetworkInterfaces"][0]["Groups"]] == [aws.seeds["security_group"]]


def test_several_networks_have_their_interfaces(aws: AwsStandIn, bench: Bench, sdk: Any) -> None:
    """Row 17: the network of the default gateway is on the first interface, whatever the order in the manifest."""
    assert bench.site.several
    vm = bench.vm(0, networks=bench.site.several(0))
    found = {item["Attachment"]["DeviceIndex"]: item["PrivateIpAddress"] for item in look(sdk, vm)["NetworkInterfaces"]}
    assert found == {0: "10.244.16.10", 1: "10.244.19.10"}
    assert vm.ssh_address == "10.244.16.10"


def test_networks_of_a_group_share_an_interface(aws: AwsStandIn, bench: Bench, sdk: Any) -> None:
    """Two of IPv4 and one of IPv6, asked for in another order than they come to stand in."""
    ec2, subnet = sdk("ec2"), aws.seeds["subnets"]["a"]
    six_range = ec2.associate_subnet_cidr_block(SubnetId=subnet, Ipv6CidrBlock="2001:db8:16::/64")["Ipv6CidrBlockAssociation"]
    (one,) = (dataclasses.replace(network, nic_group=1) for network in bench.site.networks(0))
    two = dataclasses.replace(one, name="second", ip="10.244.16.77", default=())
    six = dataclasses.replace(one, name="six", ip="2001:db8:16::77", default=(), gateway="")
    try:
        vm = bench.vm(0, networks=(six, two, one))
        (interface,) = look(sdk, vm)["NetworkInterfaces"]
        assert [(item["PrivateIpAddress"], item["Primary"]) for item in interface["PrivateIpAddresses"]] == [
            (one.ip, True), (two.ip, False)]
        (described,) = ec2.describe_network_interfaces(
            Filters=[{"Name": "attachment.instance-id", "Values": [vm.cid]}])["NetworkInterfaces"]
        assert [item["Ipv6Address"] for item in described["Ipv6Addresses"]] == ["2001:db8:16::77"]
        assert [(network.name, network.ip, network.prefix_length, network.gateway) for network in vm.networks] == [
            ("six", "2001:db8:16::77", 64, "2001:db8:16::1"), ("second", "10.244.16.77", 24, one.gateway),
            (one.name, one.ip, 24, one.gateway)]
        assert vm.ssh_address == one.ip
        with pytest.raises(Conflict):
            bench.vm(1, networks=(dataclasses.replace(six, nic_group=None, default=("gateway",)),))
        bench.cpi.delete_vm(vm.cid)
    finally:
        ec2.disassociate_subnet_cidr_block(AssociationId=six_range["AssociationId"])


def test_spot(bench: Bench, sdk: Any) -> None:
    assert look(sdk, made(bench, spot_bid_price=0.0123))["InstanceLifecycle"] == "spot"


# What is around machines

def test_target_groups_and_load_balancers(aws: AwsStandIn, bench: Bench, sdk: Any) -> None:
    arn = aws.seeds["target_group"]
    first = made(bench, lb_target_groups=["caisson-web"], elbs=["caisson-classic"])
    second = bench.vm(1, cloud_properties={**bench.site.vm_properties, "lb_target_groups": [arn]})
    health = sdk("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert {item["Target"]["Id"] for item in health} >= {first.cid, second.cid}
    (balancer,) = sdk("elb").describe_load_balancers(LoadBalancerNames=["caisson-classic"])["LoadBalancerDescriptions"]
    assert first.cid in {item["InstanceId"] for item in balancer["Instances"]}


def test_routes_lead_to_the_machine_and_go_with_it(aws: AwsStandIn, bench: Bench, sdk: Any) -> None:
    table = aws.seeds["route_table"]
    properties = {"advertised_routes": [{"table_id": table, "destination": "10.99.0.0/16"}]}

    def target() -> str:
        routes = sdk("ec2").describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        return next((route.get("InstanceId", "") for route in routes if route.get("DestinationCidrBlock") == "10.99.0.0/16"), "")

    first = made(bench, **properties)
    assert target() == first.cid
    second = bench.vm(1, cloud_properties={**bench.site.vm_properties, **properties})
    assert target() == second.cid
    bench.cpi.delete_vm(first.cid)
    assert target() == second.cid, "the first machine took the second one's route away"
    bench.cpi.delete_vm(second.cid)
    assert target() == ""


def test_a_floating_address_is_not_stolen(bench: Bench, sdk: Any) -> None:
    assert bench.site.vip
    vm = bench.vm(0, networks=bench.site.vip(0))
    assert sdk("ec2").describe_addresses(PublicIps=[VIP])["Addresses"][0]["InstanceId"] == vm.cid
    request = bench.request(1, networks=bench.site.vip(1))
    with pytest.raises(Conflict, match=vm.cid):
        bench.cpi.create_vm(request)
    assert not bench.cpi.find(request.token)


def test_a_public_address(bench: Bench, sdk: Any) -> None:
    """Row 20 for AWS: the subnet decides unless the property says so."""
    assert look(sdk, made(bench, auto_assign_public_ip=True)).get("PublicIpAddress")
    assert not look(sdk, bench.vm(1)).get("PublicIpAddress")


def test_machines_are_reached_from_outside(aws: AwsStandIn, bench: Bench, sdk: Any) -> None:
    cpi = AwsCpi({**aws.config, "ssh_over_public": True})
    public = cpi.create_vm(bench.request(0, cloud_properties={**bench.site.vm_properties, "auto_assign_public_ip": True}))
    assert public.ssh_address == look(sdk, public)["PublicIpAddress"]
    assert bench.site.vip
    assert cpi.create_vm(bench.request(1, networks=bench.site.vip(1))).ssh_address == VIP
    private = cpi.create_vm(bench.request(2))
    assert private.ssh_address == private.networks[0].ip
    cpi.close()


def test_disks_of_the_host_are_there_by_the_type(bench: Bench) -> None:
    with pytest.raises(Invalid, match=r"t3\.small have no disks of their own"):
        made(bench, raw_instance_storage=True)


def test_a_machine_that_somebody_stopped_is_started(bench: Bench, sdk: Any) -> None:
    """A reboot of what does not run would do nothing."""
    vm = bench.vm(0)
    sdk("ec2").stop_instances(InstanceIds=[vm.cid])
    bench.cpi.reboot_vm(vm.cid)
    assert look(sdk, vm)["State"]["Name"] == "running"


# Disks

def test_kinds_of_disks(bench: Bench, sdk: Any) -> None:
    properties = {"type": "io1", "iops": 200, "encrypted": True, "tags": {"tier": "gold"}, "availability_zone": f"{REGION}b"}
    disk = bench.cpi.create_disk(DiskRequest(bench.token(), 5000, properties))
    (volume,) = sdk("ec2").describe_volumes(VolumeIds=[disk])["Volumes"]
    assert (volume["VolumeType"], volume["Iops"], volume["Encrypted"], volume["Size"]) == ("io1", 200, True, 5)
    assert (volume["AvailabilityZone"], tags(volume)["tier"]) == (f"{REGION}b", "gold")


def test_a_change_is_read_in_any_namespace(aws: AwsStandIn, bench: Bench, sdk: Any) -> None:
    """Stand-ins have another than the service; Libcloud's method finds nothing in it."""
    disk = bench.disk()
    body = '<ModifyVolumeResponse xmlns="urn:another"><volumeModification/></ModifyVolumeResponse>'
    aws.script({"action": "ModifyVolume", "status": 200, "body": body, "when": "after"})
    bench.cpi.resize_disk(disk, 4 * 1024)
    assert sdk("ec2").describe_volumes(VolumeIds=[disk])["Volumes"][0]["Size"] == 4


def test_a_disk_is_changed_in_place(bench: Bench, sdk: Any) -> None:
    """Row 14: nothing is doubled, since nothing is copied; what cannot be changed in place is left to the director."""
    disk = bench.disk()
    assert bench.cpi.update_disk(disk, 3000, {"type": "io1", "iops": 300}) == disk
    (volume,) = sdk("ec2").describe_volumes(VolumeIds=[disk])["Volumes"]
    assert (volume["VolumeType"], volume["Iops"], volume["Size"]) == ("io1", 300, 3)
    with pytest.raises(NotSupported):
        bench.cpi.update_disk(disk, 3000, {"type": "io1", "iops": 300, "encrypted": True})


@pytest.mark.parametrize(
    ("kind", "path"), [("t3.small", "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{vol}"), ("t2.small", "/dev/xvdf")])
def test_where_guests_find_disks(bench: Bench, kind: str, path: str) -> None:
    """6.4: on Nitro the guest does not see the name that was asked for."""
    vm, disk = made(bench, instance_type=kind), bench.disk()
    assert bench.cpi.attach_disk(vm.cid, disk).path == path.format(vol=disk.replace("-", ""))


# Stemcells

def root_img(folder: Path, size: int) -> Path:
    """A stemcell's `image` as BOSH packs it."""
    path = folder / "image"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("root.img")
        member.size = size
        archive.addfile(member, io.BytesIO(b"\0" * size))
    return path


HEAVY = {
    "name": "bosh-aws-xen-hvm-ubuntu-jammy-go_agent", "version": "1.500", "architecture": "x86_64", "root_device_name": "/dev/sda1",
    "disk": 5120,
}


def test_a_heavy_stemcell(aws: AwsStandIn, sdk: Any, bench: Bench, tmp_path: Path) -> None:
    told: list[str] = []
    cpi = AwsCpi(aws.config, progress=told.append)
    token, image = bench.token(), root_img(tmp_path, 12 * 2**20)
    cid = cpi.create_stemcell(str(image), HEAVY, token)
    assert cpi.create_stemcell(str(image), HEAVY, token) == cid
    (found,) = sdk("ec2").describe_images(ImageIds=[cid])["Images"]
    assert (found["RootDeviceName"], found["Architecture"], tags(found)["version"]) == ("/dev/sda1", "x86_64", "1.500")
    snapshot = found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert tags(sdk("ec2").describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0])["caisson-token"] == token
    assert [(item.kind, item.cid) for item in cpi.find(token)] == [("stemcell", cid)]
    assert any("100 %" in line for line in told)
    assert any("importing" in line for line in told)
    assert not sdk("s3").list_objects_v2(Bucket=BUCKET).get("Contents"), "the upload is still in the bucket"
    assert cpi.has_vm(cpi.create_vm(bench.request(0, stemcell_cid=cid)).cid)
    with pytest.raises(Conflict):
        cpi.create_stemcell(str(image), {**HEAVY, "version": "2"}, token)
    for _ in range(2):
        cpi.delete_stemcell(cid)
    assert not cpi.find(token)
    cpi.close()


@pytest.mark.parametrize("action", ["ImportSnapshot", "DescribeImportSnapshotTasks", "RegisterImage", "CreateTags"])
def test_a_stemcell_that_fails_leaves_no_image(aws: AwsStandIn, sdk: Any, bench: Bench, tmp_path: Path, action: str) -> None:
    """Row 28: no half image, and a repeated call starts clean."""
    token, image = bench.token(), root_img(tmp_path, 2**20)
    aws.script({"action": action, "code": "UnauthorizedOperation", "message": "not you", "status": 403, "times": 100})
    with pytest.raises(CpiError, match="not you"):
        bench.cpi.create_stemcell(str(image), HEAVY, token)
    assert not sdk("s3").list_objects_v2(Bucket=BUCKET).get("Contents")
    aws.script()
    time = [0.0]
    quick = AwsCpi(aws.config, clock=lambda: time[0], sleep=lambda seconds: time.append(time.pop() + seconds))
    cid = quick.create_stemcell(str(image), HEAVY, token)
    quick.close()
    assert [item.cid for item in bench.cpi.find(token)] == [cid]
    bench.cpi.delete_stemcell(cid)


def test_an_upload_that_breaks_off(aws: AwsStandIn, sdk: Any, bench: Bench, tmp_path: Path) -> None:
    """Row 28: parts of a broken upload do not stay, and cost nothing."""
    image = tmp_path / "raw"
    image.write_bytes(b"\0" * 12 * 2**20)
    token = bench.token()
    aws.script({"action": f"/{BUCKET}/caisson/{token}.raw", "body": "broken", "status": 403, "nth": 3, "times": 1})
    with pytest.raises(CpiError):
        bench.cpi.create_stemcell(str(image), HEAVY, token)
    assert not sdk("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    aws.script()
    bench.cpi.delete_stemcell(bench.cpi.create_stemcell(str(image), HEAVY, token))


def test_an_encrypted_light_stemcell_is_a_copy(aws: AwsStandIn, sdk: Any, bench: Bench) -> None:
    token = bench.token()
    cid = bench.cpi.create_stemcell("", {**bench.site.stemcell_properties, "encrypted": True}, token)
    assert cid.startswith("ami-")
    assert cid != aws.seeds["ami"]
    assert bench.cpi.create_stemcell("", {**bench.site.stemcell_properties, "encrypted": True}, token) == cid
    bench.cpi.delete_stemcell(cid)


@pytest.mark.parametrize(
    ("properties", "error", "word"),
    [({"ami": {"eu-west-1": "ami-0123456789abcdef0"}}, Invalid, "eu-west-1"),
     ({"ami": {REGION: "ami-0123456789abcdef0"}}, NotFound, "ami-"), ({}, Invalid, "ami"), ({"amy": {}}, Invalid, "ami")],
)
def test_stemcells_that_are_none(bench: Bench, properties: dict[str, Any], error: type[CpiError], word: str) -> None:
    with pytest.raises(error) as caught:
        bench.cpi.create_stemcell("", properties, bench.token())
    assert word in f"{caught.value} {caught.value.suggestion}"


def test_a_heavy_stemcell_needs_a_bucket(aws: AwsStandIn, tmp_path: Path) -> None:
    cpi = AwsCpi({key: value for key, value in aws.config.items() if key != "stemcell_bucket"})
    with pytest.raises(Invalid, match="stemcell_bucket"):
        cpi.create_stemcell(str(root_img(tmp_path, 1024)), HEAVY, "stemcell-1")
    cpi.close()
    other = AwsCpi({**aws.config, "stemcell_bucket": "nobodys"})
    with pytest.raises(NotFound):
        other.create_stemcell(str(root_img(tmp_path, 6 * 2**20)), HEAVY, "stemcell-1")
    other.close()


# Checks

def uses(aws: AwsStandIn) -> Uses:
    return Uses(
        {"z1": {"availability_zone": f"{REGION}a"}}, {"default/10.244.16.0/24": {"subnet": aws.seeds["subnets"]["a"]}},
        {"small": {"instance_type": "t3.small"}}, {}, (f"{aws.seeds['ami']} light",))


def test_checks_of_an_account_that_has_all(aws: AwsStandIn, bench: Bench) -> None:
    vm, disk = bench.vm(0), bench.disk()
    bench.cpi.snapshot_disk(disk, {}, bench.token())
    assert isinstance(bench.cpi, AwsCpi)
    found = list(bench.cpi.checks(uses(aws)))
    assert not [check for check in found if check.ok is False]
    assert [check.name for check in found if check.ok is None] == ["ec2:DeregisterImage"]
    assert {"ec2:RunInstances", "ec2:TerminateInstances", "ec2:DeleteSnapshot"} <= {check.name for check in found}
    assert bench.cpi.has_vm(vm.cid), "a check has done what it asked about"
    assert bench.cpi.has_disk(disk)


def test_checks_name_what_is_missing(aws: AwsStandIn, bench: Bench) -> None:
    aws.settings(denied=["RunInstances", "DescribeVolumes"], vcpus=1.0)
    assert isinstance(bench.cpi, AwsCpi)
    wrong = Uses(
        {"z9": {"availability_zone": "us-east-1z"}}, {"n": {"subnet": "subnet-0123456789abcdef0"}}, {"x": {"instance_type": "t9.x"}}, {},
        ("ami-0123456789abcdef0 light",))
    failed = {check.name: check for check in [*bench.cpi.checks(uses(aws)), *bench.cpi.checks(wrong)] if check.ok is False}
    expected = {"ec2:RunInstances", "ec2:DescribeVolumes", "az z9", "network n", "vm_type x", "stemcell ami-0123456789abcdef0 light"}
    assert expected <= set(failed)
    assert "docs/clouds/aws.md" in failed["ec2:RunInstances"].suggestion
    aws.settings(denied=[])


@pytest.mark.parametrize(
    ("changes", "kind"), [({"access_key_id": "AKIANOBODY"}, "authenticate"), ({"sts_endpoint": "http://127.0.0.1:9"}, "reach")])
def test_checks_end_at_the_door(aws: AwsStandIn, changes: dict[str, str], kind: str) -> None:
    cpi = AwsCpi({**aws.config, **changes}, sleep=lambda seconds: None)
    *_, last = cpi.checks(uses(aws))
    assert (last.kind, last.ok) == (kind, False)
    cpi.close()


def test_nothing_listens_any_more(aws: AwsStandIn) -> None:
    cpi = AwsCpi(aws.config)
    cpi.has_vm("i-0123456789abcdef0")
    cpi.close()
    assert cpi.has_vm("i-0123456789abcdef0") is False, "a closed CPI can be used again"
    cpi.close()
