"""What an account has before a director uses it, put into moto's stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from cpis.conformance.clouds.aws.account import BUCKET, REGION, SUBNETS, VIP

Backend = Callable[[str, str], Any]


def first(backend: Backend) -> dict[str, Any]:
    """What a prepared account has: a VPC with a subnet per zone, a group, an image, a profile, a bucket, an address, a target group."""
    ec2 = backend("ec2", REGION)
    vpc = ec2.create_vpc("10.244.0.0/16")
    subnets = {
        name: ec2.create_subnet(vpc.id, f"10.244.{number}.0/24", availability_zone=f"{REGION}{'a' if name == 'd' else name}").id
        for name, number in SUBNETS.items()
    }
    ec2.create_key_pair("caisson", "ed25519", {})
    backend("iam", "aws").create_instance_profile("caisson-vm", "/", [])
    backend("s3", "aws").create_bucket(BUCKET, REGION)
    ec2.allocate_address("vpc", VIP)
    table = next(table for table in ec2.route_tables.values() if table.vpc_id == vpc.id)
    _balancers(backend("elb", REGION), REGION, ["caisson-classic"], next(iter(subnets.values())))
    return {
        "vpc": vpc.id, "subnets": subnets, "security_group": ec2.create_security_group("caisson", "machines", vpc.id).id,
        "ami": _image(ec2), "key_name": "caisson", "route_table": table.id, "addresses": [VIP],
        "target_group": _target_group(backend("elbv2", REGION), "caisson-web", vpc.id),
    }


def wanted(backend: Backend, plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a cloud config names, in a region of its own: `{region, subnets: [{id, range, zone}], security_groups, target_groups, balancers,
    profiles, keys, addresses}`, ids and names as the cloud config has them."""
    region = str(plan["region"])
    ec2 = backend("ec2", region)
    vpc = _vpc(ec2, [subnet["range"] for subnet in plan["subnets"]])
    for subnet in plan["subnets"]:
        made = ec2.create_subnet(vpc.id, subnet["range"], availability_zone=subnet["zone"])
        known = ec2.subnets[subnet["zone"]]
        known[subnet["id"]] = known.pop(made.id)
        made.id = subnet["id"]
    for name in plan["security_groups"]:
        group = ec2.create_security_group(name, "of a cloud config", vpc.id)
        if name.startswith("sg-"):
            ec2.groups[vpc.id][name] = ec2.groups[vpc.id].pop(group.id)
            group.id = group.group_id = name
    for name in plan["keys"]:
        ec2.create_key_pair(name, "ed25519", {})
    iam = backend("iam", "aws")
    for name in set(plan["profiles"]) - {profile.name for profile in iam.get_instance_profiles()}:
        iam.create_instance_profile(name, "/", [])
    for address in plan["addresses"]:
        ec2.allocate_address("vpc", address)
    for name in plan["target_groups"]:
        _target_group(backend("elbv2", region), name, vpc.id)
    if plan["balancers"]:
        _balancers(backend("elb", region), region, plan["balancers"], plan["subnets"][0]["id"])
    return {"security_group": ec2.create_security_group("caisson-default", "machines", vpc.id).id, "ami": _image(ec2)}


def _vpc(ec2: Any, ranges: Iterable[str]) -> Any:
    """One VPC that has all these ranges, none of which is larger than a VPC may be (/16)."""
    blocks = list(dict.fromkeys(str(network if network.prefixlen <= 16 else network.supernet(new_prefix=16)) for network in map(
        IPv4Network, ranges)))
    vpc = ec2.create_vpc(blocks[0] if blocks else "10.0.0.0/16")
    for block in blocks[1:]:
        ec2.associate_vpc_cidr_block(vpc.id, block, False)
    return vpc


def _image(ec2: Any) -> str:
    volume = ec2.create_volume(size=8, zone_name=f"{ec2.region_name}a")
    snapshot = ec2.create_snapshot(volume.id, "Debian 12")
    ec2.delete_volume(volume.id)
    image = ec2.register_image("debian-12-amd64", "Debian 12")
    ec2.snapshots.pop(image.ebs_snapshot.id)
    image.ebs_snapshot, image.root_device_name, image.architecture = snapshot, "/dev/xvda", "x86_64"
    image.virtualization_type = "hvm"
    return str(image.id)


def _target_group(elb: Any, name: str, vpc: str) -> str:
    return str(elb.create_target_group(
        name, protocol="HTTP", port="80", vpc_id=vpc, healthcheck_protocol="HTTP", healthcheck_port="80", healthcheck_path="/",
        healthcheck_interval_seconds="5", healthcheck_timeout_seconds="2", healthy_threshold_count="5", unhealthy_threshold_count="2",
        target_type="instance", tags=[],
    ).arn)


def _balancers(elb: Any, region: str, names: Sequence[str], subnet: str) -> None:
    listener = {"Protocol": "tcp", "LoadBalancerPort": "80", "InstancePort": "80"}
    for name in names:
        elb.create_load_balancer(name, [f"{region}a"], [listener], subnets=[subnet])
