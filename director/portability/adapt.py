"""A cloud config as it is for one cloud -> the same for what stands in for that cloud: names, ranges and sizes stay, cloud properties are
the stand-in's. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from director.errors import ManifestError

Tree = dict[str, Any]


def adapt(given: Mapping[str, Any], stand_in: Mapping[str, Any], *, cpi: str, any_range: bool) -> Tree:
    """The cloud config that deploys what `given` would, on what `stand_in` (its own cloud config) is of. `cpi` is the name of its CPI.

    A subnet is where the stand-in has one that holds its range (with `any_range`, anywhere), and the zones of a subnet are the zone of that
    one. Name servers are left out: they are the cloud's own. Raises ManifestError when the stand-in has no such addresses, or there are no
    zones to say which CPI makes the machines.
    """
    if not given.get("azs"):
        raise ManifestError(
            "The cloud config has no zones", suggestion="A rehearsal puts them on the cloud's CPI: add azs, to the manifest too.")
    zones: dict[str, Tree] = {}
    networks = [_network(network, stand_in, zones, any_range) for network in given.get("networks") or ()]
    first = _named(stand_in, "azs")
    azs = [
        {"name": az["name"], "cpi": cpi, "cloud_properties": zones.get(az["name"]) or next(iter(first.values()), {})}
        for az in given.get("azs") or ()
    ]
    disks = _named(stand_in, "disk_types")
    usual = next(iter(disks.values()), {})
    return {
        "azs": azs,
        "networks": networks,
        "vm_types": _types(given, stand_in, "vm_types"),
        "vm_extensions": [{"name": item["name"]} for item in given.get("vm_extensions") or ()],
        "disk_types": [
            {**item, "cloud_properties": disks.get(item["name"], usual)} for item in given.get("disk_types") or ()
        ],
        "compilation": {key: value for key, value in (given.get("compilation") or {}).items() if key != "cloud_properties"},
    }


def _named(tree: Mapping[str, Any], section: str) -> dict[str, Tree]:
    return {item["name"]: item.get("cloud_properties") or {} for item in tree.get(section) or ()}


def _types(given: Mapping[str, Any], stand_in: Mapping[str, Any], section: str) -> list[Tree]:
    known = _named(stand_in, section)
    usual = next(iter(known.values()), {})
    return [{"name": item["name"], "cloud_properties": known.get(item["name"], usual)} for item in given.get(section) or ()]


def _network(network: Mapping[str, Any], stand_in: Mapping[str, Any], zones: dict[str, Tree], any_range: bool) -> Tree:
    places = [subnet for item in stand_in.get("networks") or () for subnet in item.get("subnets") or ()]
    azs = _named(stand_in, "azs")

    def put(subnet: Mapping[str, Any]) -> Tree:
        place = _place(subnet, places, any_range)
        home = next(iter(place.get("azs") or ([place["az"]] if place.get("az") else ())), "")
        for zone in subnet.get("azs") or ([subnet["az"]] if subnet.get("az") else ()):
            zones.setdefault(zone, azs.get(home, {}))
        return {**{key: value for key, value in subnet.items() if key != "dns"}, "cloud_properties": place.get("cloud_properties") or {}}

    if network.get("type", "manual") == "vip":
        return dict(network)
    if not network.get("subnets"):
        return {**network, "cloud_properties": (places[0].get("cloud_properties") or {}) if places else {}}
    return {**network, "subnets": [put(subnet) for subnet in network["subnets"]]}


def _place(subnet: Mapping[str, Any], places: list[Tree], any_range: bool) -> Tree:
    text = str(subnet.get("range") or "")
    if not text and places:
        return places[0]
    wanted = ipaddress.ip_network(text, strict=False)
    for place in places:
        span = ipaddress.ip_network(place["range"], strict=False)
        if span.version == wanted.version and wanted.subnet_of(span):  # type: ignore[arg-type]
            return place
    if any_range and places:
        return places[0]
    raise ManifestError(
        f"What stands in for this cloud has no addresses of {text}",
        suggestion=f"For a rehearsal take ranges within {', '.join(str(place['range']) for place in places) or 'none'}.")
