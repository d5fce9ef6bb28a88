"""A deployment through each cloud's CPI on its stand-in: the calls are the cloud's, the machines' bodies are of this computer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import ROOT
from local_left import left
from worksite import HERE, Site

from cpis import registry
from cpis.conformance.__main__ import CLOUDS, standing_in
from cpis.conformance.standin import Skipped, StandIn

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CPI = "elsewhere"
# What bodies are made of, whatever the cloud calls its types.
BODY = {"memory": 256, "cpus": 1}


# OpenStack's real services take minutes to start: `make test-openstack`.
_MARKS = {"openstack": pytest.mark.openstack}


@pytest.fixture(params=[pytest.param(name, marks=_MARKS.get(name, ())) for name in CLOUDS if name != "local"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn]:
    try:
        with standing_in(request.param, tmp_path / "cloud") as stand_in:
            yield stand_in
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.fixture
def site(make_site: Any, cloud: StandIn) -> Iterator[Site]:
    """A director whose machines are in that cloud."""
    site: Site = make_site()
    site.director.start()
    known = cloud.site()
    properties = {"cloud": cloud.cpi_type, "properties": dict(cloud.config), "body": BODY, "image_path": known.image_path}
    cpis = {"cpis": [{"name": CPI, "type": "played", "properties": properties}]}
    site.director.run("update-cpi-config", str(site.write("cpi.yml", yaml.safe_dump(cpis))))
    site.director.run("update-cloud-config", str(site.write("cloud.yml", yaml.safe_dump(cloud_config(cloud)))))
    site.director.run("upload-stemcell", str(site.write("stemcell.yml", stemcell(cloud))))
    site.upload(HERE / "releases/probe")
    site.upload(ROOT / "releases/bosh-dns")
    version = next(row["version"] for row in site.director.rows("releases") if row["name"] == "bosh-dns").rstrip("*")
    site.director.run("update-runtime-config", str(HERE / "data/runtime.yml"), "-v", f"bosh_dns_version={version}")
    try:
        yield site
    finally:
        bodies = site.director.state / "cpis" / CPI / "local"
        site.director.run("director", "stop", check=False)
        subprocess.run([sys.executable, "-m", "cpis.local.clean", str(bodies)], check=True, cwd=ROOT, timeout=300)
        assert not left(bodies)


def cloud_config(cloud: StandIn) -> dict[str, Any]:
    """The stand-in's own, with all zones on its CPI."""
    tree: dict[str, Any] = yaml.safe_load(cloud.cloud_config())
    return {**tree, "azs": [{**zone, "cpi": CPI} for zone in tree["azs"]]}


def stemcell(cloud: StandIn) -> str:
    """A light stemcell for the cloud and for the bodies."""
    formats = registry.load(cloud.cpi_type, cloud.config).info().stemcell_formats
    return yaml.safe_dump({
        "name": "played", "version": "1", "operating_system": "debian-bookworm", "api_version": 3, "bosh_protocol": "1",
        "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "stemcell_formats": [formats[0]],
        "cloud_properties": {**cloud.site().stemcell_properties, "recipe": "debian-12"},
    })


def manifest(site: Site, cloud: StandIn) -> str:
    tree = cloud_config(cloud)
    network = tree["networks"][0]
    words = {"AZ": tree["azs"][0]["name"], "VM_TYPE": tree["vm_types"][0]["name"], "DISK_TYPE": tree["disk_types"][0]["name"],
             "NETWORK": network["name"], "REPORT": f"{network['subnets'][0]['gateway']}:{site.listener.port}"}
    text = (HERE / "data/played.yml").read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def test_a_deployment_lives_and_dies(cloud: StandIn, site: Site) -> None:
    born_with = set(cloud.resources())
    director = site.director
    site.deploy("played", manifest(site, cloud), timeout=600)
    instances = director.instances("played")
    assert [row["process_state"] for row in instances] == ["running"] * 2, instances
    addresses = sorted(row["ips"] for row in instances)
    name = f"q-s0.probe.{network_of(cloud)}.played.bosh"
    asked = director.ssh("played", "probe/0", f"getent ahostsv4 {name} | awk '{{print $1}}' | sort -u")
    assert sorted(asked.split()) == addresses
    made = sorted(set(cloud.resources()) - born_with)
    assert len(made) >= 4, f"not two machines and two disks: {made}"

    director.ssh("played", "probe/0", "sudo sh -c 'echo kept > /var/vcap/store/proof'")
    before = {row["instance"]: row["vm_cid"] for row in director.rows("-d", "played", "vms")}
    first = director.ssh("played", "probe/0", "hostname")
    director.run("-d", "played", "recreate", "probe/0", timeout=300)
    after = {row["instance"]: row["vm_cid"] for row in director.rows("-d", "played", "vms")}
    assert sum(before[name] != after[name] for name in before) == 1
    assert director.ssh("played", "probe/0", "hostname") != first
    assert director.ssh("played", "probe/0", "cat /var/vcap/store/proof") == "kept"

    director.run("-d", "played", "delete-deployment", timeout=300)
    director.run("clean-up", "--all", timeout=300)
    assert not director.rows("stemcells")
    assert set(cloud.resources()) <= born_with


def network_of(cloud: StandIn) -> str:
    return str(cloud_config(cloud)["networks"][0]["name"])
