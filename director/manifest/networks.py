"""Networks of the cloud config. Source: manifest contract, section 13.2."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from director.manifest import model
from director.manifest.names import Address, Range, read_range, with_prefix
from director.manifest.numbers import number_text
from director.manifest.reader import MISSING_FIELD, Fields

TYPES = ("manual", "dynamic", "vip")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def read_network(fields: Fields, azs: Collection[str]) -> model.NetworkDefinition:
    """A network of any type; what is wrong goes to the report."""
    name, kind = fields["name"], fields["type"]
    if kind not in TYPES:
        fields.reader.unknown(fields.at("type"), f"Invalid network type '{kind}'", 190010, kind, TYPES, "types")
        kind = "manual"
    if kind == "dynamic":
        return _dynamic(fields, azs)
    if kind == "manual" and not fields.has("subnets"):
        fields.reader.error(
            fields.path,
            f"Required property 'subnets' was not specified in object (network '{name}')",
            MISSING_FIELD,
            "A manual network needs subnets with range and gateway.",
        )
    managed = fields["managed"]
    subnets = []
    spans: list[tuple[int, Range, str]] = []
    for item in fields.items("subnets", "subnet"):
        if kind == "vip":
            subnets.append(_vip_subnet(item, name, azs))
            continue
        subnet, network = _manual_subnet(item, name, azs, managed)
        subnets.append(subnet)
        if network is not None:
            _check_overlap(item, name, network, spans)
    if kind == "manual":
        _check_together(fields, name, subnets)
    return model.NetworkDefinition(name, kind, tuple(subnets), managed, fields["cloud_properties"])


def _check_overlap(item: Fields, name: str, network: Network, spans: list[tuple[int, Range, str]]) -> None:
    span = (int(network[0]), int(network[-1]))
    for version, other, text in spans:
        if version == network.version and span[0] <= other[1] and other[0] <= span[1]:
            item.error("range", f"Network '{name}' has overlapping subnets", 160001, f"{network} and {text} share addresses.")
            break
    spans.append((network.version, span, str(network)))


def _check_together(fields: Fields, name: str, subnets: list[model.Subnet]) -> None:
    if len({bool(subnet.azs) for subnet in subnets}) > 1:
        fields.error(
            "subnets",
            f"Subnets on network '{name}' must all either specify availability zone or not",
            140016,
            "Give every subnet az or azs, or none.",
        )
    lengths = {_allocation(subnet) for subnet in subnets if subnet.range}
    if len(lengths) > 1:
        fields.error("subnets", f"Network '{name}' has subnets that define different prefixes", 16014)


def _allocation(subnet: model.Subnet) -> int:
    return subnet.prefix if subnet.prefix is not None else 128 if ":" in subnet.range else 32


def _azs(fields: Fields, name: str, known: Collection[str]) -> tuple[str, ...]:
    if fields.has("az") and fields.has("azs"):
        fields.error("azs", f"Network '{name}' contains both 'az' and 'azs'. Choose one.", 160008)
    azs = [fields["az"]] if fields.good("az") else fields.reader.strings(fields["azs"], fields.at("azs")) if fields.good("azs") else []
    if fields.good("azs") and not azs:
        fields.error("azs", f"Network '{name}' refers to an empty 'azs' array", 160008)
    for az in azs:
        if az not in known:
            key = "az" if fields.good("az") else "azs"
            fields.reader.unknown(
                fields.at(key), f"Network '{name}' refers to an unknown availability zone '{az}'", 160007, az, known, "azs"
            )
    return tuple(azs)


def _dns(fields: Fields, name: str) -> tuple[str, ...]:
    servers = fields.reader.strings(fields["dns"], fields.at("dns"))
    for index, server in enumerate(servers):
        if _single(server) is None:
            fields.error(("dns", index), f"Invalid DNS for network '{name}': must be a single IP", 160004, "Write one address per item.")
    return tuple(servers)


def _single(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _dynamic(fields: Fields, azs: Collection[str]) -> model.NetworkDefinition:
    name = fields["name"]
    for key in ("az", "azs", "managed", "prefix"):
        if fields.has(key):
            fields.error(key, f"Network '{name}' must not specify '{key}'.", 160008, "Write it at a subnet instead.")
    if not fields.has("subnets"):
        implicit = model.Subnet(dns=_dns(fields, name), cloud_properties=fields["cloud_properties"])
        return model.NetworkDefinition(name, "dynamic", (implicit,), False, fields["cloud_properties"])
    for key in ("dns", "cloud_properties"):
        if fields.has(key):
            fields.error(
                key,
                f"Network '{name}' must not specify '{key}' when also specifying 'subnets'. "
                f"Instead, '{key}' should be specified on subnet entries.",
                160008,
            )
    subnets = []
    for item in fields.items("subnets", "subnet"):
        if item.good("prefix") and item["prefix"] != 32:
            item.error("prefix", "Prefix property is not supported for dynamic networks.", 160008)
        subnets.append(model.Subnet(dns=_dns(item, name), azs=_azs(item, name, azs), cloud_properties=item["cloud_properties"]))
    return model.NetworkDefinition(name, "dynamic", tuple(subnets))


def _vip_subnet(fields: Fields, name: str, azs: Collection[str]) -> model.Subnet:
    static = [text for text, _ in _ranges(fields, "static")]
    return model.Subnet(
        static=tuple(static), azs=_azs(fields, name, azs), cloud_properties=fields["cloud_properties"], prefix=fields["prefix"]
    )


def _manual_subnet(fields: Fields, name: str, azs: Collection[str], managed: bool) -> tuple[model.Subnet, Network | None]:
    network = _read_range(fields, name, managed)
    if managed and not fields.good("name"):
        fields.reader.error(
            fields.path, f"Required property 'name' was not specified in object (subnet of managed network '{name}')", MISSING_FIELD
        )
    gateway = _gateway(fields, name, network, managed)
    reserved = _ranges(fields, "reserved")
    static = _ranges(fields, "static")
    if network is not None:
        _check_prefix(fields, network)
        _check_reserved(fields, name, network, reserved)
        _check_static(fields, name, network, gateway, reserved, static)
    subnet = model.Subnet(
        range=str(network) if network is not None else "",
        gateway=str(gateway) if gateway else "",
        dns=_dns(fields, name),
        reserved=tuple(text for text, _ in reserved),
        static=tuple(text for text, _ in static),
        azs=_azs(fields, name, azs),
        cloud_properties=fields["cloud_properties"],
        prefix=fields["prefix"],
        name=fields["name"] or "",
        netmask_bits=fields["netmask_bits"],
    )
    return subnet, network


def _read_range(fields: Fields, name: str, managed: bool) -> Network | None:
    if not fields.has("range"):
        if not managed:
            fields.reader.error(
                fields.path,
                f"Required property 'range' was not specified in object (subnet of network '{name}')",
                MISSING_FIELD,
                "For example: 10.0.0.0/24",
            )
        return None
    if not fields.good("range"):
        return None
    text = fields["range"]
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        fields.error("range", f"Invalid IP or CIDR format: {text}", 160010, "For example: 10.0.0.0/24")
        return None
    if network.num_addresses < 2:
        fields.error("range", f"Invalid network range '{text}', should include at least 2 IPs", 160002)
        return None
    return network


def _gateway(fields: Fields, name: str, network: Network | None, managed: bool) -> Address | None:
    if not fields.has("gateway"):
        if not managed:
            fields.reader.error(
                fields.path,
                f"Required property 'gateway' was not specified in object (subnet of network '{name}')",
                MISSING_FIELD,
                "Give the address of the router in this range.",
            )
        return None
    if not fields.good("gateway"):
        return None
    gateway = _single(fields["gateway"])
    problem = ""
    if gateway is None:
        problem = "must be a single IP"
    elif network is not None:
        if gateway not in network:
            problem = "must be inside the range"
        elif gateway == network[0]:
            problem = "can't be the network id"
        elif gateway == network[-1]:
            problem = "can't be the broadcast IP"
    if problem:
        fields.error("gateway", f"Invalid gateway for network '{name}': {problem}", 160003)
    return gateway


def _ranges(fields: Fields, key: str) -> list[tuple[str, tuple[Address, Address]]]:
    value = fields[key]
    if value is None:
        return []
    texts = fields.reader.strings(value if isinstance(value, list) else [value], fields.at(key))
    found = []
    for text in texts:
        try:
            found.append((text, read_range(text)))
        except ValueError as error:
            fields.error(key, str(error), 160010, "Write an address, FIRST - LAST, or a CIDR.")
    return found


def _check_prefix(fields: Fields, network: Network) -> None:
    prefix = fields["prefix"]
    if prefix is not None and fields.good("prefix") and not network.prefixlen <= prefix <= network.max_prefixlen:
        fields.error("prefix", f"Prefix size '{number_text(prefix)}' is larger than range prefix '{network.prefixlen}'", 16013)


def _check_reserved(fields: Fields, name: str, network: Network, reserved: list[tuple[str, tuple[Address, Address]]]) -> None:
    for _, (first, last) in reserved:
        outside = next((address for address in (first, last) if address not in network), None)
        if outside is not None:
            fields.error(
                "reserved", f"Reserved IP '{with_prefix(outside)}' is out of network '{name}' range", 160005, f"The range is {network}."
            )


def _check_static(
    fields: Fields,
    name: str,
    network: Network,
    gateway: Address | None,
    reserved: list[tuple[str, tuple[Address, Address]]],
    static: list[tuple[str, tuple[Address, Address]]],
) -> None:
    taken: list[Range] = [(int(first), int(last)) for _, (first, last) in reserved]
    taken += [(int(network[0]), int(network[0])), (int(network[-1]), int(network[-1]))]
    taken += [(int(gateway), int(gateway))] if gateway is not None else []
    for text, (first, last) in static:
        outside = next((address for address in (first, last) if address not in network), None)
        if outside is not None:
            fields.error(
                "static", f"Static IP '{with_prefix(outside)}' is out of network '{name}' range", 160006, f"The range is {network}."
            )
            continue
        for low, high in taken:
            if int(first) <= high and low <= int(last):
                shared = type(first)(max(int(first), low))
                fields.error(
                    "static",
                    f"Static IP '{with_prefix(shared)}' is in network '{name}' reserved range",
                    160006,
                    f"'{text}' must leave out reserved addresses, the gateway, the first and the last address of {network}.",
                )
                break
