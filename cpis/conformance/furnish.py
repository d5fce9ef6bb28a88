"""What a deployment finds in a stand-in: the networks, sizes and names of its own cloud config, as far as the stand-in can have them.

A rehearsal asks a stand-in to furnish itself for a cloud config. What only the cloud itself can name (the id of a network), and what the
stand-in has not at all, is another in the answer, and told.
"""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from cpis.cloud.sizes import MachineType
from cpis.contract import Invalid
from cpis.portable import facts

Tree = dict[str, Any]
_SECTIONS = {"azs": "az", "vm_types": "vm_type", "vm_extensions": "vm_extension", "disk_types": "disk_type"}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A cloud config that a deployment uses all of, and the public addresses (vip networks) that the deployment asks for."""

    cloud_config: Mapping[str, Any]
    public: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Furnished:
    """`cloud_config` is the one to deploy with, `config` that of a CPI for it, `stemcell` the cloud properties of a light stemcell.
    `told` are sentences about what is another than in the cloud config asked for."""

    cloud_config: Mapping[str, Any]
    config: Mapping[str, Any]
    stemcell: Mapping[str, Any]
    told: tuple[str, ...] = ()


class Room:
    """A copy of the cloud config to be looked at and changed in place, and what is told of that."""

    def __init__(self, wanted: Wanted) -> None:
        self.tree: Tree = copy.deepcopy(dict(wanted.cloud_config))
        self.public = wanted.public
        self._told: dict[str, None] = {}

    def tell(self, sentence: str) -> None:
        """The same sentence is told once."""
        self._told[sentence] = None

    @property
    def told(self) -> tuple[str, ...]:
        return tuple(self._told)

    def named(self, *sections: str) -> Iterator[tuple[str, Tree]]:
        """(kind and name, cloud properties) of everything in these sections."""
        for section in sections:
            for item in self.tree.get(section) or ():
                yield f"{_SECTIONS[section]} {item['name']}", _properties(item)

    def machines(self) -> list[tuple[str, Tree]]:
        """Where machines get their cloud properties from, compilation among them."""
        found = list(self.named("vm_types", "vm_extensions"))
        compilation = self.tree.get("compilation")
        return [*found, ("compilation", _properties(compilation))] if compilation and compilation.get("cloud_properties") else found

    def zones(self) -> dict[str, Tree]:
        """Cloud properties of the zones by name."""
        return {item["name"]: _properties(item) for item in self.tree.get("azs") or ()}

    def subnets(self) -> Iterator[tuple[str, Tree, Tree]]:
        """(network, subnet, its cloud properties) of all networks but vip ones. A dynamic network without subnets is one itself, in all
        zones; a subnet has `range` only where the cloud config says one. Raises Invalid for IPv6."""
        for network in self.tree.get("networks") or ():
            if network.get("type", "manual") == "vip":
                continue
            for subnet in network.get("subnets") or [network]:
                if ":" in str(subnet.get("range") or ""):
                    raise Invalid(
                        f"the network '{network['name']}' has the range {subnet['range']}: machines of a rehearsal have IPv4 only",
                        suggestion="Rehearse with a cloud config without IPv6.")
                yield str(network["name"]), subnet, _properties(subnet)

    def zones_of(self, subnet: Mapping[str, Any]) -> list[str]:
        """Names of its zones; all of them when it has none of its own."""
        return list(subnet.get("azs") or ([subnet["az"]] if subnet.get("az") else self.zones()))

    def leave_out(self, keys: Sequence[str], why: str) -> None:
        """Take these keys out of the cloud properties of machines, and tell it."""
        for where, properties in self.machines():
            gone = [key for key in keys if properties.pop(key, None) is not None]
            if gone:
                self.tell(f"{', '.join(gone)} of {where} left out: {why}")


def _properties(item: Tree) -> Tree:
    found: Tree = item.setdefault("cloud_properties", {}) or {}
    item["cloud_properties"] = found
    return found


def names(value: object, key: str = "name") -> list[str]:
    """The names in a cloud property, whether it is a text, a hash with `key`, or a list of those."""
    if isinstance(value, Mapping):
        return [str(value[key])] if value.get(key) else []
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [name for item in value for name in names(item, key)]
    return [str(value)] if value else []


def covering(ranges: Iterable[str]) -> str:
    """The smallest range that holds all of these IPv4 ranges."""
    first, *others = (ipaddress.IPv4Network(text, strict=False) for text in ranges)
    while not all(other.subnet_of(first) for other in others):
        first = first.supernet()
    return str(first)


def spans(room: Room, key: Callable[[Tree, str], object]) -> dict[Any, str]:
    """What ranges the cloud's own subnets need: by what `key` answers for (cloud properties, name of a zone), the range that holds all
    those of the cloud config's subnets there. Subnets without a range, which the cloud would know, get one that nothing else has."""
    found: dict[Any, list[str]] = {}
    for _, subnet, properties in room.subnets():
        for zone in room.zones_of(subnet):
            found.setdefault(key(properties, zone), []).extend([subnet["range"]] if subnet.get("range") else [])
    spare = (f"10.201.{number}.0/24" for number in range(256))
    return {where: covering(ranges) if ranges else next(spare) for where, ranges in found.items()}


def size(room: Room, cpi: str, where: str, properties: Tree) -> MachineType:
    """What machines of this type have, by the name that the cloud has for it; where nobody here knows, that is told."""
    found = facts(cpi).size(properties)
    if found is None:
        found = MachineType("", 2, 4096)
        room.tell(f"the size of {where} is known to the cloud only: here it has {found.cpu} cores and {found.ram_mib} MiB")
    return found
