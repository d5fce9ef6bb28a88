"""Cores and memory of machines, from their cloud properties alone.

Clouds that name sizes by family and number are read by rule; the few names without a rule are in tables. Prices and generations change,
cores and memory of a name do not. Sources: the vendors' public descriptions of their machine families; for AWS Libcloud's own table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cpis.cloud.sizes import MachineType
from cpis.contract import Properties

_GIB = 1024

# Azure: GiB of memory per core, by family; sizes that share cores by name.
_AZURE_FAMILIES: Mapping[str, float] = {"D": 4, "DC": 4, "E": 8, "EC": 8, "F": 2, "FX": 21, "L": 8, "M": 28, "NC": 8, "NV": 7}
_AZURE_BURST: Mapping[str, tuple[int, float]] = {
    "B1ls": (1, 0.5), "B1s": (1, 1), "B1ms": (1, 2), "B2s": (2, 4), "B2ms": (2, 8), "B4ms": (4, 16), "B8ms": (8, 32), "B12ms": (12, 48),
    "B16ms": (16, 64), "B20ms": (20, 80), "A1_v2": (1, 2), "A2_v2": (2, 4), "A4_v2": (4, 8), "A8_v2": (8, 16), "A2m_v2": (2, 16),
    "A4m_v2": (4, 32), "A8m_v2": (8, 64), "DS1_v2": (1, 3.5), "DS2_v2": (2, 7), "DS3_v2": (4, 14), "DS4_v2": (8, 28), "DS5_v2": (16, 56),
    "D1_v2": (1, 3.5), "D2_v2": (2, 7), "D3_v2": (4, 14), "D4_v2": (8, 28), "D5_v2": (16, 56),
    "B2ls_v2": (2, 4), "B2s_v2": (2, 8), "B2ts_v2": (2, 1), "B4ls_v2": (4, 8), "B4s_v2": (4, 16),
    "B2als_v2": (2, 4), "B2as_v2": (2, 8), "B2ats_v2": (2, 1), "B4als_v2": (4, 8), "B4as_v2": (4, 16),
}
_AZURE_NAME = re.compile(r"(?P<family>[A-Z]+)(?P<cores>\d+)(?:-(?P<used>\d+))?(?P<marks>[a-z]*)(?:_[A-Z0-9]+)?(?:_v(?P<version>\d+))?\Z")

# GCP: GiB of memory per core, by series and kind; machines that share a core by name.
_GCP_SHARED: Mapping[str, tuple[int, float]] = {
    "e2-micro": (2, 1), "e2-small": (2, 2), "e2-medium": (2, 4), "f1-micro": (1, 0.6), "g1-small": (1, 1.7),
}
_GCP_KINDS: Mapping[str, float] = {"standard": 4, "highmem": 8, "highcpu": 1}
_GCP_SERIES: Mapping[tuple[str, str], float] = {
    ("n1", "standard"): 3.75, ("n1", "highmem"): 6.5, ("n1", "highcpu"): 0.9, ("c2", "standard"): 4, ("c3", "highcpu"): 2,
    ("n4", "highcpu"): 2, ("c4", "highcpu"): 2, ("c4", "standard"): 3.75, ("c4", "highmem"): 7.75, ("t2a", "standard"): 4,
}

# OpenStack: the flavors that installations had by default for years; others are the operator's own.
_OPENSTACK_FLAVORS: Mapping[str, tuple[int, int, int]] = {
    "m1.tiny": (1, 512, 0), "m1.small": (1, 2048, 0), "m1.medium": (2, 4096, 0), "m1.large": (4, 8192, 0), "m1.xlarge": (8, 16384, 0),
}


def size(cpi: str, properties: Properties) -> MachineType | None:
    """The machine that these cloud properties ask for, or None when they do not tell."""
    rule = _RULES.get(cpi)
    return rule(properties) if rule else None


def _aws(properties: Properties) -> MachineType | None:
    name = str(properties.get("instance_type", ""))
    try:
        from libcloud.compute.constants.ec2_instance_types import INSTANCE_TYPES
    except ImportError:
        return None
    table: Mapping[str, Any] = INSTANCE_TYPES
    found = table.get(name)
    if found is None:
        return None
    return MachineType(name, int(found["extra"]["vcpu"]), int(found["ram"]), _mib(_hash(properties, "ephemeral_disk").get("size")))


def _azure(properties: Properties) -> MachineType | None:
    name = str(properties.get("instance_type") or next(iter(properties.get("instance_types") or ()), ""))
    own = _mib(_hash(properties, "ephemeral_disk").get("size"))
    short = re.sub(r"\A(Standard|Basic)_", "", name)
    if short in _AZURE_BURST:
        cores, memory = _AZURE_BURST[short]
        return MachineType(name, cores, round(memory * _GIB), own)
    found = _AZURE_NAME.match(short)
    if found is None or found["family"] not in _AZURE_FAMILIES or (int(found["version"] or 1) < 3 and found["family"] != "F"):
        return None
    if found["family"] in ("NC", "NV", "M"):  # memory differs within the family
        return None
    cores = int(found["cores"])
    memory = cores * _AZURE_FAMILIES[found["family"]]
    return MachineType(name, int(found["used"] or cores), round(memory * (0.5 if "l" in found["marks"] else 1) * _GIB), own)


def _gcp(properties: Properties) -> MachineType | None:
    own = 0
    if not properties.get("machine_type"):
        cores, ram = properties.get("cpu"), properties.get("ram")
        if isinstance(cores, int) and isinstance(ram, int):
            return MachineType(f"custom {cores}/{ram}", cores, ram, own)
        return None
    name = str(properties["machine_type"])
    if name in _GCP_SHARED:
        cores, memory = _GCP_SHARED[name]
        return MachineType(name, cores, round(memory * _GIB), own)
    custom = re.match(r"(?:[a-z0-9]+-)?custom-(\d+)-(\d+)(?:-ext)?\Z", name)
    if custom:
        return MachineType(name, int(custom[1]), int(custom[2]), own)
    found = re.match(r"(?P<series>[a-z]\d[a-z]?)-(?P<kind>[a-z]+)-(?P<cores>\d+)(?:-lssd)?\Z", name)
    if found is None or found["kind"] not in _GCP_KINDS:
        return None
    per_core = _GCP_SERIES.get((found["series"], found["kind"]), _GCP_KINDS[found["kind"]])
    return MachineType(name, int(found["cores"]), round(int(found["cores"]) * per_core * _GIB), own)


def _openstack(properties: Properties) -> MachineType | None:
    found = _OPENSTACK_FLAVORS.get(str(properties.get("instance_type", "")))
    return MachineType(str(properties["instance_type"]), *found) if found else None


def _vsphere(properties: Properties) -> MachineType | None:
    return _numbers(properties, "cpu", "ram", "disk")


def _local(properties: Properties) -> MachineType | None:
    return _numbers(properties, "cpus", "memory", "ephemeral_disk")


def _fake(properties: Properties) -> MachineType | None:
    return _numbers(properties, "cpu", "ram", "ephemeral_disk")


def _numbers(properties: Properties, cores: str, memory: str, disk: str) -> MachineType | None:
    count, ram, own = properties.get(cores), properties.get(memory), properties.get(disk)
    if not isinstance(count, int | float) or not isinstance(ram, int):
        return None
    return MachineType(f"{count:g} x {ram} MiB", max(1, round(count)), ram, own if isinstance(own, int) else 0)


def _hash(properties: Properties, key: str) -> Mapping[str, Any]:
    value = properties.get(key)
    return value if isinstance(value, Mapping) else {}


def _mib(value: Any) -> int:
    return value if isinstance(value, int) else 0


_RULES: Mapping[str, Callable[[Properties], MachineType | None]] = {
    "aws": _aws, "azure": _azure, "gcp": _gcp, "openstack": _openstack, "vsphere": _vsphere, "local": _local, "fake": _fake,
}
