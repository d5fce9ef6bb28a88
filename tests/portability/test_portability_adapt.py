"""A cloud config made to fit what stands in for its cloud."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from director.errors import ManifestError
from director.portability.adapt import adapt

STAND_IN: dict[str, Any] = yaml.safe_load("""
azs:
- {name: z1, cloud_properties: {zone: a}}
- {name: z2, cloud_properties: {zone: b}}
vm_types: [{name: small, cloud_properties: {size: s}}, {name: medium, cloud_properties: {size: m}}]
disk_types: [{name: small, disk_size: 1, cloud_properties: {type: fast}}]
networks:
- name: default
  subnets:
  - {range: 10.1.0.0/16, azs: [z1], cloud_properties: {subnet: one}}
  - {range: 10.2.0.0/16, azs: [z2], cloud_properties: {subnet: two}}
""")
GIVEN: dict[str, Any] = yaml.safe_load("""
azs: [{name: north, cloud_properties: {zone: eu-1}}, {name: south, cloud_properties: {zone: eu-2}}]
vm_types: [{name: medium, cloud_properties: {size: large.eu}}, {name: huge, cloud_properties: {size: huge.eu}}]
vm_extensions: [{name: web, cloud_properties: {balancer: eu}}]
disk_types: [{name: data, disk_size: 2048, cloud_properties: {type: eu}}]
networks:
- name: private
  type: manual
  subnets:
  - {range: 10.2.3.0/24, gateway: 10.2.3.1, dns: [10.2.3.2], azs: [north], static: [10.2.3.9], cloud_properties: {subnet: eu}}
  - {range: 10.1.3.0/24, gateway: 10.1.3.1, az: south, cloud_properties: {subnet: eu}}
- {name: cloud-made, type: dynamic, cloud_properties: {subnet: eu}}
compilation: {workers: 1, az: north, network: private, vm_type: medium, cloud_properties: {x: y}}
""")


def test_names_stay_and_properties_are_the_stand_ins() -> None:
    made = adapt(GIVEN, STAND_IN, cpi="elsewhere", any_range=False)
    assert made["azs"] == [
        {"name": "north", "cpi": "elsewhere", "cloud_properties": {"zone": "b"}},
        {"name": "south", "cpi": "elsewhere", "cloud_properties": {"zone": "a"}},
    ]
    assert made["vm_types"] == [{"name": "medium", "cloud_properties": {"size": "m"}}, {"name": "huge", "cloud_properties": {"size": "s"}}]
    assert made["vm_extensions"] == [{"name": "web"}]
    assert made["disk_types"] == [{"name": "data", "disk_size": 2048, "cloud_properties": {"type": "fast"}}]
    first, second = made["networks"][0]["subnets"]
    assert first == {
        "range": "10.2.3.0/24", "gateway": "10.2.3.1", "azs": ["north"], "static": ["10.2.3.9"], "cloud_properties": {"subnet": "two"}}
    assert second["cloud_properties"] == {"subnet": "one"}
    assert made["networks"][1]["cloud_properties"] == {"subnet": "one"}
    assert made["compilation"] == {"workers": 1, "az": "north", "network": "private", "vm_type": "medium"}


def test_addresses_that_the_stand_in_lacks() -> None:
    stranger = yaml.safe_load("azs: [{name: z}]\nnetworks: [{name: n, subnets: [{range: 192.168.0.0/24, azs: [z]}]}]")
    with pytest.raises(ManifestError, match=r"no addresses of 192\.168\.0\.0/24"):
        adapt(stranger, STAND_IN, cpi="elsewhere", any_range=False)
    made = adapt(stranger, STAND_IN, cpi="elsewhere", any_range=True)
    assert made["networks"][0]["subnets"][0]["cloud_properties"] == {"subnet": "one"}


def test_zones_are_needed() -> None:
    with pytest.raises(ManifestError, match="no zones"):
        adapt({key: value for key, value in GIVEN.items() if key != "azs"}, STAND_IN, cpi="elsewhere", any_range=False)
