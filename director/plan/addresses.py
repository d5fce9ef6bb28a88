"""Pools of addresses: who holds what, and which address is next. Source: planning contract, section 6; manifest contract, 13.2.

Addresses are worked on as integers, made once; an IPv6 address is kept apart from an IPv4 one of the same value by an offset.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from director.manifest.model import CloudConfig, NetworkDefinition, Subnet

_V6 = 1 << 128


class BadRange(ValueError):
    """A text is neither an address, a CIDR nor `FIRST-LAST`."""


@functools.lru_cache(maxsize=65_536)
def number_of(ip: str) -> int:
    """An address as a number that is unique over both families."""
    address = ipaddress.ip_address(ip.partition("/")[0])
    return int(address) + (_V6 if address.version == 6 else 0)


def text_of(number: int) -> str:
    """The inverse of `number_of`."""
    return str(ipaddress.IPv6Address(number - _V6) if number >= _V6 else ipaddress.IPv4Address(number))


def interval_of(text: str) -> tuple[int, int]:
    """First and last number of `10.0.0.5`, `10.0.0.5-10.0.0.9`, `10.0.0.5 - 10.0.0.9` or `10.0.0.0/30`."""
    try:
        if "-" in text:
            first, _, last = text.partition("-")
            return number_of(first.strip()), number_of(last.strip())
        if "/" in text:
            network = ipaddress.ip_network(text.strip(), strict=False)
            return number_of(str(network[0])), number_of(str(network[-1]))
        return number_of(text.strip()), number_of(text.strip())
    except ValueError as error:
        raise BadRange(f"Invalid IP or CIDR format: {text}") from error


class Intervals:
    """A set of numbers as sorted, disjoint intervals."""

    def __init__(self, intervals: Iterable[tuple[int, int]]) -> None:
        merged: list[list[int]] = []
        for first, last in sorted(intervals):
            if merged and first <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        self._first = [item[0] for item in merged]
        self._last = [item[1] for item in merged]

    def end_of(self, number: int, size: int = 1) -> int | None:
        """The last number of an interval that meets `number .. number + size - 1`; None when none does."""
        position = bisect.bisect_right(self._first, number + size - 1) - 1
        return self._last[position] if position >= 0 and self._last[position] >= number else None

    def __contains__(self, number: int) -> bool:
        return self.end_of(number) is not None

    def numbers(self) -> Iterator[int]:
        """Each number, ascending."""
        for first, last in zip(self._first, self._last, strict=True):
            yield from range(first, last + 1)


class SubnetPool:
    """A subnet in numbers. `next_free` walks upwards only, since during planning addresses are taken but never given back."""

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self.azs = frozenset(subnet.azs)
        network = ipaddress.ip_network(subnet.range, strict=False) if subnet.range else None
        self.prefix_length = network.prefixlen if network else 32
        self.netmask = str(network.netmask) if network else "255.255.255.255"
        self.first = number_of(str(network[0])) if network else 0
        self.last = number_of(str(network[-1])) if network else -1
        width = 128 if network and network.version == 6 else 32
        self.block = 1 << (width - subnet.prefix) if subnet.prefix is not None and subnet.prefix <= width else 1
        self.static = Intervals(interval_of(text) for text in subnet.static)
        edges = [(self.first, self.first), (self.last, self.last)]
        if subnet.gateway:
            edges.append(interval_of(subnet.gateway))
        self.reserved = Intervals([*edges, *(interval_of(text) for text in subnet.reserved)])
        self._cursor = self.first
        self._statics = self.static.numbers()

    def serves(self, az: str) -> bool:
        """Whether instances of that AZ may be here; a side without AZs matches any."""
        return not self.azs or not az or az in self.azs

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last

    def next_free(self, taken: Taken) -> int | None:
        """The lowest block that is not reserved, static or taken."""
        candidate = self._cursor
        while candidate + self.block - 1 <= self.last:
            end = self.reserved.end_of(candidate, self.block)
            if end is None:
                end = self.static.end_of(candidate, self.block)
            if end is not None:
                candidate = self._aligned(max(end + 1, candidate + 1))
            elif candidate in taken:
                candidate += self.block
            else:
                self._cursor = candidate + self.block
                return candidate
        self._cursor = candidate
        return None

    def next_static(self, taken: Taken) -> int | None:
        """The lowest address of the `static` list that nobody has; for VIPs."""
        return next((number for number in self._statics if number not in taken), None)

    def _aligned(self, number: int) -> int:
        return self.first + -(-(number - self.first) // self.block) * self.block


class Taken:
    """Who holds which address, over all deployments of the director: an address is given at most once."""

    def __init__(self) -> None:
        self._holder: dict[int, tuple[str, str]] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._holder

    def hold(self, number: int, owner: str, label: str) -> None:
        """`owner` is an instance id, empty for others than ours; `label` is the text for errors. The first holder stays."""
        self._holder.setdefault(number, (owner, label))

    def other_holder(self, number: int, owner: str) -> str | None:
        """The label of whoever holds the address, unless that is `owner`."""
        holder = self._holder.get(number)
        return None if holder is None or holder[0] == owner else holder[1]


@dataclasses.dataclass(frozen=True)
class NetworkPool:
    """A network of the cloud config with its subnets in numbers."""

    definition: NetworkDefinition
    subnets: Sequence[SubnetPool]

    def subnet_of(self, number: int) -> SubnetPool | None:
        return next((subnet for subnet in self.subnets if number in subnet), None)

    def subnet_for(self, az: str) -> SubnetPool | None:
        return next((subnet for subnet in self.subnets if subnet.serves(az)), None)

    def allocate(self, az: str, taken: Taken) -> str | None:
        """The next automatic address for that AZ: subnets in listed order. None when there is none left."""
        for subnet in self.subnets:
            if subnet.serves(az):
                number = subnet.next_free(taken)
                if number is not None:
                    return text_of(number)
        return None


class Pools:
    """All networks of a cloud config, and who holds their addresses."""

    def __init__(self, cloud: CloudConfig) -> None:
        self.taken = Taken()
        self._networks = {definition.name: _pool(definition) for definition in cloud.networks}

    def network(self, name: str) -> NetworkPool | None:
        return self._networks.get(name)


def _pool(definition: NetworkDefinition) -> NetworkPool:
    subnets = definition.subnets
    if definition.type == "dynamic" and not subnets:
        subnets = (Subnet(cloud_properties=definition.cloud_properties),)
    return NetworkPool(definition, tuple(SubnetPool(subnet) for subnet in subnets))
