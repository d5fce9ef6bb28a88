"""An operator's file for a run of the suite on an account of theirs: which networks, types and addresses it may use.

    properties: {...}                  the CPI's own configuration, as in a cpi config
    vm_type: {...}                     cloud_properties of the machines
    az: {...}                          cloud_properties of their zone
    disk_type: {...}                   cloud_properties of the disks [{}]
    disk_mib: 1024                     a size that the cloud has exactly [1024]
    stemcell: {image: PATH, cloud_properties: {...}}
    networks:                          what each machine is on; a network with `first` has static addresses from there on, all of them free
      - {name: default, range: 10.0.0.0/24, gateway: 10.0.0.1, first: 10.0.0.50, cloud_properties: {...}}
    more_networks: [...]               further networks, for machines on several [none]
    dynamic: {name: dynamic, cloud_properties: {...}}      [none]
    vip: {ips: [192.0.2.10], cloud_properties: {...}}      a floating address [none]
    other_zone: {here: NAME, there: NAME, az: {...}, networks: [...]}   [none]
    machines: 20                       how many at once [20]
    user_data_limit: 16384             bytes that the cloud takes [none]
    wait_for_ssh: true                 whether machines can be reached from here, so that it can be seen that they boot [false]
    skip: {CASE: REASON}               cases to leave out
"""

from __future__ import annotations

import difflib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from cpis.conformance.bench import OtherZone, Site
from cpis.conformance.cases import CASES
from cpis.conformance.keys import login
from cpis.contract import Cpi, Invalid, Network, Properties, Vm

_BOOT_SECONDS = 300.0
_SHAPE: Mapping[str, type | tuple[type, ...]] = {
    "properties": dict, "vm_type": dict, "az": dict, "disk_type": dict, "disk_mib": int, "stemcell": dict, "networks": list,
    "more_networks": list, "dynamic": dict, "vip": dict, "other_zone": dict, "machines": int, "user_data_limit": int, "wait_for_ssh": bool,
    "skip": dict,
}
_NETWORK = frozenset({"name", "range", "gateway", "first", "dns", "cloud_properties"})


def site_of(tree: Any, again: Callable[[], Cpi] | None = None) -> Site:
    """The site that the file describes; `again` makes a second CPI. Raises Invalid with everything that is wrong."""
    if not isinstance(tree, dict):
        raise Invalid("the file must be a hash", suggestion="docs/operator/conformance.md has an example")
    wrong = [*_wrong_keys(tree), *_wrong_networks(tree)]
    if wrong:
        raise Invalid("; ".join(wrong), suggestion="docs/operator/conformance.md has an example")
    az, vm_type, stemcell = tree.get("az", {}), tree["vm_type"], tree.get("stemcell", {})
    networks, more = tree["networks"], tree.get("more_networks", [])
    zone, vip, dynamic = tree.get("other_zone"), tree.get("vip"), tree.get("dynamic")
    return Site(
        networks=lambda number: _networks(networks, number), login=login()[0], vm_properties={**az, **vm_type}, place=az,
        stemcell_properties=stemcell.get("cloud_properties", {}), image_path=str(stemcell.get("image", "")),
        disk_mib=tree.get("disk_mib", 1024), disk_properties=tree.get("disk_type", {}), machines=tree.get("machines", 20),
        several=(lambda number: _networks([*networks, *more], number)) if more else None,
        dynamic=(lambda number: _networks([dynamic], number)) if dynamic else None,
        vip=(lambda number: (*_networks(networks, number), *_vips(vip))) if vip else None,
        other_zone=_zone(zone, vm_type) if zone else None, user_data_limit=tree.get("user_data_limit"), again=again,
        wait_until_up=wait_for_ssh if tree.get("wait_for_ssh") else None, skips=tree.get("skip", {}),
    )


def _wrong_keys(tree: Mapping[str, Any]) -> list[str]:
    wrong = [f"'{key}' is missing" for key in ("vm_type", "networks") if key not in tree]
    for key, value in tree.items():
        if key not in _SHAPE:
            near = difflib.get_close_matches(str(key), _SHAPE, n=1)
            wrong.append(f"there is no key '{key}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
        elif not isinstance(value, _SHAPE[key]) or (isinstance(value, bool) and _SHAPE[key] is int):
            wrong.append(f"'{key}' must be a {_SHAPE[key].__name__}, not {value!r}")  # type: ignore[union-attr]
    names = {case.name for case in CASES}
    skips = tree.get("skip")
    wrong += [f"there is no case '{name}' to skip" for name in (skips if isinstance(skips, dict) else {}) if name not in names]
    return wrong


def _wrong_networks(tree: Mapping[str, Any]) -> list[str]:
    wrong: list[str] = []
    zone = tree.get("other_zone")
    dynamic, vip = tree.get("dynamic"), tree.get("vip")
    lists: list[Any] = [
        tree.get("networks"), tree.get("more_networks"), zone.get("networks") if isinstance(zone, dict) else None,
        [dynamic] if isinstance(dynamic, dict) else None]
    if isinstance(vip, dict) and not (isinstance(vip.get("ips"), list) and vip["ips"]):
        wrong.append("'vip' must have a list of addresses in 'ips'")
    if isinstance(dynamic, dict) and "first" in dynamic:
        wrong.append("'dynamic' has addresses that the cloud chooses: leave 'first' out")
    for number, network in enumerate(network for found in lists if isinstance(found, list) for network in found):
        if not isinstance(network, dict) or "name" not in network:
            wrong.append(f"network {number + 1} must be a hash with a name, not {network!r}")
            continue
        wrong += [f"network '{network['name']}' has no key '{key}'" for key in network if key not in _NETWORK]
        try:
            if "first" in network and IPv4Address(network["first"]) not in IPv4Network(network["range"]):
                wrong.append(f"network '{network['name']}': {network['first']} is not in {network['range']}")
        except (KeyError, ValueError) as error:
            wrong.append(f"network '{network['name']}': {error}")
    if isinstance(zone, dict):
        wrong += [f"'other_zone' lacks '{key}'" for key in ("here", "there", "az", "networks") if key not in zone]
    return wrong


def _networks(found: Sequence[Mapping[str, Any]], number: int) -> tuple[Network, ...]:
    """The networks of the n-th machine; the first is its default."""
    made = []
    for place, network in enumerate(found):
        static = "first" in network
        made.append(Network(
            network["name"], "manual" if static else "dynamic", ip=str(IPv4Address(network["first"]) + number) if static else "",
            prefix_length=IPv4Network(network["range"]).prefixlen if "range" in network else 24, gateway=str(network.get("gateway", "")),
            dns=tuple(network.get("dns", ())), default=("dns", "gateway") if place == 0 else (),
            cloud_properties=network.get("cloud_properties", {})))
    return tuple(made)


def _vips(vip: Mapping[str, Any]) -> tuple[Network, ...]:
    return tuple(Network("vip", "vip", ip=str(ip), cloud_properties=vip.get("cloud_properties", {})) for ip in vip.get("ips", ())[:1])


def _zone(zone: Mapping[str, Any], vm_type: Properties) -> OtherZone:
    return OtherZone(zone["here"], zone["there"], {**vm_type, **zone["az"]}, lambda number: _networks(zone["networks"], number))


def wait_for_ssh(vm: Vm) -> None:
    """Until sshd greets. Raises AssertionError after five minutes."""
    deadline = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((vm.ssh_address, vm.ssh_port), timeout=5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(1)
    raise AssertionError(f"no sshd on {vm.cid} at {vm.ssh_address} within {_BOOT_SECONDS:.0f} s")
