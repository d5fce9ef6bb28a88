"""Sizes of machines that a region sells to this subscription, and the smallest that will do."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from cpis.azure.arm import Arm
from cpis.azure.disks import Disks
from cpis.cloud.sizes import MachineType, gib, smallest
from cpis.contract import VmResources

_ALTERNATIVES = 5


class Sizes:
    """The list of a region is long and hardly changes: it is read once."""

    def __init__(self, arm: Arm, disks: Disks) -> None:
        self._arm = arm
        self._disks = disks
        self._lock = threading.Lock()
        self._offered: tuple[Mapping[str, Any], ...] = ()

    def offered(self) -> list[str]:
        """Names of all sizes that this subscription can have in the region."""
        return [str(item["name"]) for item in self._items() if not _restricted(item)]

    def missing_zones(self, name: str, zones: Iterable[str]) -> list[str]:
        """Those of the zones where this size cannot be had."""
        item = next((item for item in self._items() if str(item["name"]).lower() == name.lower()), {})
        there = {str(zone) for place in item.get("locationInfo") or [] for zone in place.get("zones") or []}
        for entry in item.get("restrictions") or []:
            if entry.get("type") == "Zone":
                there -= {str(zone) for zone in (entry.get("restrictionInfo") or {}).get("zones") or []}
        return sorted(set(zones) - there)

    def known(self) -> tuple[MachineType, ...]:
        """Sizes for ordinary images, the smallest first."""
        found = [_size(item) for item in self._items() if _ordinary(item)]
        return tuple(sorted(found, key=lambda kind: (kind.cpu, kind.ram_mib, kind.name)))

    def _items(self) -> tuple[Mapping[str, Any], ...]:
        """Raw, since `list_sizes` asks a deprecated list, which tells no restriction."""
        with self._lock:
            if not self._offered:
                location = self._disks.location()
                path = f"/subscriptions/{self._arm.settings.subscription}/providers/Microsoft.Compute/skus"
                found = self._arm.pages(path, "sizes of machines", {"$filter": f"location eq '{location}'"})
                self._offered = tuple(item for item in found if item.get("resourceType") == "virtualMachines")
            return self._offered

    def calculate(self, resources: VmResources) -> dict[str, Any]:
        """`instance_types`, the best first, then such as are not twice as large; and the ephemeral disk. Raises Invalid.

        The others are for when Azure has none left of the best.
        """
        best = smallest(self.known(), resources)
        enough = [kind.name for kind in self.known()
                  if best.cpu <= kind.cpu <= 2 * best.cpu and best.ram_mib <= kind.ram_mib <= 2 * best.ram_mib]
        names = list(dict.fromkeys([best.name, *enough]))[:_ALTERNATIVES]
        return {"instance_types": names, "ephemeral_disk": {"size": gib(resources.ephemeral_disk_size_mib) * 1024}}


def _capabilities(item: Mapping[str, Any]) -> dict[str, str]:
    return {str(entry["name"]): str(entry["value"]) for entry in item.get("capabilities") or []}


def _size(item: Mapping[str, Any]) -> MachineType:
    """Its own disk does not count: the ephemeral one is chosen apart."""
    values = _capabilities(item)
    return MachineType(str(item["name"]), int(float(values.get("vCPUs", 0))), int(float(values.get("MemoryGB", 0)) * 1024))


def _restricted(item: Mapping[str, Any]) -> bool:
    restrictions: Iterable[Mapping[str, Any]] = item.get("restrictions") or []
    return any(entry.get("type") == "Location" for entry in restrictions)


def _ordinary(item: Mapping[str, Any]) -> bool:
    """Not one that this subscription cannot have, nor one for special images: another processor, graphics, confidential computing."""
    values = _capabilities(item)
    return (
        not _restricted(item) and values.get("CpuArchitectureType", "x64") == "x64"
        and float(values.get("GPUs") or 0) == 0 and "ConfidentialComputingType" not in values and bool(values.get("vCPUs")))
