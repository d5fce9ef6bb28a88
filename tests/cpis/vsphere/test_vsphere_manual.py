"""What operators are given works: the cloud config, the stemcell, the role."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cpis.cloud.schema import Schema
from cpis.vsphere import VsphereCpi
from cpis.vsphere.checks import PRIVILEGES
from cpis.vsphere.config import Config, machine

ROOT = Path(__file__).parents[3]
MANUAL = (ROOT / "docs/clouds/vsphere.md").read_text()


def _yaml(path: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / path).read_text()))


CONFIG = _yaml("manifests/cloud-configs/vsphere.yml")
PROPERTIES = yaml.safe_load(re.search(r"```yaml\n(cpis:.*?)```", MANUAL, re.DOTALL)[1].replace("((", "").replace("))", ""))["cpis"][0]  # type: ignore[index]


def cpi_config() -> Config:
    return Config.read({**PROPERTIES["properties"], "connection_options": {}})


def test_names_are_those_of_the_local_cloud_config() -> None:
    local = _yaml("manifests/cloud-configs/local.yml")
    for part in ("azs", "vm_types", "vm_extensions", "disk_types", "networks"):
        ours, theirs = ({item["name"] for item in config[part]} for config in (CONFIG, local))
        assert theirs <= ours, part


@pytest.mark.parametrize("az", CONFIG["azs"], ids=lambda az: az["name"])
def test_azs_are_places_of_the_cpi_config_of_the_manual(az: dict[str, Any]) -> None:
    (place,) = cpi_config().places_of(Schema.of("vsphere").check("az", az["cloud_properties"]))
    assert place.pool == "caisson"


@pytest.mark.parametrize("kind", CONFIG["vm_types"], ids=lambda kind: kind["name"])
def test_machines_are_right_in_each_az_and_with_each_extension(kind: dict[str, Any]) -> None:
    for az in CONFIG["azs"]:
        for extension in CONFIG["vm_extensions"]:
            machine({**az["cloud_properties"], **kind["cloud_properties"], **(extension.get("cloud_properties") or {})})


def test_disks_and_networks_are_right() -> None:
    for kind in CONFIG["disk_types"]:
        Schema.of("vsphere").check("disk_type", kind["cloud_properties"])
    for network in CONFIG["networks"]:
        for subnet in network["subnets"]:
            Schema.of("vsphere").check("network", subnet["cloud_properties"])


def test_the_stemcell_is_a_light_one() -> None:
    stemcell = _yaml("manifests/stemcells/debian-12-vsphere.yml")
    Schema.of("vsphere").check("stemcell", stemcell["cloud_properties"])
    formats = VsphereCpi({**PROPERTIES["properties"], "connection_options": {}}).info().stemcell_formats
    assert set(stemcell["stemcell_formats"]) <= set(formats)
    assert stemcell["cloud_properties"]["template"] in MANUAL


def test_the_role_has_the_privileges_that_the_check_asks_for() -> None:
    text = MANUAL.replace("\\\n", " ")
    commands = " ".join(re.findall(r"govc role\.create \S+ (.*?)(?=\ngovc|```)", text, re.DOTALL))
    assert set(commands.split()) - {"caisson-machines", "caisson-fields"} == {name for names in PRIVILEGES.values() for name in names}


def test_every_key_that_is_refused_is_told() -> None:
    for key in ("nsx", "nsxt", "device_groups"):
        assert f"`{key}`" in MANUAL
