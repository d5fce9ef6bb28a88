"""Networks of an instance group. Source: manifest contract, section 8.5."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from director.manifest import model
from director.manifest.names import expand
from director.manifest.reader import INVALID_TYPE, Fields, inspect

DEFAULTS = ("dns", "gateway", "addressable")


def read_group_networks(fields: Fields, cloud: model.CloudConfig) -> tuple[model.GroupNetwork, ...]:
    """The group's networks with defaults decided: a single one has dns and gateway, several must say."""
    group = fields["name"]
    if not fields.good("networks"):
        return ()
    if not fields["networks"]:
        fields.error("networks", f"Instance group '{group}' must specify at least one network", 140009)
        return ()
    items = list(fields.items("networks", "network"))
    made = [_network(fields, item, cloud) for item in items]
    _check_duplicates(items)
    if len(made) == 1 and len(fields["networks"]) == 1:
        only = made[0]
        made = [model.GroupNetwork(only.name, only.static_ips, ("dns", "gateway"), only.nic_group)]
        definition = cloud.network(only.name)
        if definition is not None and definition.type == "vip":
            fields.error(
                "networks", "Can't provide any defaults since this is a VIP network", 130007, "Add a network that is not of type vip."
            )
    elif len(made) > 1:
        _check_defaults(fields, made)
    return tuple(made)


def _check_duplicates(items: Sequence[Fields]) -> None:
    seen: set[str] = set()
    for item in items:
        name = item["name"]
        if name and name in seen:
            item.reader.warn(item.path, f"Network '{name}' is listed twice")
        seen.add(name)


def _network(fields: Fields, item: Fields, cloud: model.CloudConfig) -> model.GroupNetwork:
    group, name = fields["name"], item["name"]
    definition = cloud.network(name)
    if definition is None and item.good("name"):
        known = [network.name for network in cloud.networks]
        item.reader.unknown(
            item.at("name"), f"Instance group '{group}' references an unknown network '{name}'", 150001, name, known, "networks"
        )
    default = item.reader.strings(item["default"], item.at("default"))
    for index, word in enumerate(default):
        if word not in DEFAULTS:
            item.reader.unknown(
                item.at("default", index),
                f"Instance group '{group}' specified an invalid default network property '{word}', valid properties are: dns, gateway",
                150003,
                word,
                DEFAULTS,
                "properties",
            )
    static = _static(fields, item, definition)
    if definition is not None and definition.type == "vip":
        _check_vip(item, definition, static, default)
    return model.GroupNetwork(name, static, tuple(dict.fromkeys(default)), _nic_group(item))


def _check_vip(item: Fields, definition: model.NetworkDefinition, static: tuple[str, ...] | None, default: Sequence[str]) -> None:
    if default:
        item.error("default", "Can't provide any defaults since this is a VIP network", 130007, "Remove default here.")
    if static and any(subnet.static for subnet in definition.subnets):
        item.error(
            "static_ips", "IPs cannot be specified in both the instance group and the cloud config", 130014, "Remove static_ips here."
        )


def _nic_group(item: Fields) -> int | None:
    text = item["nic_group"]
    if text is None:
        return None
    if len(text) > 18 or not text.removeprefix("-").isdecimal():
        item.error("nic_group", f"Property 'nic_group' value ({inspect(text)}) did not match the required type 'Integer'", INVALID_TYPE)
        return None
    return int(text)


def _static(fields: Fields, item: Fields, definition: model.NetworkDefinition | None) -> tuple[str, ...] | None:
    value = item["static_ips"]
    group, name = fields["name"], item["name"]
    if item.has("static_ips") and definition is not None and definition.type == "dynamic":
        item.error(
            "static_ips",
            f"Instance group '{group}' using dynamic network '{name}' cannot specify static IP(s)",
            150008,
            "Remove static_ips.",
        )
        return None
    if value is None:
        return None
    if not isinstance(value, (str, list)):
        item.error("static_ips", f"Property 'static_ips' value ({inspect(value)}) did not match the required type 'Array'", INVALID_TYPE)
        return None
    found: list[str] = []
    complete = True
    for text in item.reader.strings(value if isinstance(value, list) else [value], item.at("static_ips")):
        try:
            found.extend(expand(text))
        except ValueError as error:
            complete = False
            item.error("static_ips", str(error), 160010, "Write an address, FIRST - LAST, or a CIDR.")
    for ip in (ip for ip, times in collections.Counter(found).items() if times > 1):
        item.error(
            "static_ips",
            f"Instance group '{group}' specifies static IP '{ip}' more than once",
            150009,
            "Each instance needs its own address.",
        )
        complete = False
    count = fields["instances"]
    if complete and fields.good("instances") and len(found) != count:
        item.error(
            "static_ips",
            f"Instance group '{group}' has {count} instances but was allocated {len(found)} static IPs in network '{name}'",
            150002,
            f"List exactly {count}." if count else "Remove static_ips.",
        )
    return tuple(found)


def _check_defaults(fields: Fields, networks: Sequence[model.GroupNetwork]) -> None:
    group = fields["name"]
    claims = {word: [network.name for network in networks if word in network.default] for word in DEFAULTS}
    missing = [word for word in ("dns", "gateway") if not claims[word]]
    if missing:
        fields.error(
            "networks",
            f"Instance group '{group}' must specify which network is default for {', '.join(missing)}, "
            "since it has more than one network configured",
            150005,
            f"Write default: [{', '.join(missing)}] at one of them.",
        )
    twice = {word: names for word, names in claims.items() if len(names) > 1}
    if twice:
        sentences = []
        for word, names in twice.items():
            listed = ", ".join(f"'{name}'" for name in names)
            sentences.append(f"'{word}' has default networks: {listed}.")
        fields.error(
            "networks", f"Instance group '{group}' specified more than one network to contain default. {' '.join(sentences)}", 150004
        )
