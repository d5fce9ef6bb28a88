"""Microsoft.Network of the pretended cloud: interfaces and public addresses; virtual networks and the rest are seeds that are only read."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network

from cpis.conformance.clouds.azure.store import Operation, Refused, Store, Tree

VNET = "Microsoft.Network/virtualNetworks"
NIC = "Microsoft.Network/networkInterfaces"
PIP = "Microsoft.Network/publicIPAddresses"
_REFERENCES = ("publicIPAddress", "applicationSecurityGroups", "loadBalancerBackendAddressPools", "applicationGatewayBackendAddressPools")


def _refs(value: object) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [str(item["id"]) for item in items if isinstance(item, dict) and "id" in item]


def _must_exist(store: Store, identity: str, by: str) -> None:
    """Subnets and back-end pools are parts of their parents' resources."""
    parts = identity.split("/")
    found = store.find(identity)
    if found is None and len(parts) == 11:
        parent = store.find("/".join(parts[:9]))
        members = (parent or {"properties": {}})["properties"].get(parts[9]) or []
        if any(str(item["name"]).lower() == parts[10].lower() for item in members):
            return
    if found is None:
        raise Refused(400, "InvalidResourceReference", f"Resource {identity} referenced by resource {by} was not found.")


def subnet_range(store: Store, identity: str, by: str) -> IPv4Network:
    _must_exist(store, identity, by)
    vnet = store.get("/".join(identity.split("/")[:9]))
    name = identity.rsplit("/", 1)[-1].lower()
    return next(IPv4Network(item["properties"]["addressPrefix"]) for item in vnet["properties"]["subnets"] if item["name"].lower() == name)


def _holder(store: Store, subnet: str, address: str, but: str) -> str:
    for nic in store.of_type(NIC):
        for config in nic["properties"]["ipConfigurations"] if nic["id"].lower() != but.lower() else []:
            inner = config["properties"]
            if inner["privateIPAddress"] == address and inner["subnet"]["id"].lower() == subnet.lower():
                return f"{nic['id']}/ipConfigurations/{config['name']}"
    return ""


def _address(store: Store, config: Tree, nic: str, kept: str) -> str:
    inner = config["properties"]
    subnet = inner["subnet"]["id"]
    whole = subnet_range(store, subnet, nic)
    wanted = inner.get("privateIPAddress", "")
    if inner.get("privateIPAllocationMethod", "Dynamic") == "Dynamic":
        if kept:
            return kept
        free = (str(item) for item in itertools.islice(whole.hosts(), 3, None) if not _holder(store, subnet, str(item), nic))
        found = next(free, "")
        if not found:
            raise Refused(400, "SubnetIsFull", f"Subnet {subnet} with address prefix {whole} does not have enough capacity.")
        return found
    if IPv4Address(wanted) not in whole:
        raise Refused(
            400, "PrivateIPAddressNotInSubnet",
            f"Private static IP address {wanted} does not belong to the range of subnet prefix {whole}.")
    if IPv4Address(wanted) in list(itertools.islice(whole, 4)) or IPv4Address(wanted) == whole.broadcast_address:
        raise Refused(
            400, "PrivateIPAddressInReservedRange", f"Private static IP address {wanted} falls within reserved IP range of subnet {whole}.")
    holder = _holder(store, subnet, wanted, nic)
    if holder:
        raise Refused(400, "PrivateIPAddressInUse", f"IP configuration {nic}/ipConfigurations/{config['name']} is using the private IP "
                      f"address {wanted} which is already allocated to resource {holder}.")
    return str(wanted)


def put_nic(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    """Take effect at once, as the service nearly always does."""
    properties = body["properties"]
    old = store.find(identity)
    if "networkSecurityGroup" in properties:
        _must_exist(store, properties["networkSecurityGroup"]["id"], identity)
    configs = []
    for number, config in enumerate(properties["ipConfigurations"]):
        for key in _REFERENCES:
            for reference in _refs(config["properties"].get(key)):
                _must_exist(store, reference, identity)
        kept = old["properties"]["ipConfigurations"][number]["properties"]["privateIPAddress"] if old else ""
        address = _address(store, config, identity, kept)
        configs.append({**config, "id": f"{identity}/ipConfigurations/{config['name']}", "properties": {
            "privateIPAllocationMethod": "Dynamic", **config["properties"], "privateIPAddress": address, "provisioningState": "Succeeded"}})
        for reference in _refs(config["properties"].get("publicIPAddress")):
            public = store.get(reference)
            used = public["properties"].get("ipConfiguration", {}).get("id", "")
            if used and not used.lower().startswith(identity.lower() + "/"):
                raise Refused(400, "PublicIPAddressInUse", f"Resource {identity} is referencing public IP address {reference} that is "
                              f"already allocated to resource {used}.")
            public["properties"]["ipConfiguration"] = {"id": configs[-1]["id"]}
    machine = {"virtualMachine": old["properties"]["virtualMachine"]} if old and "virtualMachine" in old["properties"] else {}
    nic = store.put(identity, NIC, body, {**properties, **machine, "ipConfigurations": configs, "provisioningState": "Succeeded"})
    return nic, None


def delete_nic(store: Store, identity: str) -> Operation | None:
    nic = store.find(identity)
    if nic is None:
        return None
    machine = nic["properties"].get("virtualMachine", {}).get("id", "")
    if machine and store.find(machine):
        raise Refused(400, "NicInUse", f"Network Interface {identity} is used by existing resource {machine}.")
    if nic.get("_reserved_until", 0.0) > store.clock():
        raise Refused(
            400, "NicReservedForAnotherVm", f"Nic(s) in request is reserved for another Virtual Machine for 180 seconds: {identity}.")
    return store.begin(identity, lambda: drop_nic(store, identity))


def drop_nic(store: Store, identity: str) -> Tree | None:
    """Remove it, and the public addresses that go with it."""
    nic = store.find(identity)
    for config in nic["properties"]["ipConfigurations"] if nic else []:
        public = config["properties"].get("publicIPAddress")
        for reference in _refs(public):
            found = store.find(reference)
            if found is None:
                continue
            found["properties"].pop("ipConfiguration", None)
            if isinstance(public, dict) and (public.get("properties") or {}).get("deleteOption") == "Delete":
                store.drop(reference)
    store.drop(identity)
    return None


def put_public_ip(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    old = store.find(identity)
    used = {item["properties"]["ipAddress"] for item in store.of_type(PIP)}
    address = old["properties"]["ipAddress"] if old else next(f"52.166.0.{n}" for n in range(4, 250) if f"52.166.0.{n}" not in used)
    kept = {"ipConfiguration": old["properties"]["ipConfiguration"]} if old and "ipConfiguration" in old["properties"] else {}
    properties = {**body["properties"], **kept, "ipAddress": address, "provisioningState": "Succeeded"}
    return store.put(identity, PIP, body, properties), None


def delete_public_ip(store: Store, identity: str) -> Operation | None:
    public = store.find(identity)
    if public is None:
        return None
    user = public["properties"].get("ipConfiguration", {}).get("id", "")
    if user:
        raise Refused(400, "PublicIPAddressCannotBeDeleted", f"Public IP address {identity} can not be deleted since it is still allocated "
                      f"to resource {user}.")
    return store.begin(identity, lambda: store.drop(identity))


def check_address(store: Store, vnet: str, address: str) -> Tree:
    """CheckIPAddressAvailability."""
    for subnet in store.get(vnet)["properties"]["subnets"]:
        if IPv4Address(address) in IPv4Network(subnet["properties"]["addressPrefix"]):
            return {"available": not _holder(store, f"{vnet}/subnets/{subnet['name']}", address, "")}
    raise Refused(400, "PrivateIPAddressNotInAnySubnet", f"The private IP address {address} is in no subnet of {vnet}.")
