"""What is known of clouds without them."""

from __future__ import annotations

from typing import Any

import pytest

from cpis import portable, registry
from cpis.contract import Invalid


@pytest.mark.parametrize(
    ("cpi", "properties", "size"),
    [
        ("aws", {"instance_type": "t3.small"}, (2, 2048)),
        ("aws", {"instance_type": "m5.large", "ephemeral_disk": {"size": 20480}}, (2, 8192)),
        ("aws", {"instance_type": "t99.huge"}, None),
        ("aws", {}, None),
        ("azure", {"instance_type": "Standard_B1ms"}, (1, 2048)),
        ("azure", {"instance_type": "Standard_DS2_v2"}, (2, 7168)),
        ("azure", {"instance_type": "Standard_D4s_v5"}, (4, 16384)),
        ("azure", {"instance_type": "Standard_D4ls_v5"}, (4, 8192)),
        ("azure", {"instance_type": "Standard_E8-4ds_v5"}, (4, 65536)),
        ("azure", {"instance_types": ["Standard_F2s_v2", "Standard_F4s_v2"]}, (2, 4096)),
        ("azure", {"instance_type": "Standard_NC24ads_A100_v4"}, None),
        ("gcp", {"machine_type": "e2-small"}, (2, 2048)),
        ("gcp", {"machine_type": "n1-standard-2"}, (2, 7680)),
        ("gcp", {"machine_type": "n2-highmem-4"}, (4, 32768)),
        ("gcp", {"machine_type": "n2-custom-6-10240"}, (6, 10240)),
        ("gcp", {"cpu": 2, "ram": 5120}, (2, 5120)),
        ("gcp", {"machine_type": "a2-megagpu-16g"}, None),
        ("openstack", {"instance_type": "m1.medium"}, (2, 4096)),
        ("openstack", {"instance_type": "our-own"}, None),
        ("vsphere", {"cpu": 2, "ram": 4096, "disk": 10240}, (2, 4096)),
        ("local", {"cpus": 0.5, "memory": 512}, (1, 512)),
        ("local", {}, None),
        ("process", {"anything": 1}, None),
    ],
)
def test_sizes_are_told_by_names(cpi: str, properties: dict[str, Any], size: tuple[int, int] | None) -> None:
    found = portable.sizes.size(cpi, properties)
    assert (found and (found.cpu, found.ram_mib)) == size


def test_facts_are_of_cpis_that_there_are() -> None:
    assert {"aws", "azure", "gcp", "openstack", "vsphere", "local", "fake"} == set(portable.known())
    assert {"local", "fake"} <= set(registry.TABLE)
    for cpi in portable.known():
        assert portable.facts(cpi).title


def test_formats_are_those_of_the_cpis() -> None:
    for name in ("fake",):
        assert set(registry.load(name, {}).info().stemcell_formats) == set(portable.facts(name).stemcell_formats)


def test_an_unknown_cpi_gets_the_nearest() -> None:
    with pytest.raises(Invalid) as caught:
        portable.facts("azur")
    assert caught.value.suggestion == "Did you mean 'azure'?"


@pytest.mark.parametrize("text", ["lacks: {flying: {why: x}}", "limits: {wings: 2}"])
def test_facts_are_checked_themselves(text: str) -> None:
    base = "title: x\nstemcell_formats: []\n" + ("limits: {}\n" if "limits" not in text else "")
    with pytest.raises(ValueError, match="unknown"):
        portable.read("x", base + text)
