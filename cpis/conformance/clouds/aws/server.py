"""The stand-in as a process.

Serves EC2, S3, ELB, STS and IAM on a free port of 127.0.0.1, prints one line of JSON with the port and what it seeded, and ends when its
standard input closes, so that it never outlives the one who started it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import warnings
from typing import Any

from cpis.conformance.clouds.aws.account import ACCOUNT, BUCKET, KEY, REGION, SECRET, SUBNETS, VIP


def main(latency: float) -> None:
    """Serve until standard input ends."""
    # Read by moto when it is imported. Unknown images and sizes are refused, as the service does; its 1300 images take seconds to load.
    os.environ.update(
        MOTO_EC2_LOAD_DEFAULT_AMIS="false", MOTO_ENABLE_AMI_VALIDATION="true", MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
    )
    warnings.simplefilter("ignore")
    moto_server = importlib.import_module("moto.server")
    backends = importlib.import_module("moto.backends")
    serving = importlib.import_module("werkzeug.serving")
    from cpis.conformance.clouds.aws.parameters import Parameters
    from cpis.conformance.clouds.aws.rules import World
    from cpis.conformance.clouds.aws.service import Service
    from cpis.conformance.clouds.aws.signatures import Checker

    def backend(name: str, region: str = REGION) -> Any:
        return backends.get_backend(name)[ACCOUNT][region]

    seeds = _seed(backend)
    checker = Checker({KEY: SECRET}, {}, time.time)
    application = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
    service = Service(application, World(backend("ec2"), backend("s3", "aws"), backend("elb")), checker, Parameters(), latency)
    quiet = type("Quiet", (serving.WSGIRequestHandler,), {"log_request": lambda self, *rest: None, "protocol_version": "HTTP/1.1"})
    server = serving.make_server("127.0.0.1", 0, service, threaded=True, request_handler=quiet)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port, **seeds}), flush=True)
    sys.stdin.read()


def _seed(backend: Any) -> dict[str, Any]:
    """What a prepared account has: a VPC with a subnet per zone, a group, an image, a profile, a bucket, an address, a target group."""
    ec2 = backend("ec2")
    vpc = ec2.create_vpc("10.244.0.0/16")
    subnets = {
        name: ec2.create_subnet(vpc.id, f"10.244.{number}.0/24", availability_zone=f"{REGION}{'a' if name == 'd' else name}").id
        for name, number in SUBNETS.items()
    }
    group = ec2.create_security_group("caisson", "machines", vpc.id)
    volume = ec2.create_volume(size=8, zone_name=f"{REGION}a")
    snapshot = ec2.create_snapshot(volume.id, "Debian 12")
    ec2.delete_volume(volume.id)
    image = ec2.register_image("debian-12-amd64", "Debian 12")
    ec2.snapshots.pop(image.ebs_snapshot.id)
    image.ebs_snapshot, image.root_device_name, image.architecture = snapshot, "/dev/xvda", "x86_64"
    image.virtualization_type = "hvm"
    ec2.create_key_pair("caisson", "ed25519", {})
    iam = backend("iam", "aws")
    iam.create_instance_profile("caisson-vm", "/", [])
    backend("s3", "aws").create_bucket(BUCKET, REGION)
    ec2.allocate_address("vpc", VIP)
    table = next(table for table in ec2.route_tables.values() if table.vpc_id == vpc.id)
    target = backend("elbv2").create_target_group(
        "caisson-web", protocol="HTTP", port="80", vpc_id=vpc.id, healthcheck_protocol="HTTP", healthcheck_port="80", healthcheck_path="/",
        healthcheck_interval_seconds="5", healthcheck_timeout_seconds="2", healthy_threshold_count="5", unhealthy_threshold_count="2",
        target_type="instance", tags=[],
    )
    backend("elb").create_load_balancer("caisson-classic", [f"{REGION}a"], [
        {"Protocol": "tcp", "LoadBalancerPort": "80", "InstancePort": "80"}], subnets=[next(iter(subnets.values()))])
    return {
        "vpc": vpc.id, "subnets": subnets, "security_group": group.id, "ami": image.id, "key_name": "caisson", "route_table": table.id,
        "target_group": target.arn, "addresses": [VIP],
    }
