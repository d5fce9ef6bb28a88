"""Results of an executable, read strictly: what is not of the contract's form is Unavailable, since nobody knows what was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cpis.contract import MadeNetwork, Network, NotSupported, Unavailable, Vm
from cpis.wire import convert

Tree = dict[str, Any]
T = TypeVar("T")


def _odd(method: str, wanted: str) -> Unavailable:
    return Unavailable(f"the result of {method} is not {wanted}", suggestion="What it did is not known. The debug log has all it said.")


def cid(result: Any, method: str) -> str:
    if not isinstance(result, str) or not result:
        raise _odd(method, "a CID")
    return result


def truth(result: Any, method: str) -> bool:
    if not isinstance(result, bool):
        raise _odd(method, "true or false")
    return result


def tree(result: Any, method: str) -> Tree:
    if not isinstance(result, dict):
        raise _odd(method, "a hash")
    return result


def texts(result: Any, method: str) -> list[str]:
    if not isinstance(result, list) or not all(isinstance(item, str) for item in result):
        raise _odd(method, "an array of CIDs")
    return result


def many(result: Any, method: str, kind: Callable[..., T]) -> list[T]:
    """Values of one of the contract's classes, sent as hashes of their fields."""
    try:
        return [kind(**item) for item in result]
    except TypeError as error:
        raise _odd(method, "a list of what it should be") from error


def vm_cid(result: Any) -> str:
    """Of `create_vm`: the CID alone in version 1, `[cid, networks]` since."""
    return cid(result[0] if isinstance(result, list) and result else result, "create_vm")


def vm(result: Any, made: str, asked: Sequence[Network], ssh_user: str, *, ours: bool) -> Vm:
    """The machine, with what the cloud assigned. Raises NotSupported when nobody says at which address it is."""
    answered = result[1] if isinstance(result, list) and len(result) > 1 and isinstance(result[1], Mapping) else {}
    networks = tuple(_with_answer(network, answered.get(network.name)) for network in asked)
    if ours:
        try:
            more = result[2]
            return Vm(made, networks, str(more["ssh_address"]), int(more["ssh_port"]), convert.hint_from(more.get("ephemeral_disk")))
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _odd("create_vm", "[cid, networks, {ssh_address, ssh_port}]") from error
    inside = [network for network in networks if network.type != "vip" and network.ip]
    chosen = next((network for network in inside if "gateway" in network.default), inside[0] if inside else None)
    if chosen is None:
        raise NotSupported(
            f"the CPI does not say which address {made} got on its dynamic network", resource=made, kind="vm",
            suggestion="Use a manual network with this CPI.")
    return Vm(made, networks, chosen.ip, ssh_user=ssh_user, host_key_known=False)


def _with_answer(network: Network, entry: Any) -> Network:
    if not isinstance(entry, Mapping) or not entry.get("ip"):
        return network
    try:
        (read,) = convert.networks_from({network.name: entry})
    except ValueError as error:
        raise _odd("create_vm", f"readable: {error}") from error
    return dataclasses.replace(
        network, ip=read.ip, prefix_length=read.prefix_length if entry.get("netmask") else network.prefix_length,
        gateway=read.gateway or network.gateway)


def vm_to(made: Vm) -> Tree:
    return dataclasses.asdict(made)


def vm_from(shape: Mapping[str, Any]) -> Vm:
    networks = tuple(
        Network(**{**item, "dns": tuple(item["dns"]), "default": tuple(item["default"])}) for item in shape["networks"])
    return Vm(**{**shape, "networks": networks, "ephemeral_disk": convert.hint_from(shape.get("ephemeral_disk"))})


def network(result: Any) -> Tree:
    """Of `create_network`: `[cid, {range, gateway, reserved}, cloud_properties]`, as plain data."""
    if not isinstance(result, list) or len(result) != 3 or not isinstance(result[1], Mapping) or not isinstance(result[2], Mapping):
        raise _odd("create_network", "[id, {range, gateway, reserved}, cloud_properties]")
    shape, reserved = result[1], result[1].get("reserved") or []
    return {
        "cid": cid(result[0], "create_network"), "range": str(shape.get("range") or ""), "gateway": str(shape.get("gateway") or ""),
        "reserved": [str(item) for item in reserved], "cloud_properties": dict(result[2]),
    }


def network_from(shape: Mapping[str, Any]) -> MadeNetwork:
    return MadeNetwork(**{**shape, "reserved": tuple(shape["reserved"])})
