"""A cloud config cut to what one deployment uses, on the CPI of a rehearsal."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from director.errors import ManifestError
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.model import Manifest
from director.manifest.parse import parse_manifest
from director.portability.adapt import adapt

CLOUD = """
azs: [{name: north, cloud_properties: {zone: eu-1}}, {name: south, cloud_properties: {zone: eu-2}}]
vm_types: [{name: medium, cloud_properties: {size: large.eu}}, {name: huge, cloud_properties: {size: huge.eu}}, {name: builder}]
vm_extensions: [{name: web, cloud_properties: {balancer: eu}}, {name: unused, cloud_properties: {balancer: us}}]
disk_types: [{name: data, disk_size: 2048, cloud_properties: {type: eu}}, {name: unused, disk_size: 1}]
networks:
- name: private
  type: manual
  subnets:
  - {range: 10.2.3.0/24, gateway: 10.2.3.1, dns: [10.2.3.2], azs: [north], static: [10.2.3.9], cloud_properties: {subnet: eu}}
- {name: cloud-made, type: dynamic, subnets: [{azs: [north], cloud_properties: {subnet: eu}}]}
- {name: builders, type: dynamic, subnets: [{azs: [north], dns: [10.2.3.2], cloud_properties: {subnet: eu}}]}
- {name: unused, type: vip}
compilation: {workers: 1, az: north, network: builders, vm_type: builder}
"""
MANIFEST = """
name: app
releases: []
stemcells: [{alias: default, os: linux, version: latest}]
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1, update_watch_time: 1}
instance_groups:
- name: web
  instances: 1
  azs: [north]
  jobs: []
  vm_type: medium
  vm_extensions: [web]
  persistent_disk_type: data
  stemcell: default
  networks: [{name: private, default: [dns, gateway]}, {name: cloud-made}]
"""


@pytest.fixture
def deployment() -> Manifest:
    return parse_manifest(load_yaml(MANIFEST, "app.yml"), parse_cloud_config([load_yaml(CLOUD, "cloud.yml")]))


def test_what_is_used_stays_as_it_is(deployment: Manifest) -> None:
    made = adapt(yaml.safe_load(CLOUD), deployment, cpi="elsewhere")
    assert made["azs"] == [
        {"name": "north", "cpi": "elsewhere", "cloud_properties": {"zone": "eu-1"}},
        {"name": "south", "cpi": "elsewhere", "cloud_properties": {"zone": "eu-2"}},
    ]
    assert made["vm_types"] == [{"name": "medium", "cloud_properties": {"size": "large.eu"}}, {"name": "builder"}]
    assert made["vm_extensions"] == [{"name": "web", "cloud_properties": {"balancer": "eu"}}]
    assert made["disk_types"] == [{"name": "data", "disk_size": 2048, "cloud_properties": {"type": "eu"}}]
    assert made["networks"] == [
        {"name": "private", "type": "manual", "subnets": [{
            "range": "10.2.3.0/24", "gateway": "10.2.3.1", "azs": ["north"], "static": ["10.2.3.9"],
            "cloud_properties": {"subnet": "eu"}}]},
        {"name": "cloud-made", "type": "dynamic", "subnets": [{"azs": ["north"], "cloud_properties": {"subnet": "eu"}}]},
        {"name": "builders", "type": "dynamic", "subnets": [{"azs": ["north"], "cloud_properties": {"subnet": "eu"}}]},
    ]
    assert made["compilation"] == {"workers": 1, "az": "north", "network": "builders", "vm_type": "builder"}


def test_zones_are_needed(deployment: Manifest) -> None:
    without: dict[str, Any] = {key: value for key, value in yaml.safe_load(CLOUD).items() if key != "azs"}
    with pytest.raises(ManifestError, match="no zones"):
        adapt(without, deployment, cpi="elsewhere")
