"""Interfaces and public addresses of machines. Source: CPI contract, sections 7.1 and 7.2."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from typing import Any

from cpis.azure.arm import Arm, Tree
from cpis.azure.errors import ADDRESS_IN_USE
from cpis.azure.names import ASG, NIC, NSG, PIP, VNET, nic_name, public_ip_name, same
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.contract import Conflict, CpiError, Invalid, Network, NotFound

_ADDRESS_PATIENCE_SECONDS = 60.0
BALANCERS: Mapping[str, tuple[str, str]] = {
    "load_balancer": ("Microsoft.Network/loadBalancers", "loadBalancerBackendAddressPools"),
    "application_gateway": ("Microsoft.Network/applicationGateways", "applicationGatewayBackendAddressPools"),
}
_HOLDER = re.compile(r"allocated to resource (/subscriptions/[^\s'\"]+/networkInterfaces/[^/\s'\"]+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Subnet:
    """Where an interface goes. `location` is that of the virtual network, and so of the machine; `range` the first of IPv4."""

    id: str
    range: IPv4Network | None
    location: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """The networks of a machine, looked through: the one with the default gateway first, since Azure's primary interface has the route.

    `vip` is the floating address, or None; `public` whether a public address is to be made.
    """

    inside: tuple[Network, ...]
    vip: Network | None
    public: bool


def plan(networks: Sequence[Network], properties: Mapping[str, Any]) -> Plan:
    """Raises Invalid."""
    schema = Schema.of("azure")
    for network in networks:
        checked = schema.check("network", network.cloud_properties)
        missing = [key for key in ("virtual_network_name", "subnet_name") if not checked.get(key) and network.type != "vip"]
        if missing:
            raise Invalid(f"the network '{network.name}' needs {' and '.join(missing)} among its cloud properties", resource=network.name)
    inside = [network for network in networks if network.type != "vip"]
    vips = [network for network in networks if network.type == "vip"]
    if not inside:
        raise Invalid("a machine needs a manual or dynamic network", suggestion="A vip network gives a floating address to one of these.")
    if len(vips) > 1:
        raise Invalid(f"a machine can have one vip network, not {len(vips)}")
    for network in inside:
        if network.type == "manual" and not network.ip:
            raise Invalid(f"the manual network '{network.name}' has no address")
    inside.sort(key=lambda network: "gateway" not in network.default)
    return Plan(tuple(inside), vips[0] if vips else None, bool(properties.get("assign_dynamic_public_ip")) and not vips)


class Networks:
    """Virtual networks are read once: where they are does not change, and a subnet that is not among those read is looked for anew."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._settings = arm.settings
        self._vnets: dict[str, Tree] = {}
        self._once = OnePerToken()

    def subnet(self, network: Network) -> Subnet:
        """Raises NotFound naming the subnets that there are."""
        properties = network.cloud_properties
        name, wanted = str(properties["virtual_network_name"]), str(properties["subnet_name"])
        path = self._settings.id_of(VNET, name, str(properties.get("resource_group_name") or ""))
        for fresh in (False, True):
            vnet = self._vnet(path, name, fresh)
            subnets = {str(item["name"]).lower(): item for item in vnet["properties"].get("subnets") or []}
            if wanted.lower() in subnets:
                inner = subnets[wanted.lower()].get("properties") or {}
                prefixes = [inner["addressPrefix"]] if inner.get("addressPrefix") else inner.get("addressPrefixes") or []
                found = next((item for item in map(ip_network, prefixes) if isinstance(item, IPv4Network)), None)
                return Subnet(f"{path}/subnets/{wanted}", found, str(vnet["location"]))
        known = ", ".join(sorted(subnets)) or "none"
        raise NotFound(
            f"the virtual network '{name}' has no subnet '{wanted}'", resource=wanted, kind="network", suggestion=f"known: {known}.")

    def _vnet(self, path: str, name: str, fresh: bool) -> Tree:
        with self._once(path):
            if path not in self._vnets or fresh:
                self._vnets[path] = self._arm.get(path, f"virtual network {name}")
            return self._vnets[path]

    def public_address(self, vm: str, group: str, plan: Plan, location: str, zone: str, tags: Mapping[str, str]) -> tuple[str, str]:
        """Id and address of the machine's public address: the floating one, one made for it, or ``."""
        if plan.vip is not None:
            return self._floating(plan.vip), plan.vip.ip
        if not plan.public:
            return "", ""
        path = self._settings.id_of(PIP, public_ip_name(vm), group)
        body: Tree = {
            "location": location, "tags": dict(tags), "sku": {"name": "Standard"},
            "properties": {
                "publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4",
                "idleTimeoutInMinutes": self._settings.config["pip_idle_timeout_in_minutes"]}}
        if zone:
            body["zones"] = [zone]
        if self._settings.stack:
            body["sku"] = {"name": "Basic"}
        made = self._arm.put(path, f"public address of {vm}", body)
        address = made["properties"].get("ipAddress") or self._arm.get(path, f"public address of {vm}")["properties"].get("ipAddress")
        return path, str(address or "")

    def _floating(self, vip: Network) -> str:
        """The id of a public address that somebody reserved. Azure knows these by name only, so all of the group are looked through."""
        group = str(vip.cloud_properties.get("resource_group_name") or self._settings.group)
        path = f"/subscriptions/{self._settings.subscription}/resourceGroups/{group}/providers/{PIP}"
        for item in self._arm.pages(path, f"public addresses of {group}"):
            if item["properties"].get("ipAddress") == vip.ip:
                return str(item["id"])
        raise NotFound(
            f"there is no public address {vip.ip} in the resource group '{group}'", resource=vip.ip, kind="network",
            suggestion="Reserve it first: `az network public-ip create --sku Standard --allocation-method Static`.")

    def interface(
        self, vm: str, group: str, number: int, network: Network, subnet: Subnet, properties: Mapping[str, Any], public: str,
        tags: Mapping[str, str],
    ) -> tuple[str, str]:
        """Make one interface; answers its id and its address. Raises Conflict when the address is another's.

        Raw, since `ex_create_network_interface` knows no fixed address, security group, balancer or tag.
        """
        path = self._settings.id_of(NIC, nic_name(vm, number), group)
        what = f"interface {number} of {vm}"
        config: Tree = {"subnet": {"id": subnet.id}, "privateIPAllocationMethod": "Dynamic"}
        if network.type == "manual":
            config.update(privateIPAllocationMethod="Static", privateIPAddress=network.ip)
        if public:
            # Without the option a floating address would stay reserved, but one that was made would be left behind.
            goes = {"properties": {"deleteOption": "Delete"}} if not self._settings.stack and same(
                public, self._settings.id_of(PIP, public_ip_name(vm), group)) else {}
            config["publicIPAddress"] = {"id": public, **goes}
        groups = _first(properties, network, "application_security_groups")
        if groups:
            config["applicationSecurityGroups"] = [{"id": self.beside(ASG, str(name), network)} for name in groups]
        if number == 0:
            for key, (kind, field) in BALANCERS.items():
                pools = [self.pool(kind, item) for item in listed(properties.get(key))]
                config.update({field: [{"id": pool} for pool in pools]} if pools else {})
        body: Tree = {"location": subnet.location, "tags": dict(tags), "properties": {
            "ipConfigurations": [{"name": "ipconfig", "properties": config}],
            "enableIPForwarding": bool(_first(properties, network, "ip_forwarding")),
            "enableAcceleratedNetworking": bool(_first(properties, network, "accelerated_networking"))}}
        security = _first(properties, network, "security_group") or self._settings.config.get("default_security_group")
        if security:
            body["properties"]["networkSecurityGroup"] = {"id": self.security_group(security, network)}
        answer = self._put_interface(path, what, body, network)
        if network.type == "manual":
            return path, network.ip
        made = answer["properties"]["ipConfigurations"][0]["properties"]
        if not made.get("privateIPAddress"):
            made = self._arm.get(path, what)["properties"]["ipConfigurations"][0]["properties"]
        return path, str(made["privateIPAddress"])

    def _put_interface(self, path: str, what: str, body: Tree, network: Network) -> Tree:
        """Make it. An address whose holder is just going is waited for."""
        def leaving(error: CpiError) -> bool:
            return error.code in ADDRESS_IN_USE and self._is_leaving(error.message)
        try:
            answer = self._arm.send("PUT", path, what, body, also=self._arm.bounded(_ADDRESS_PATIENCE_SECONDS, leaving))
        except CpiError as error:
            if error.code in ADDRESS_IN_USE:
                ip = network.ip if network.ip in error.message else error.resource
                raise Conflict(error.message, resource=ip, kind="network", code=error.code, request_id=error.request_id,
                               suggestion="Another machine has the address, or something that the director does not know.") from error
            raise
        return self._arm.finished(answer, path, what).body

    def _is_leaving(self, message: str) -> bool:
        """Whether what holds the address is gone already or is being deleted."""
        holder = _HOLDER.search(message)
        if not holder:
            return False
        nic = self._arm.find(holder.group(1), "holder of the address")
        if nic is None or str(nic["properties"].get("provisioningState")).lower() == "deleting":
            return True
        machine = (nic["properties"].get("virtualMachine") or {}).get("id")
        found = self._arm.find(machine, "holder of the address") if machine else None
        return found is not None and str(found["properties"].get("provisioningState")).lower() == "deleting"

    def beside(self, kind: str, name: str, network: Network) -> str:
        """The id of something that is in the network's resource group, or else in that of the CPI config, as BOSH's CPI looks for it."""
        group = str(network.cloud_properties.get("resource_group_name") or "")
        path = self._settings.id_of(kind, name, group)
        if group and group.lower() != self._settings.group.lower() and self._arm.find(path, f"{kind.rsplit('/', 1)[-1]} {name}") is None:
            return self._settings.id_of(kind, name)
        return path

    def security_group(self, security: Any, network: Network) -> str:
        if isinstance(security, Mapping) and security.get("resource_group_name"):
            return self._settings.id_of(NSG, str(security["name"]), str(security["resource_group_name"]))
        return self.beside(NSG, str(security["name"] if isinstance(security, Mapping) else security), network)

    def pool(self, kind: str, item: Any) -> str:
        """The id of a back-end pool; without its name the first one, for which the balancer is looked at."""
        named = item if isinstance(item, Mapping) else {"name": item}
        path = self._settings.id_of(kind, str(named["name"]), str(named.get("resource_group_name") or ""))
        pool = named.get("backend_pool_name")
        if not pool:
            pools = self._arm.get(path, f"{kind.rsplit('/', 1)[-1]} {named['name']}")["properties"].get("backendAddressPools") or []
            if not pools:
                raise Invalid(f"'{named['name']}' has no back-end pool", resource=path)
            pool = pools[0]["name"]
        return f"{path}/backendAddressPools/{pool}"


def _first(properties: Mapping[str, Any], network: Network, key: str) -> Any:
    """A value of the machine's type, else of the network: row 19 of the CPI contract's table."""
    value = properties.get(key)
    return network.cloud_properties.get(key) if value is None else value


def listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def answered(networks: Sequence[Network], subnets: Mapping[str, Subnet], addresses: Mapping[str, str]) -> tuple[Network, ...]:
    """The networks asked for, in their order, with what Azure chose. `subnets` and `addresses` are by the network's name."""
    result = []
    for network in networks:
        if network.type == "dynamic":
            whole = subnets[network.name].range
            network = dataclasses.replace(network, ip=addresses[network.name])
            if whole is not None:
                network = dataclasses.replace(network, prefix_length=whole.prefixlen, gateway=str(whole[1]))
        result.append(network)
    return tuple(result)
