"""What operators are given works: the cloud config, the stemcell, and every key of the reference in the schema."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from cpis.cloud.schema import Schema
from cpis.contract import Invalid

ROOT = Path(__file__).parents[3]


def _yaml(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / path).read_text()))


CONFIG = _yaml("manifests/cloud-configs/openstack.yml")

# Source: CPI contract, section 9.1.
KEYS = {
    "az": "availability_zone",
    "network": "net_id security_groups",
    "vm_type": "instance_type availability_zone availability_zones security_groups key_name scheduler_hints root_disk boot_from_volume "
               "loadbalancer_pools allowed_address_pairs",
    "disk_type": "type",
    "stemcell": "image_id name version infrastructure hypervisor disk disk_format container_format os_type os_distro architecture "
                "auto_disk_config",
    "cpi": "auth_url username api_key application_credential_id application_credential_secret tenant project project_id domain "
           "user_domain_name project_domain_name region endpoint_type state_timeout wait_resource_poll_interval boot_from_volume "
           "stemcell_public_visibility connection_options default_key_name default_security_groups default_volume_type config_drive "
           "use_dhcp ignore_server_availability_zone human_readable_vm_names use_nova_networking",
}


@pytest.mark.parametrize("section", KEYS)
def test_all_keys_of_the_reference_are_known(section: str) -> None:
    schema = Schema.of("openstack")
    known = {key.name for key in schema.sections[section]}
    if section == "vm_type":
        known |= {key.name for key in schema.sections["az"]}
    assert set(KEYS[section].split()) <= known


def test_secrets_of_the_schema() -> None:
    secrets = {key.name for key in Schema.of("openstack").sections["cpi"] if key.secret}
    assert secrets == {"api_key", "password", "application_credential_secret"}


def test_names_are_those_of_the_local_cloud_config() -> None:
    local = _yaml("manifests/cloud-configs/local.yml")
    for part in ("azs", "vm_types", "vm_extensions", "disk_types", "networks"):
        ours, theirs = ({item["name"] for item in config[part]} for config in (CONFIG, local))
        assert theirs <= ours, part


@pytest.mark.parametrize(("part", "section"), [("azs", "az"), ("vm_types", "vm_type"), ("disk_types", "disk_type")])
def test_the_cloud_config_is_right(part: str, section: str) -> None:
    for item in CONFIG[part]:
        Schema.of("openstack").check(section, item.get("cloud_properties") or {})


@pytest.mark.parametrize("extension", [item["name"] for item in CONFIG["vm_extensions"]])
def test_extensions_go_with_a_machine(extension: str) -> None:
    (added,) = [item.get("cloud_properties") or {} for item in CONFIG["vm_extensions"] if item["name"] == extension]
    Schema.of("openstack").check("vm_type", {"instance_type": "m1.small", **added})


def test_the_subnet_is_right() -> None:
    (subnet,) = CONFIG["networks"][0]["subnets"]
    Schema.of("openstack").check("network", subnet["cloud_properties"])
    whole = ip_network(subnet["range"])
    ends = [end.strip() for item in subnet["reserved"] + subnet["static"] for end in item.split("-")]
    assert all(ip_address(end) in whole for end in [*ends, subnet["gateway"], *subnet["dns"]])


def test_the_stemcell_is_right() -> None:
    Schema.of("openstack").check("stemcell", _yaml("manifests/stemcells/debian-12-openstack.yml")["cloud_properties"])


@pytest.mark.parametrize(
    ("section", "properties", "words"),
    [("vm_type", {"instance_type": 3}, "must be a string"), ("vm_type", {"instance_type": "a", "root_disk": {"sise": 1}}, "root_disk.sise"),
     ("vm_type", {"instance_type": "a", "loadbalancer_pools": [{"name": "a"}]}, r"loadbalancer_pools\[0\]\.port"),
     ("vm_type", {"instance_type": "a", "security_groups": "a"}, "must be a list"), ("network", {}, "'net_id' is missing"),
     ("disk_type", {"type": ["a"]}, "must be a string"), ("stemcell", {"disk_format": "vmdk"}, "one of raw, qcow2"),
     ("cpi", {"config_drive": "usb"}, "one of cdrom, disk")],
)
def test_wrong_properties_are_told(section: str, properties: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        Schema.of("openstack").check(section, properties)
