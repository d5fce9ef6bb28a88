"""What operators are given works: the cloud config, the stemcell, and every key of the reference in the schema."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from gcp_bench import Bench

from cpis.cloud.schema import Schema
from cpis.conformance.clouds.gcp import GcpStandIn
from cpis.contract import DiskRequest, Network
from cpis.registry import load

ROOT = Path(__file__).parents[3]


def _yaml(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / path).read_text()))


CONFIG = _yaml("manifests/cloud-configs/gcp.yml")


def test_names_are_those_of_the_local_cloud_config() -> None:
    local = _yaml("manifests/cloud-configs/local.yml")
    for part in ("azs", "vm_types", "vm_extensions", "disk_types", "networks"):
        ours, theirs = ({item["name"] for item in config[part]} for config in (CONFIG, local))
        assert theirs <= ours, part


@pytest.mark.parametrize(("part", "section"), [
    ("azs", "az"), ("vm_types", "vm_type"), ("vm_extensions", "vm_type"), ("disk_types", "disk_type")])
def test_the_cloud_config_is_right(part: str, section: str) -> None:
    for item in CONFIG[part]:
        Schema.of("gcp").check(section, item.get("cloud_properties") or {})


def test_subnets_of_the_cloud_config_are_right() -> None:
    (subnet,) = CONFIG["networks"][0]["subnets"]
    Schema.of("gcp").check("network", subnet["cloud_properties"])
    whole = ip_network(subnet["range"])
    kept = {str(whole[1]), str(whole[-2])}  # Google's own
    assert subnet["gateway"] in kept
    assert any(kept - {subnet["gateway"]} <= {part.strip() for part in item.split("-")} for item in subnet["reserved"])
    assert all(ip_address(end.strip()) in whole for item in subnet["reserved"] + subnet["static"] for end in item.split("-"))


@pytest.mark.parametrize("name", [item["name"] for item in CONFIG["vm_types"]])
def test_machines_of_the_cloud_config_are_made(bench: Bench, name: str) -> None:
    """In zones that the fake has."""
    (properties,) = [item["cloud_properties"] for item in CONFIG["vm_types"] if item["name"] == name]
    extensions = [item.get("cloud_properties") or {} for item in CONFIG["vm_extensions"]]
    image = bench.cpi.create_stemcell("", _yaml("manifests/stemcells/debian-12-gcp.yml")["cloud_properties"], "stemcell-1")
    network = Network("default", ip="10.244.16.10", cloud_properties={"network_name": "caisson", "subnetwork_name": "foundation"})
    zone = {"zone": "us-central1-a"}
    for more in ({}, *extensions):
        vm = bench.vm({"machine_type": None, **zone, **properties, **more}, networks=(network,), stemcell_cid=image)
        bench.cpi.delete_vm(vm.cid)
    for item in CONFIG["disk_types"]:
        bench.cpi.create_disk(DiskRequest(bench.token("disk"), item["disk_size"], item["cloud_properties"]))


def test_the_stand_ins_cloud_config_is_right(there: GcpStandIn) -> None:
    config = yaml.safe_load(there.cloud_config())
    for part, section in (("azs", "az"), ("vm_types", "vm_type"), ("disk_types", "disk_type")):
        for item in config[part]:
            Schema.of("gcp").check(section, item.get("cloud_properties") or {})


REFERENCE: Mapping[str, str] = {  # CPI contract, section 8.1
    "az": "zone node_group",
    "network": "network_name xpn_host_project_id subnetwork_name ephemeral_external_ip ip_forwarding tags",
    "vm_type": "machine_type cpu ram machine_series name zone root_disk_size_gb root_disk_type ephemeral_disk_type automatic_restart "
               "on_host_maintenance preemptible provisioning_model service_account service_scopes accelerators target_pool "
               "backend_service ephemeral_external_ip ip_forwarding tags labels node_group",
    "disk_type": "type zone",
    "stemcell": "image_url source_url raw_disk_sha1 name version infrastructure",
    "cpi": "project json_key default_root_disk_size_gb default_root_disk_type user_agent_prefix",
}


@pytest.mark.parametrize("section", REFERENCE)
def test_every_key_of_the_reference_is_in_the_schema(section: str) -> None:
    keys = {key.name: key for key in Schema.of("gcp").sections[section]}
    assert set(REFERENCE[section].split()) <= set(keys)
    assert all(key.description.endswith(".") for key in keys.values())


def test_the_registry_knows_it(there: GcpStandIn) -> None:
    cpi = load("gcp", there.config)
    assert cpi.name == "gcp"
    assert cpi.info().stemcell_formats == ("google-light", "google-rawdisk")
    cpi.close()
