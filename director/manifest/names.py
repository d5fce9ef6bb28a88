"""Names: their canonical form, and texts of addresses. Source: manifest contract, sections 1.3 and 8.5."""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = tuple[int, int]

MAX_STATIC = 65_536
"""Most addresses that one static_ips entry may stand for."""

_NOT_CANONICAL = re.compile(r"[^a-z0-9-]")


def canonical(name: str) -> str:
    """The form of a name in DNS: lower case, `_` as `-`, nothing but letters, digits and hyphens."""
    return _NOT_CANONICAL.sub("", name.lower().replace("_", "-"))


def canonical_problem(name: str) -> str:
    """What is wrong with a name's canonical form (error 420001), or ''."""
    form = canonical(name)
    if form.startswith("-"):
        return f"Invalid DNS canonical name '{form}', cannot start with a hyphen"
    if form.endswith("-"):
        return f"Invalid DNS canonical name '{form}', cannot end with a hyphen"
    return ""


def read_range(text: str) -> tuple[Address, Address]:
    """First and last address of `A`, `A - B` or a CIDR. Raises ValueError with the reference's words (error 160010)."""
    parts = [part.strip() for part in text.split("-")]
    try:
        if len(parts) == 1 and "/" in text:
            network = ipaddress.ip_network(text.strip(), strict=False)
            return network[0], network[-1]
        if len(parts) == 1:
            address = ipaddress.ip_address(parts[0])
            return address, address
        if len(parts) == 2:
            first, last = ipaddress.ip_address(parts[0]), ipaddress.ip_address(parts[1])
            if first.version == last.version and int(first) <= int(last):
                return first, last
    except ValueError as error:
        raise ValueError(f"Invalid IP or CIDR format: {text}") from error
    raise ValueError(f"Invalid IP range format: {text}")


def expand(text: str) -> list[str]:
    """All addresses that a static_ips entry stands for. Raises ValueError as `read_range` does."""
    first, last = read_range(text)
    if int(last) - int(first) >= MAX_STATIC:
        raise ValueError(f"Invalid IP range format: {text} holds more than {MAX_STATIC} addresses")
    make = type(first)
    return [str(make(number)) for number in range(int(first), int(last) + 1)]


def with_prefix(address: Address) -> str:
    """`10.0.0.5/32`: how the reference prints single addresses in errors about networks."""
    return f"{address}/{address.max_prefixlen}"
