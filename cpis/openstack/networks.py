"""Neutron: a port for each network of a machine, made before it, with its address, groups and marks. And floating addresses."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from cpis.contract import Conflict, CpiError, Invalid, Network, NotFound, Properties
from cpis.openstack.answers import Port, Subnet
from cpis.openstack.api import Api
from cpis.openstack.marks import Marks

_CACHED_SECONDS = 300.0
_FREED_TRIES = 5
_NO_ROUTE = [{"opt_name": "router", "opt_value": ""}, {"opt_name": "classless-static-route", "opt_value": ""}]


@dataclasses.dataclass(frozen=True)
class Floating:
    """A floating address: `port` is empty while it leads nowhere."""

    id: str
    address: str
    port: str

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> Floating:
        return cls(tree["id"], tree["floating_ip_address"], tree.get("port_id") or "")


class Networks:
    """`clock` gives Unix time; names of security groups are remembered for five minutes."""

    def __init__(
        self, api: Api, marks: Marks, *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._marks = marks
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._groups: tuple[float, Sequence[tuple[str, str]]] = (0.0, ())
        self._subnets: dict[str, Subnet] = {}

    # Ports

    def ports(self, token: str) -> list[Port]:
        """Those that carry the token."""
        found = self._api.pages("network", "/v2.0/ports", "ports", Port.read, {"name": token})
        return [port for port in found if port.description == self._marks.tag]

    def owned_ports(self) -> list[Port]:
        """All of this director."""
        found = self._api.pages("network", "/v2.0/ports", "ports", Port.read, {"description": self._marks.tag, "limit": 500})
        return [port for port in found if port.description == self._marks.tag]

    def tag(self, port: Port, server: str) -> None:
        """Let the port be found by the server's id, when that is gone."""
        with contextlib.suppress(NotFound):  # another call for the same machine was faster
            self._api.send("PUT", "network", f"/v2.0/ports/{port.id}/tags/server={server}")

    def ports_tagged(self, server: str) -> list[Port]:
        """Those that `tag` was called for."""
        return list(self._api.pages("network", "/v2.0/ports", "ports", Port.read, {"tags": f"server={server}"}))

    def make_ports(self, token: str, networks: Sequence[Network], groups: Sequence[str] | None, properties: Properties) -> list[Port]:
        """One for each network that is no vip. Raises Conflict for an address in use, Invalid for one outside; leaves what it made."""
        real = [network for network in networks if network.type != "vip"]
        gateway = gateway_of(real)
        pairs = properties.get("allowed_address_pairs") or []
        made = []
        for network in real:
            shape: dict[str, Any] = {
                "network_id": network.cloud_properties["net_id"], "name": token, "description": self._marks.tag, "admin_state_up": True}
            if network.type == "manual":
                shape["fixed_ips"] = [{"ip_address": network.ip}]
            if groups is not None:
                shape["security_groups"] = list(groups)
            if pairs and network.type == "manual":
                shape["allowed_address_pairs"] = [{"ip_address": pair} for pair in ([pairs] if isinstance(pairs, str) else pairs)]
            if network is not gateway:
                # DHCP of the other networks must not set a default route. Source: CPI contract, row 17.
                shape["extra_dhcp_opts"] = _NO_ROUTE
            made.append(self._make_port(shape, network))
        return made

    def _make_port(self, shape: Mapping[str, Any], network: Network) -> Port:
        """An address that another machine is just giving back is asked for again for a while.

        The request may be repeated: a port whose answer was lost has the address already and is recognized by its name, and one with
        an address of Neutron's choice, made twice, is deleted with the machine, whose name both have.
        """
        for number in range(_FREED_TRIES):
            try:
                return self._api.made("POST", "network", "/v2.0/ports", {"port": shape}, lambda answer: Port.read(answer["port"]))
            except Conflict as error:
                if error.code != "IpAddressAlreadyAllocated":
                    raise
                holder = self._holder(shape["network_id"], network.ip)
                if holder is not None and holder.name == shape["name"] and holder.description == self._marks.tag and not holder.device:
                    return holder
                if holder is not None or number == _FREED_TRIES - 1:
                    raise _taken(error, network, holder) from error
            except (Invalid, NotFound) as error:
                raise Invalid(
                    f"network '{network.name}': {error.message}", code=error.code, request_id=error.request_id,
                    suggestion=error.suggestion or "Look at net_id, the ranges of the network's subnets, the security groups.") from error
            self._sleep(1.0 + number)
        raise AssertionError("unreachable")

    def _holder(self, network: str, address: str) -> Port | None:
        """Whose address it is; None when it is free, or the other's port is not shown to us."""
        query = {"network_id": network, "fixed_ips": f"ip_address={address}"}
        return next(iter(self._api.pages("network", "/v2.0/ports", "ports", Port.read, query)), None)

    def delete_ports(self, ports: Iterable[Port]) -> None:
        """Gone before is success."""
        for port in ports:
            try:
                self._api.send("DELETE", "network", f"/v2.0/ports/{port.id}")
            except NotFound:
                continue

    def told(self, networks: Sequence[Network], ports: Sequence[Port]) -> tuple[Network, ...]:
        """The networks with what the cloud assigned."""
        left = list(ports)
        result = []
        for network in networks:
            if network.type == "vip":
                result.append(network)
                continue
            port = port_of(network, left)
            left.remove(port)
            subnet_id, address = port.addresses[0]
            if network.type == "manual":
                result.append(network)
                continue
            subnet = self._subnet(subnet_id)
            result.append(dataclasses.replace(
                network, ip=address, prefix_length=ip_network(subnet.cidr).prefixlen, gateway=subnet.gateway or network.gateway,
                dns=network.dns or subnet.dns))
        return tuple(result)

    def _subnet(self, cid: str) -> Subnet:
        with self._lock:
            known = self._subnets.get(cid)
        if known is None:
            known = self._api.get("network", f"/v2.0/subnets/{cid}", lambda answer: Subnet.read(answer["subnet"]))
            with self._lock:
                self._subnets[cid] = known
        return known

    # Security groups

    def groups(self, properties: Properties, networks: Sequence[Network], default: Sequence[str] | None) -> list[str] | None:
        """Ids of the groups of a machine: its type's, else those of all its networks, else the CPI config's; None leaves the project's
        default. Source: CPI contract, row 19. Raises Invalid for names that are none, or several."""
        named: list[str] = list(properties.get("security_groups") or ())
        if not named:
            real = [network.cloud_properties for network in networks if network.type != "vip"]
            named = [name for properties in real for name in properties.get("security_groups") or ()]
        named = list(dict.fromkeys(named or default or ()))
        if not named:
            return None
        if all(_is_uuid(name) for name in named):
            return named
        known = self._known_groups(fresh=False)
        if any(name not in {item for pair in known for item in pair} and not _is_uuid(name) for name in named):
            known = self._known_groups(fresh=True)
        return [_one_group(name, known) for name in named]

    def _known_groups(self, fresh: bool) -> Sequence[tuple[str, str]]:
        with self._lock:
            until, known = self._groups
        if fresh or self._clock() >= until:
            # All at once: with the names of all there is an error that says what exists.
            known = tuple(self._api.pages(
                "network", "/v2.0/security-groups", "security_groups", lambda item: (str(item["id"]), str(item["name"])),
                {"fields": ["id", "name"]}))
            with self._lock:
                self._groups = (self._clock() + _CACHED_SECONDS, known)
        return known

    # Floating addresses

    def floating(self, networks: Sequence[Network]) -> list[Floating]:
        """Those of the vip networks. Raises Invalid when the project has no such address."""
        found = []
        for network in networks:
            if network.type == "vip":
                matches = list(self._api.pages(
                    "network", "/v2.0/floatingips", "floatingips", Floating.read, {"floating_ip_address": network.ip}))
                if not matches:
                    raise Invalid(
                        f"network '{network.name}': the project has no floating address {network.ip}", resource=network.ip,
                        suggestion="Make one with `openstack floating ip create`, and name it in the network's static addresses.")
                found.append(matches[0])
        return found

    def check_floating(self, floating: Iterable[Floating], own: Iterable[Port] = ()) -> None:
        """Raises Conflict when one leads to a port that is not among the machine's own."""
        own_ids = {port.id for port in own}
        for item in floating:
            if item.port and item.port not in own_ids:
                raise Conflict(
                    f"the floating address {item.address} leads to port {item.port} already", resource=item.address,
                    suggestion="Delete the machine that has it, or take it away with `openstack floating ip unset --port`.")

    def lead(self, floating: Iterable[Floating], port: Port) -> None:
        """Let them lead to the port. The association goes with the port."""
        for item in floating:
            if item.port != port.id:
                self._api.send("PUT", "network", f"/v2.0/floatingips/{item.id}", {"floatingip": {"port_id": port.id}})


def check(networks: Sequence[Network]) -> None:
    """What can be said without asking the cloud. Raises Invalid."""
    real = [network for network in networks if network.type != "vip"]
    if not real:
        raise Invalid("a machine needs a manual or dynamic network", suggestion="A vip network comes beside one of these.")
    for network in networks:
        if network.type not in ("manual", "dynamic", "vip"):
            raise Invalid(f"network '{network.name}' has the unknown type '{network.type}'", suggestion="manual, dynamic or vip")
        if network.type in ("manual", "vip") and not network.ip:
            raise Invalid(f"network '{network.name}' is {network.type} and has no address")


def gateway_of(networks: Sequence[Network]) -> Network:
    """The one of the default route: it says so, or is the first."""
    return next((network for network in networks if "gateway" in network.default), networks[0])


def port_of(network: Network, ports: Sequence[Port]) -> Port:
    """The network's own among the machine's. Raises NotFound when somebody took it away."""
    candidates = [port for port in ports if port.network == network.cloud_properties["net_id"]]
    if network.type == "manual":
        candidates = [port for port in candidates if network.ip in (address for _, address in port.addresses)]
    if not candidates:
        raise NotFound(f"the machine's port on network '{network.name}' is gone", resource=network.name)
    return candidates[0]


def _taken(error: CpiError, network: Network, holder: Port | None) -> Conflict:
    owner = ""
    if holder is not None:
        owner = f"; port {holder.id}" + (f" of machine {holder.device}" if holder.device else "") + " has it"
    return Conflict(
        f"network '{network.name}': {error.message}{owner}", resource=network.ip, code=error.code, request_id=error.request_id,
        suggestion="Exclude the address with `reserved` if something else uses it.")


def _one_group(name: str, known: Sequence[tuple[str, str]]) -> str:
    matches = [identity for identity, title in known if name in (identity, title)]
    if len(matches) > 1:
        raise Invalid(f"{len(matches)} security groups are named '{name}'", suggestion=f"Use an id: {', '.join(sorted(matches))}")
    if matches:
        return matches[0]
    if _is_uuid(name):
        return name  # one of another project, shared with ours; Neutron says if there is none
    names = ", ".join(sorted({title for _, title in known}))
    raise Invalid(f"there is no security group '{name}'", suggestion=f"known: {names}")


def _is_uuid(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F-]{32,36}", text)) and _parses(text)


def _parses(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
