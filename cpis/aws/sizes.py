"""Machine types: the smallest that gives what is asked for."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.aws.api import Api
from cpis.aws.driver import Tree, filters
from cpis.cloud.sizes import MachineType, smallest
from cpis.contract import Denied, Invalid, VmResources

_LARGER_THAN_ANY = MachineType("any", 2**62, 2**62)
# Looked at first, in all regions for years: general purpose, compute and memory. A list of all types is eight pages.
_USUAL = ("t3.*", "m5.*", "c5.*", "r5.*", "m6i.*", "c6i.*", "r6i.*")


class Sizes:
    """Safe to use from many threads; lists are asked for once."""

    def __init__(self, api: Api, config: Mapping[str, Any]) -> None:
        self._api = api
        self._may_ask = bool(config.get("enable_describe_instance_types", True))
        self._lock = threading.Lock()
        self._known: dict[bool, list[MachineType]] = {}

    def calculate(self, resources: VmResources) -> dict[str, Any]:
        """See `Cpi.calculate_vm_cloud_properties`."""
        smallest([_LARGER_THAN_ANY], resources)  # what is no size at all is refused before any list
        try:
            kind = smallest(self._types(usual=True), resources)
        except Invalid:
            kind = smallest(self._types(usual=False), resources)
        return {"instance_type": kind.name, "ephemeral_disk": {"size": resources.ephemeral_disk_size_mib}}

    def _types(self, usual: bool) -> list[MachineType]:
        with self._lock:
            if usual not in self._known:
                self._known[usual] = self._ask(usual)
            return self._known[usual]

    def _ask(self, usual: bool) -> list[MachineType]:
        if self._may_ask:
            wanted = {"processor-info.supported-architecture": "x86_64", "supported-virtualization-type": "hvm", "bare-metal": "false"}
            named: Mapping[str, Sequence[str]] = {"instance-type": _USUAL} if usual else {}
            try:
                found = self._api.pages("DescribeInstanceTypes", "instanceTypeSet", filters(**wanted, **named))
            except Denied:
                found = []
            kinds = [_kind(item) for item in found]
            if kinds:
                return kinds
        return [kind for kind in _bundled() if not usual or any(kind.name.startswith(name[:-1]) for name in _USUAL)]


def _kind(item: Tree) -> MachineType:
    return MachineType(str(item["instanceType"]), int(item["vCpuInfo"]["defaultVCpus"]), int(item["memoryInfo"]["sizeInMiB"]))


def _bundled() -> list[MachineType]:
    """Libcloud's table, which ages with its release. Of megabytes: imported when it is needed."""
    from libcloud.compute.constants.ec2_instance_types import INSTANCE_TYPES

    result = []
    table: Mapping[str, Any] = INSTANCE_TYPES
    for name, entry in table.items():
        extra = entry.get("extra") or {}
        architecture, cpu = str(extra.get("physicalProcessor") or ""), extra.get("vcpu") or extra.get("cpu")
        if cpu and entry.get("ram") and "Graviton" not in architecture and "metal" not in name:
            result.append(MachineType(str(name), int(cpu), int(entry["ram"])))
    return result
