"""What each cloud offers, as facts that can be read without it: limits, features and the way round those that lack, machine sizes.

`facts("aws")` answers them. They come from `facts/<cpi>.yml`; sizes from `sizes.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from cpis.cloud.sizes import MachineType
from cpis.contract import Invalid, Properties
from cpis.portable import sizes

FEATURES: Mapping[str, str] = {
    "static_addresses": "addresses chosen by the director",
    "dynamic_networks": "addresses chosen by the cloud",
    "vip": "public addresses (vip networks)",
    "several_networks": "machines on several networks",
    "managed_networks": "networks made by the director",
    "zones": "several zones",
    "persistent_disks": "persistent disks",
    "disk_resize": "disks that grow without a copy",
    "snapshots": "disk snapshots",
    "vm_resources": "machines by cores and memory (vm_resources)",
    "ipv6": "IPv6 addresses",
    "nic_groups": "several networks on one interface (nic_group)",
}


@dataclasses.dataclass(frozen=True)
class Lack:
    """Why a feature is not there, and the way round it."""

    why: str
    instead: str = ""


@dataclasses.dataclass(frozen=True)
class Limits:
    """None is no limit that matters. `reserved_first` and `reserved_last` count addresses of each subnet, its ends included."""

    user_data_bytes: int | None = None
    disks_per_machine: int | None = None
    networks_per_machine: int | None = None
    tags: int | None = None
    tag_characters: int | None = None
    largest_disk_gib: int | None = None
    reserved_first: int = 1
    reserved_last: int = 1


@dataclasses.dataclass(frozen=True)
class Facts:
    """`lacks` has the features that are not there; `subnet_per_zone` says that a subnet lies in one zone only."""

    cpi: str
    title: str
    stemcell_formats: tuple[str, ...]
    limits: Limits
    lacks: Mapping[str, Lack]
    subnet_per_zone: bool = False

    def size(self, properties: Properties) -> MachineType | None:
        """What a machine with these cloud properties is; None when only the cloud knows."""
        return sizes.size(self.cpi, properties)


@functools.cache
def known() -> tuple[str, ...]:
    """The CPIs that have facts."""
    return tuple(sorted(item.name.removesuffix(".yml") for item in _folder().iterdir() if item.name.endswith(".yml")))


@functools.cache
def facts(cpi: str) -> Facts:
    """Raises Invalid for a CPI without facts."""
    if cpi not in known():
        near = difflib.get_close_matches(cpi, known(), n=1)
        suggestion = f"Did you mean '{near[0]}'?" if near else f"known: {', '.join(known())}"
        raise Invalid(f"nothing is known of a CPI '{cpi}'", suggestion=suggestion)
    return read(cpi, (_folder() / f"{cpi}.yml").read_text())


def read(cpi: str, text: str) -> Facts:
    """Raises ValueError for a text that names an unknown feature or limit."""
    document: dict[str, Any] = yaml.safe_load(text)
    lacks = {name: Lack(**entry) for name, entry in (document.get("lacks") or {}).items()}
    unknown = set(lacks) - set(FEATURES) | set(document["limits"]) - {field.name for field in dataclasses.fields(Limits)}
    if unknown:
        raise ValueError(f"facts of {cpi}: unknown {sorted(unknown)}")
    return Facts(
        cpi, document["title"], tuple(document["stemcell_formats"]), Limits(**document["limits"]), lacks,
        bool(document.get("subnet_per_zone", False)))


def _folder() -> Any:
    return resources.files("cpis.portable") / "facts"
