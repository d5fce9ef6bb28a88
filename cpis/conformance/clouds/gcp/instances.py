"""Machines of the fake: made, attached to disks, labelled, restarted and deleted, each by an operation."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Any

from cpis.conformance.clouds.gcp import checks
from cpis.conformance.clouds.gcp.checks import invalid
from cpis.conformance.clouds.gcp.world import Body, Failed, Operation, Refused, World, not_found, now_text

_CUSTOM = re.compile(r"(?:(e2|n2|n2d|n4)-)?custom-(\d+)-(\d+)")
_SPARE_PUBLIC = "198.51.100."


def insert(world: World, zone: str, body: Body) -> Operation:
    """Raises Refused for what can be seen at once; the rest comes in the operation."""
    checks.fields(body, checks.INSTANCE)
    name = checks.name(body)
    path = f"zones/{zone}/instances/{name}"
    if path in world.things:
        raise Refused(409, "alreadyExists", f"The resource 'projects/{world.project}/{path}' already exists")
    made: Body = {
        "status": "PROVISIONING", "zone": world.link(f"zones/{zone}"), "machineType": _machine_type(world, zone, body.get("machineType")),
        "canIpForward": bool(body.get("canIpForward")), "labels": checks.labels(body.get("labels")),
        "labelFingerprint": world.fingerprint(), "scheduling": _scheduling(world, zone, body),
        "metadata": {"kind": "compute#metadata", "fingerprint": world.fingerprint(), "items": checks.metadata(body.get("metadata"))},
        "tags": {"fingerprint": world.fingerprint(), "items": checks.tags(body.get("tags"))},
        "serviceAccounts": _accounts(body.get("serviceAccounts")), "guestAccelerators": body.get("guestAccelerators") or [],
        "networkInterfaces": _nics(world, zone, body.get("networkInterfaces")),
        "disks": [], "cpuPlatform": "Intel Broadwell", "deletionProtection": False,
    }
    disks = _boot(world, zone, path, body.get("disks"))
    instance = world.put(path, made)
    for attached, disk in disks:
        if disk is not None:
            at, content = disk
            world.put(at, content)
        instance["disks"].append({**attached, "index": len(instance["disks"])})

    def up() -> None:
        if path not in world.things:
            return
        world.quota("INSTANCES", "instances")
        _take_addresses(world, path, instance)
        instance["status"], instance["lastStartTimestamp"] = "RUNNING", now_text()
        for _, disk in disks:
            if disk is not None and disk[0] in world.things:
                world.things[disk[0]]["status"] = "READY"

    return world.operate("insert", path, up, lambda: _vanish(world, path))


def _machine_type(world: World, zone: str, link: Any) -> str:
    path = world.path(str(link))
    name = path.rsplit("/", 1)[-1]
    custom = _CUSTOM.fullmatch(name)
    if not path.startswith(f"zones/{zone}/machineTypes/"):
        raise invalid("resource.machineType", link, f"The machine type must be in zone '{zone}'.")
    if custom:
        cpus, memory = int(custom.group(2)), int(custom.group(3))
        least = 0.9 * 1024 * cpus if custom.group(1) is None else 256
        if cpus < 1 or (cpus > 1 and cpus % 2) or memory % 256 or memory < least:
            raise invalid("resource.machineType", link, f"Custom machine type with {cpus} CPUs and {memory} MB is not supported.")
    elif path not in world.things:
        raise invalid("resource.machineType", link, f"Machine type with name '{name}' does not exist in zone '{zone}'.")
    return world.link(path)


def _scheduling(world: World, zone: str, body: Body) -> Body:
    found = checks.fields(body.get("scheduling") or {}, checks.SCHEDULING, "scheduling")
    short = found.get("preemptible") or found.get("provisioningModel") == "SPOT"
    if short and found.get("automaticRestart"):
        raise Refused(400, "invalid", "Scheduling must have automaticRestart = false when preemptible is true.")
    if (short or body.get("guestAccelerators")) and found.get("onHostMaintenance") == "MIGRATE":
        raise Refused(400, "invalid", "Scheduling must have onHostMaintenance = TERMINATE for this machine.")
    for accelerator in body.get("guestAccelerators") or []:
        checks.in_zone(world, accelerator.get("acceleratorType"), zone, "acceleratorTypes", "resource.guestAccelerators.acceleratorType")
    for affinity in found.get("nodeAffinities") or []:
        for value in affinity.get("values") or []:
            checks.in_zone(world, f"zones/{zone}/nodeGroups/{value}", zone, "nodeGroups", "resource.scheduling.nodeAffinities")
    return {"onHostMaintenance": "MIGRATE", "automaticRestart": True, "preemptible": False, "provisioningModel": "STANDARD", **found}


def _accounts(found: Any) -> list[Body]:
    accounts = found or []
    if len(accounts) > 1 or any(not account.get("email") or not account.get("scopes") for account in accounts):
        raise invalid("resource.serviceAccounts", accounts, "At most one account, with scopes.")
    for scope in (scope for account in accounts for scope in account["scopes"]):
        if not str(scope).startswith("https://www.googleapis.com/auth/"):
            raise invalid("resource.serviceAccounts.scopes", scope, "It is no scope.")
    return list(accounts)


def _nics(world: World, zone: str, found: Any) -> list[Body]:
    if not isinstance(found, list) or not found:
        raise invalid("resource.networkInterfaces", "", "At least one network interface is required.")
    result = []
    for number, nic in enumerate(found):
        field = f"resource.networkInterfaces[{number}]"
        checks.fields(nic, checks.NIC, "network_interfaces")
        subnet = _subnet(world, zone, nic, field)
        if nic.get("networkIP"):
            try:
                inside = ip_address(nic["networkIP"]) in ip_network(subnet["ipCidrRange"])
            except ValueError as error:
                raise invalid(f"{field}.networkIP", nic["networkIP"], "It is no IP address.") from error
            if not inside:
                raise invalid(f"{field}.networkIP", nic["networkIP"], f"Requested internal IP address is outside {subnet['ipCidrRange']}.")
        for access in nic.get("accessConfigs") or []:
            checks.fields(access, checks.ACCESS, "access_configs")
            if access.get("natIP") and not any(body.get("address") == access["natIP"] for body in _addresses(world, zone)):
                raise invalid(
                    f"{field}.accessConfigs[0].natIP", access["natIP"],
                    f"The specified external IP address '{access['natIP']}' was not found in region '{zone.rpartition('-')[0]}'.")
        result.append({
            "name": f"nic{number}", "network": subnet["network"], "subnetwork": subnet["selfLink"], "networkIP": nic.get("networkIP", ""),
            "accessConfigs": [{"kind": "compute#accessConfig", **access} for access in nic.get("accessConfigs") or []]})
    if len({nic["network"] for nic in result}) != len(result):
        raise Refused(400, "invalid", "Networks must be distinct for NICs attached to a VM.")
    return result


def _subnet(world: World, zone: str, nic: Body, field: str) -> Body:
    region = zone.rpartition("-")[0]
    if nic.get("subnetwork"):
        found = _anywhere(world, nic["subnetwork"])
        if found is None or f"/regions/{region}/" not in found["selfLink"]:
            raise invalid(f"{field}.subnetwork", nic["subnetwork"], "The referenced subnetwork resource cannot be found.")
        if nic.get("network") and _anywhere(world, nic["network"]) is not _anywhere(world, found["network"]):
            raise invalid(f"{field}.subnetwork", nic["subnetwork"], "The subnetwork is not in the network.")
        return found
    network = _anywhere(world, nic.get("network") or "global/networks/default")
    if network is None:
        raise invalid(f"{field}.network", nic.get("network"), "The referenced network resource cannot be found.")
    if not network.get("autoCreateSubnetworks"):
        raise invalid(f"{field}.subnetwork", "", "Subnetwork should be specified for custom subnetmode network")
    return world.things[f"regions/{region}/subnetworks/default"]


def _anywhere(world: World, link: str) -> Body | None:
    _, found, rest = link.partition("projects/")
    return world.things.get(world.path(link)) or (world.foreign.get(rest) if found else None)


def _addresses(world: World, zone: str) -> list[Body]:
    return world.within(f"regions/{zone.rpartition('-')[0]}/addresses")


def _boot(world: World, zone: str, instance: str, found: Any) -> list[tuple[Body, tuple[str, Body] | None]]:
    """The attached disks, each with the disk that is made for it."""
    if not isinstance(found, list) or [bool(disk.get("boot")) for disk in found].count(True) != 1 or not found[0].get("boot"):
        raise invalid("resource.disks", "", "The first disk, and only it, must be a boot disk.")
    result: list[tuple[Body, tuple[str, Body] | None]] = []
    for number, disk in enumerate(found):
        checks.fields(disk, checks.ATTACHED, "disks")
        initial = checks.fields(disk.get("initializeParams") or {}, checks.INITIAL, "initialize_params")
        attached: Body = {
            "kind": "compute#attachedDisk", "type": disk.get("type", "PERSISTENT"), "mode": disk.get("mode", "READ_WRITE"),
            "boot": bool(disk.get("boot")), "autoDelete": bool(disk.get("autoDelete")),
            "deviceName": disk.get("deviceName") or f"persistent-disk-{number}"}
        if attached["type"] == "SCRATCH":
            kind = checks.in_zone(world, initial.get("diskType"), zone, "diskTypes", f"resource.disks[{number}].initializeParams.diskType")
            if not kind.endswith("/local-ssd") or not attached["autoDelete"]:
                raise invalid(f"resource.disks[{number}]", kind, "SCRATCH disks must be local-ssd and autoDelete.")
            result.append((attached, None))
            continue
        size = _image_size(world, initial.get("sourceImage"))
        wanted = checks.whole(initial.get("diskSizeGb", size), "resource.disks.initializeParams.diskSizeGb")
        if wanted < size:
            raise invalid(f"resource.disks[{number}].initializeParams.diskSizeGb", wanted,
                          f"Requested disk size cannot be smaller than the image size ({size} GB)")
        kind = f"zones/{zone}/diskTypes/pd-standard"
        if initial.get("diskType"):
            kind = checks.in_zone(world, initial["diskType"], zone, "diskTypes", f"resource.disks[{number}].initializeParams.diskType")
        path = f"zones/{zone}/disks/{initial.get('diskName') or instance.rsplit('/', 1)[-1]}"
        if path in world.things:
            raise Refused(409, "alreadyExists", f"The resource 'projects/{world.project}/{path}' already exists")
        attached["source"] = world.link(path)
        result.append((attached, (path, {
            "status": "CREATING", "sizeGb": str(wanted), "type": world.link(kind), "zone": world.link(f"zones/{zone}"),
            "users": [world.link(instance)], "labels": checks.labels(initial.get("labels")), "labelFingerprint": world.fingerprint(),
            "sourceImage": initial.get("sourceImage"), "lastAttachTimestamp": now_text()})))
    return result


def _image_size(world: World, link: Any) -> int:
    text = str(link or "")
    if "/family/" in text:
        raise invalid("resource.disks[0].initializeParams.sourceImage", link, "Give the image itself to this fake.")
    image = _anywhere(world, text)
    if image is None:
        raise not_found(world.project, world.path(text).partition("projects/")[2] or world.path(text))
    if image.get("status") != "READY":
        raise Refused(400, "resourceNotReady", f"The resource '{world.path(text)}' is not ready")
    return int(image["diskSizeGb"])


def _take_addresses(world: World, path: str, instance: Body) -> None:
    for nic in instance["networkInterfaces"]:
        others = [
            other for at, body in world.things.items() if "/instances/" in at and at != path
            for other in body["networkInterfaces"] if other["subnetwork"] == nic["subnetwork"]]
        taken = {other["networkIP"] for other in others}
        if nic["networkIP"] in taken:
            raise Failed("IP_IN_USE_BY_ANOTHER_RESOURCE", f"IP '{nic['networkIP']}' is already being used by another resource.")
        if not nic["networkIP"]:
            subnet = _anywhere(world, nic["subnetwork"])
            assert subnet is not None
            hosts = (str(host) for host in list(ip_network(subnet["ipCidrRange"]).hosts())[1:])
            nic["networkIP"] = next(host for host in hosts if host not in taken)
        for access in nic["accessConfigs"]:
            if not access.get("natIP"):
                access["natIP"] = _SPARE_PUBLIC + str(len(world.operations) % 254 + 1)
                continue
            address = next(body for body in world.things.values() if body.get("address") == access["natIP"])
            if address["status"] == "IN_USE":
                raise Failed("IP_IN_USE_BY_ANOTHER_RESOURCE", f"IP '{access['natIP']}' is already being used by another resource.")
            address.update(status="IN_USE", users=[world.link(path)])


def _vanish(world: World, path: str) -> None:
    """The machine goes, with its autoDelete disks; other disks stay."""
    instance = world.things.pop(path, None)
    if instance is None:
        return
    for attached in instance["disks"]:
        disk = world.path(attached.get("source", ""))
        if disk in world.things:
            if attached["autoDelete"]:
                del world.things[disk]
            else:
                world.things[disk].update(users=[], lastDetachTimestamp=now_text())
    for body in world.things.values():
        if world.link(path) in body.get("users", ()) and "address" in body:
            body.update(status="RESERVED", users=[])
        if world.link(path) in body.get("_members", ()):
            body["_members"].remove(world.link(path))


def delete(world: World, path: str) -> Operation:
    instance = world.get(path)
    if instance.get("deletionProtection"):
        raise Refused(400, "invalid", "Resource cannot be deleted if it's protected against deletion.")
    instance["status"] = "STOPPING"
    return world.operate("delete", path, lambda: _vanish(world, path))


def power(world: World, path: str, verb: str) -> Operation:
    """reset, start, stop or resume."""
    instance = world.get(path)
    if verb == "reset" and instance["status"] != "RUNNING":
        raise Refused(400, "resourceNotReady", f"The resource '{path}' is not ready")

    def effect() -> None:
        instance["status"] = "TERMINATED" if verb == "stop" else "RUNNING"

    return world.operate(verb, path, effect)


def attach(world: World, path: str, body: Body) -> Operation:
    instance = world.get(path)
    zone = path.split("/")[1]
    checks.fields(body, checks.ATTACHED)
    source = world.path(str(body.get("source")))
    if not source.startswith(f"zones/{zone}/disks/"):
        raise invalid("resource.source", body.get("source"), f"Disk must be in zone '{zone}'.")
    if source not in world.things:
        raise not_found(world.project, source)
    device = body.get("deviceName") or f"persistent-disk-{len(instance['disks'])}"
    if any(attached["deviceName"] == device and attached.get("source") != world.link(source) for attached in instance["disks"]):
        raise invalid("resource.deviceName", device, "The specified device name is already being used.")

    def effect() -> None:
        disk = world.things.get(source)
        if disk is None or path not in world.things:
            raise Failed("RESOURCE_NOT_FOUND", f"The resource 'projects/{world.project}/{source}' was not found")
        if disk["users"]:
            raise Failed(
                "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
                f"The disk resource 'projects/{world.project}/{source}' is already being used by '{world.path(disk['users'][0])}'")
        disk.update(users=[world.link(path)], lastAttachTimestamp=now_text())
        instance["disks"].append({
            "kind": "compute#attachedDisk", "type": "PERSISTENT", "mode": body.get("mode", "READ_WRITE"), "source": world.link(source),
            "deviceName": device, "index": len(instance["disks"]), "boot": False, "autoDelete": bool(body.get("autoDelete"))})

    return world.operate("attachDisk", path, effect)


def detach(world: World, path: str, device: str) -> Operation:
    instance = world.get(path)
    attached = next((disk for disk in instance["disks"] if disk["deviceName"] == device), None)
    if attached is None:
        raise invalid("deviceName", device, f"No attached disk found with device name '{device}'")

    def effect() -> None:
        if attached in instance["disks"]:
            instance["disks"].remove(attached)
        disk = world.things.get(world.path(attached["source"]))
        if disk is not None:
            disk.update(users=[], lastDetachTimestamp=now_text())

    return world.operate("detachDisk", path, effect)


def auto_delete(world: World, path: str, device: str, wanted: bool) -> Operation:
    attached = next((disk for disk in world.get(path)["disks"] if disk["deviceName"] == device), None)
    if attached is None:
        raise invalid("deviceName", device, f"No attached disk found with device name '{device}'")
    return world.operate("setDiskAutoDelete", path, lambda: attached.update(autoDelete=wanted))


def set_metadata(world: World, path: str, body: Body) -> Operation:
    instance = world.get(path)
    items = checks.metadata(body)
    checks.fresh(body, "fingerprint", instance["metadata"]["fingerprint"])
    return world.operate(
        "setMetadata", path, lambda: instance.update(metadata={"fingerprint": world.fingerprint(), "items": items}))


def set_labels(world: World, path: str, body: Body) -> Operation:
    """Of machines, disks, snapshots and images."""
    thing = world.get(path)
    checks.fields(body, {"labels", "labelFingerprint"})
    labels = checks.labels(body.get("labels"))
    checks.fresh(body, "labelFingerprint", thing["labelFingerprint"])
    thing["labelFingerprint"] = world.fingerprint()
    return world.operate("setLabels", path, lambda: thing.update(labels=labels))
