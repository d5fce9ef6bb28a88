"""`caisson portability --run`: one deployment here and on what stands in for clouds, with the same outcome."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import CAISSON, ROOT, traces

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MANIFEST = """
name: greeter
releases: [{name: greeter, version: latest}]
stemcells: [{alias: default, os: debian-bookworm, version: latest}]
update: {canaries: 2, max_in_flight: 2, canary_watch_time: 500-20000, update_watch_time: 500-20000}
instance_groups:
- name: web
  instances: 2
  azs: [z1, z2]
  jobs: [{name: greeter, release: greeter, properties: {greeting: Hello}}]
  vm_type: small
  vm_extensions: [front]
  persistent_disk_type: small
  stemcell: default
  networks: [{name: front, default: [dns, gateway]}, {name: back}]
"""
# What differs from cloud to cloud: zones, sizes, what the extension says, subnets; ranges that no stand-in is born with.
CLOUD = """
azs: [{{name: z1, cloud_properties: {z1}}}, {{name: z2, cloud_properties: {z2}}}]
vm_types: [{{name: small, cloud_properties: {small}}}]
vm_extensions: [{{name: front, cloud_properties: {extension}}}]
disk_types: [{{name: small, disk_size: {disk}}}]
networks:
- name: front
  subnets:
  - {{range: 10.{net}.0.0/25, gateway: 10.{net}.0.1, azs: [z1], reserved: [10.{net}.0.2-10.{net}.0.9], cloud_properties: {front1}}}
  - {{range: 10.{net}.1.0/25, gateway: 10.{net}.1.1, azs: [z2], reserved: [10.{net}.1.2-10.{net}.1.9], cloud_properties: {front2}}}
- name: back
  subnets:
  - {{range: 10.{net}.2.0/25, gateway: 10.{net}.2.1, azs: [z1], reserved: [10.{net}.2.2-10.{net}.2.9], cloud_properties: {back1}}}
  - {{range: 10.{net}.3.0/25, gateway: 10.{net}.3.1, azs: [z2], reserved: [10.{net}.3.2-10.{net}.3.9], cloud_properties: {back2}}}
compilation: {{workers: 1, az: z1, vm_type: small, network: front}}
"""
CLOUDS = {
    "local": {
        "net": "71", "z1": "{}", "z2": "{}", "small": "{memory: 256}", "extension": "{privileged: true}", "disk": "256",
        "front1": "{}", "front2": "{}", "back1": "{}", "back2": "{}"},
    "gcp": {
        "net": "72", "z1": "{zone: asia-east1-a}", "z2": "{zone: asia-east1-b}", "small": "{machine_type: n4-highcpu-2}", "disk": "10240",
        "extension": "{target_pool: greeters, backend_service: {name: greeters, scheme: INTERNAL}, tags: [front]}",
        "front1": "{network_name: app, subnetwork_name: front-1}", "front2": "{network_name: app, subnetwork_name: front-2}",
        "back1": "{network_name: data, subnetwork_name: back-1}", "back2": "{network_name: data, subnetwork_name: back-2}"},
    "aws": {
        "net": "73", "z1": "{availability_zone: sa-east-1a}", "z2": "{availability_zone: sa-east-1b}", "small": "{instance_type: t3.micro}",
        "extension": "{lb_target_groups: [greeters], security_groups: [sg-0a0a0a0a0a0a0a0a0, front]}", "disk": "1024",
        "front1": "{subnet: subnet-0aaaaaaaaaaaaaaa1}", "front2": "{subnet: subnet-0aaaaaaaaaaaaaaa2}",
        "back1": "{subnet: subnet-0bbbbbbbbbbbbbbb1}", "back2": "{subnet: subnet-0bbbbbbbbbbbbbbb2}"},
}


def command(folder: Path, *clouds: str) -> list[str]:
    (folder / "app.yml").write_text(MANIFEST)
    release = folder / "release"
    if not release.exists():
        shutil.copytree(ROOT / "docs/examples/greeter/release", release)
    for name in clouds:
        (folder / f"{name}.yml").write_text(CLOUD.format(**CLOUDS[name]))
    configs = [word for name in clouds for word in ("--cloud-config", str(folder / f"{name}.yml"))]
    return [CAISSON, "portability", str(folder / "app.yml"), *configs, "--run", "--release", str(release)]


def nothing_left(folder: Path) -> None:
    assert not list(folder.glob("caisson-rehearsal-*"))
    assert traces([str(folder / "caisson-rehearsal-")]) == []


def test_the_same_comes_out_here_and_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [*command(tmp_path, *CLOUDS), "--json"], capture_output=True, text=True, timeout=800, check=False, cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    printed = json.loads(done.stdout)
    rows = next(table["Rows"] for table in printed["Tables"] if table["Content"] == "rehearsal")
    assert rows == [
        {"what": "web", "where": zone, "came_out": "running: greeter", "local": "1", "gcp": "1", "aws": "1"} for zone in ("z1", "z2")]
    assert "The same came out on local, gcp, aws\n" in printed["Blocks"]
    (gcp,) = [text for text in printed["Blocks"] if text.startswith("gcp: deployed")]
    assert "2 instances" in gcp
    assert "4 members" in gcp  # each machine in the target pool, and in the instance group of the backend service
    nothing_left(tmp_path)


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """What a script runs in the background ignores Ctrl-C, and so does all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path, "gcp"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)}, start_new_session=True,
    ) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if "Creating missing vms" in line or "creating" in line.lower():
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of it
                break
        began = time.monotonic()
        rest = process.stdout.read()
    assert process.returncode != 0, told
    assert time.monotonic() - began < 120
    assert "ending: machines and networks are removed" in rest, "".join(told) + rest
    nothing_left(tmp_path)
