"""AWS on this computer: moto behind what makes it behave like the service, as a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cpis.conformance.bench import OtherZone, Site
from cpis.conformance.clouds.aws.account import BUCKET, KEY, REGION, SECRET, SUBNETS, VIP
from cpis.conformance.clouds.aws.furnish import furnish
from cpis.conformance.furnish import Furnished, Wanted
from cpis.conformance.standin import Skipped
from cpis.contract import Cpi, Invalid, Login, Network
from cpis.registry import load

_LOGIN = Login(
    "caisson", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH0mNlYLbyoPg0iVLRSBwOPIr9bHn5R0L9XW8nxKCdEP",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPMPKgGcJ1aLVFNpFVKqN0CcUvJ0nGXfGmtVZxYHFHq5",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nnobody boots this\n-----END OPENSSH PRIVATE KEY-----\n",
)
# Not `-m`, which would warn that this package is imported before its module runs.
_MAIN = "import sys; from cpis.conformance.clouds.aws.server import main; main(float(sys.argv[1]))"
_CLOUD_CONFIG = """\
azs:
- name: z1
  cloud_properties: {{availability_zone: {region}a}}
- name: z2
  cloud_properties: {{availability_zone: {region}b}}
- name: z3
  cloud_properties: {{availability_zone: {region}c}}
vm_types:
- name: small
  cloud_properties: {{instance_type: t3.small}}
- name: medium
  cloud_properties: {{instance_type: t3.medium}}
- name: compilation
  cloud_properties: {{instance_type: c5.large}}
vm_extensions:
- name: privileged
disk_types:
- name: small
  disk_size: 1024
- name: medium
  disk_size: 4096
networks:
- name: default
  type: manual
  subnets:
  - range: 10.244.16.0/24
    gateway: 10.244.16.1
    azs: [z1]
    reserved: [10.244.16.2-10.244.16.9]
    static: [10.244.16.10-10.244.16.59]
    cloud_properties: {{subnet: {subnets[a]}}}
  - range: 10.244.17.0/24
    gateway: 10.244.17.1
    azs: [z2]
    reserved: [10.244.17.2-10.244.17.9]
    static: [10.244.17.10-10.244.17.59]
    cloud_properties: {{subnet: {subnets[b]}}}
  - range: 10.244.18.0/24
    gateway: 10.244.18.1
    azs: [z3]
    reserved: [10.244.18.2-10.244.18.9]
    static: [10.244.18.10-10.244.18.59]
    cloud_properties: {{subnet: {subnets[c]}}}
compilation:
  workers: 2
  az: z1
  vm_type: compilation
  network: default
  reuse_compilation_vms: true
"""


class AwsStandIn:
    """Implements `cpis.conformance.standin.StandIn`. `seeds` are the ids of what the account has: see `server`."""

    name = "aws"
    cpi_type = "aws"

    def __init__(self, process: subprocess.Popen[str], seeds: Mapping[str, Any]) -> None:
        self._process = process
        self.seeds = seeds
        self.endpoint = f"http://127.0.0.1:{seeds['port']}"
        self._born = set(self.resources())

    @property
    def config(self) -> Mapping[str, Any]:
        return self.config_for(self.endpoint)

    def config_for(self, url: str) -> Mapping[str, Any]:
        return {
            "access_key_id": KEY, "secret_access_key": SECRET, "region": REGION, "ec2_endpoint": url, "elb_endpoint": url,
            "s3_endpoint": url, "sts_endpoint": url, "servicequotas_endpoint": url,
            "stemcell_bucket": BUCKET, "default_security_groups": [self.seeds["security_group"]],
            "poll_interval": 0.02, "director": "conformance", "request_rates": {family: [500, 500] for family in ("read", "mutate", "run")},
        }

    def site(self) -> Site:
        here, there = f"{REGION}a", f"{REGION}b"
        place = {"availability_zone": here}
        return Site(
            networks=lambda number: (self._network("a", number),), login=_LOGIN, vm_properties={"instance_type": "t3.small", **place},
            stemcell_properties={"ami": {REGION: self.seeds["ami"]}}, place=place, disk_properties=place,
            dynamic=lambda number: (dataclasses.replace(self._network("a", number), type="dynamic", ip="", gateway=""),),
            several=lambda number: (self._network("d", number, "inner", ()), self._network("a", number)),
            vip=lambda number: (self._network("a", number), Network("floating", "vip", VIP)),
            other_zone=OtherZone(
                here, there, {"instance_type": "t3.small", "availability_zone": there}, lambda number: (self._network("b", number),)),
            user_data_limit=16 * 1024, again=lambda: load("aws", self.config), unreachable=self._unreachable,
        )

    def _network(self, subnet: str, number: int, name: str = "default", default: tuple[str, ...] = ("dns", "gateway")) -> Network:
        base = f"10.244.{SUBNETS[subnet]}"
        properties = {"subnet": self.seeds["subnets"][subnet]}
        return Network(name, "manual", f"{base}.{10 + number}", 24, f"{base}.1", ("10.244.0.2",), default, properties)

    def _unreachable(self) -> Cpi:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return load("aws", self.config_for(f"http://127.0.0.1:{free.getsockname()[1]}"))

    def cloud_config(self) -> str:
        return _CLOUD_CONFIG.format(region=REGION, subnets=self.seeds["subnets"])

    def furnish(self, wanted: Wanted) -> Furnished:
        return furnish(self, wanted)

    def prepare(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Have what `seeds.wanted` tells. Raises Invalid with moto's words when it takes something not."""
        try:
            made: dict[str, Any] = self._control("furnish", plan)
        except urllib.error.HTTPError as error:
            raise Invalid(f"the stand-in of AWS does not take the cloud config: {error.read().decode()[:300]}") from error
        return made

    def resources(self) -> Sequence[tuple[str, str]]:
        found = [(kind, cid) for kind, cids in self._control("state").items() for cid in cids]
        return [item for item in found if item not in getattr(self, "_born", ())]

    def requests(self) -> Sequence[tuple[str, str]]:
        return [(method, action) for method, action in self._control("requests")]

    def forget_requests(self) -> None:
        self._control("requests", method="DELETE")

    def script(self, *scripts: Mapping[str, Any]) -> None:
        """What goes wrong from now on (see `service.Script`); nothing ends all of it."""
        self._control("scripts", scripts)

    def settings(self, **settings: object) -> None:
        """`page` items at most in a list, `pending` and `invisible` looks at each new machine, `denied` actions, `vcpus` of the quota."""
        self._control("settings", settings)

    def _control(self, what: str, document: object = None, method: str = "") -> Any:
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.endpoint}/stand-in/{what}", data, method=method or None)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> AwsStandIn:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()


def start(workdir: Path, *, latency: float = 0.0) -> AwsStandIn:
    """A new, empty account. `latency` are seconds that each request takes more. Raises Skipped when moto is not installed."""
    for package in ("moto", "werkzeug"):
        if importlib.util.find_spec(package) is None:
            raise Skipped(f"the package {package} is not installed: pip install 'moto[server]'")
    root = Path(__file__).resolve().parents[4]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOTO_"))}
    environment["PYTHONPATH"] = str(root)
    workdir.mkdir(parents=True, exist_ok=True)
    with _log(workdir / "aws.log") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(latency)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log, text=True, env=environment, cwd=workdir, start_new_session=True,
        )
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        process.kill()
        process.wait(5)
        raise RuntimeError(f"the stand-in of AWS did not start: {(workdir / 'aws.log').read_text()[-2000:]}")
    return AwsStandIn(process, json.loads(line))


@contextlib.contextmanager
def _log(path: Path) -> Iterator[IO[str]]:
    with path.open("a") as file:
        yield file
