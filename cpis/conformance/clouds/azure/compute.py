"""Virtual machines of the pretended cloud."""

from __future__ import annotations

import copy
import re
import uuid
from typing import Any

from cpis.conformance.clouds.azure import network
from cpis.conformance.clouds.azure.disks import DISK
from cpis.conformance.clouds.azure.store import Operation, Refused, Size, Store, Tree

VM = "Microsoft.Compute/virtualMachines"
SETS = "Microsoft.Compute/availabilitySets"
SIZES: dict[str, Size] = {
    "Standard_B1s": (1, 1, 4096, 2, "123", True, "standardBSFamily"),
    "Standard_B2s": (2, 4, 8192, 4, "123", True, "standardBSFamily"),
    "Standard_D2s_v5": (2, 8, 0, 4, "123", True, "standardDSv5Family"),
    "Standard_D4s_v5": (4, 16, 0, 8, "123", True, "standardDSv5Family"),
    "Standard_D8ds_v5": (8, 32, 307200, 16, "12", True, "standardDDSv5Family"),
    "Standard_D2ps_v5": (2, 8, 0, 4, "123", True, "standardDPSv5Family"),
    "Standard_E16s_v5": (16, 128, 0, 32, "1", True, "standardESv5Family"),
    "Standard_NC6s_v3": (6, 112, 344064, 12, "", True, "standardNCSv3Family"),
}


def sizes(store: Store) -> dict[str, Size]:
    """All of this region."""
    return {**SIZES, **store.more_sizes}


_FORBIDDEN_USERS = ("root", "admin", "administrator", "user", "test", "guest")


def put_vm(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    if store.find(identity) is not None:
        return _update(store, identity, {**body, "tags": body.get("tags") or {}}, whole=True)
    _check(store, identity, body)
    properties = copy.deepcopy(body["properties"])
    storage, name = properties["storageProfile"], identity.rsplit("/", 1)[-1]
    group = identity.split("/")[4]
    data = storage.setdefault("dataDisks", [])
    attached = [disk for disk in data if disk["createOption"] == "Attach"]
    made = [(storage["osDisk"], "FromImage"), *((disk, "Empty") for disk in data if disk not in attached)]
    for disk in attached:
        found = store.get(disk["managedDisk"]["id"])
        if found.get("managedBy"):
            raise Refused(409, "ConflictingUserInput", f"Disk '{found['name']}' is already owned by VM '{found['managedBy']}'.")
        found["managedBy"], disk["name"] = identity, found["name"]
        found["properties"]["diskState"] = "Attached"
    for number, (disk, option) in enumerate(made):
        disk_id = store.id_of(group, DISK, disk.setdefault("name", f"{name}_disk{number}"))
        if store.find(disk_id) is not None:
            raise Refused(409, "ConflictingUserInput", f"Disk {disk['name']} already exists in resource group {group}.")
        size = disk.setdefault("diskSizeGB", 30)
        managed = disk.setdefault("managedDisk", {})
        made_disk = store.put(disk_id, DISK, {
            "location": body["location"], "zones": body.get("zones"), "tags": body.get("tags"),
            "sku": {"name": managed.get("storageAccountType", "Premium_LRS")}},
            {"diskSizeGB": size, "creationData": {"createOption": option}, "provisioningState": "Succeeded", "diskState": "Attached"})
        made_disk["managedBy"] = identity
        managed["id"] = disk_id
    secrets = {key: properties["osProfile"].pop(key, None) for key in ("customData", "adminPassword")}
    properties.update(vmId=str(uuid.uuid4()), provisioningState="Creating")
    machine = store.put(identity, VM, body, properties)
    machine.update(_secrets=secrets, _power="starting")
    for interface in properties["networkProfile"]["networkInterfaces"]:
        store.get(interface["id"])["properties"]["virtualMachine"] = {"id": identity}
    late = store.late is not None
    operation = store.begin(identity, lambda: _started(store, identity))
    if late:
        for interface in properties["networkProfile"]["networkInterfaces"]:
            store.get(interface["id"])["_reserved_until"] = operation.ready_at + store.switches.nic_reserved_seconds
    return machine, operation


def _started(store: Store, identity: str) -> Tree | None:
    machine = store.find(identity)
    if machine is not None:
        machine["_power"] = "running"
        machine["properties"]["provisioningState"] = "Succeeded"
    return None


def _check(store: Store, identity: str, body: Tree) -> None:
    name, properties = identity.rsplit("/", 1)[-1], body["properties"]
    if len(name) > 64:
        raise Refused(400, "InvalidParameter", f"The entity name '{name}' is invalid: it is longer than 64 characters.")
    size = properties["hardwareProfile"]["vmSize"]
    known = sizes(store)
    if size not in known:
        raise Refused(400, "InvalidParameter", f"The value {size} provided for the VM size is not valid. The valid sizes in the "
                      f"current region are: {','.join(known)}.")
    cores, *_, zones, _, family = known[size]
    for zone in body.get("zones") or []:
        if zone not in zones:
            raise Refused(409, "SkuNotAvailable", f"The requested VM size {size} is not available in location '{body['location']}' zone "
                          f"'{zone}'. Please try another size or deploy to a different location or different zone.")
    used = sum(known[item["properties"]["hardwareProfile"]["vmSize"]][0] for item in store.of_type(VM))
    quota = store.switches.cores_quota
    if used + cores > quota:
        raise Refused(409, "OperationNotAllowed", f"Operation could not be completed as it results in exceeding approved {family} "
                      f"Cores quota. Additional details - Deployment Model: Resource Manager, Location: {body['location']}, Current Limit: "
                      f"{quota}, Current Usage: {used}, Additional Required: {cores}, (Minimum) New Limit Required: {used + cores}.")
    profile = properties["osProfile"]
    if profile["adminUsername"].lower() in _FORBIDDEN_USERS:
        raise Refused(400, "InvalidParameter", "The Admin Username specified is not allowed.")
    if len(profile.get("customData") or "") > 87380:
        raise Refused(400, "InvalidParameter", "Custom data in OSProfile must be in Base64 encoding and with a maximum length of "
                      "87380 characters.")
    for key in profile["linuxConfiguration"]["ssh"]["publicKeys"]:
        if key["path"] != f"/home/{profile['adminUsername']}/.ssh/authorized_keys":
            raise Refused(400, "InvalidParameter", "Destination path for SSH public keys is currently limited to its default value.")
    _check_image(store, properties["storageProfile"]["imageReference"])
    for reference in [*properties["networkProfile"]["networkInterfaces"], *filter(None, [properties.get("availabilitySet")])]:
        store.get(reference["id"])
    for encrypted in re.findall(r"/subscriptions/[^'\"]*/diskEncryptionSets/[\w.-]+", str(properties)):
        store.get(encrypted)
    for assigned in (body.get("identity") or {}).get("userAssignedIdentities") or {}:
        store.get(assigned)


def _check_image(store: Store, reference: Tree) -> None:
    if "id" in reference:
        identity = str(reference["id"])
        if store.find(identity) is None:
            code = "GalleryImageNotFound" if "/galleries/" in identity.lower() else "ResourceNotFound"
            raise Refused(404, code, f"The image '{identity}' was not found.")
        return
    path = "/".join(str(reference[key]) for key in ("publisher", "offer", "sku", "version"))
    if path not in MARKET and not path.endswith("/latest"):
        raise Refused(404, "PlatformImageNotFound", f"The platform image '{path.replace('/', ':')}' is not available.")


MARKET = ("Debian/debian-12/12-gen2/0.20250814.2204", "Debian/debian-12/12-gen2/0.20251006.2257")


def patch_vm(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    return _update(store, identity, body, whole=False)


def _update(store: Store, identity: str, body: Tree, *, whole: bool) -> tuple[Tree, Operation | None]:
    machine = store.get(identity)
    _not_busy(store, identity)
    properties = body.get("properties") or {}
    for path, new in (("osProfile.customData", (properties.get("osProfile") or {}).get("customData")),):
        if new is not None and new != machine["_secrets"]["customData"]:
            raise Refused(409, "PropertyChangeNotAllowed", f"Changing property '{path}' is not allowed.")
    if body.get("tags") is not None:
        machine["tags"] = dict(body["tags"])
    size = (properties.get("hardwareProfile") or {}).get("vmSize")
    if size:
        machine["properties"]["hardwareProfile"]["vmSize"] = size
    disks = (properties.get("storageProfile") or {}).get("dataDisks")
    if disks is not None:
        _check_disks(store, machine, disks)
    if disks is None and not whole:
        return machine, None
    return machine, store.begin(identity, lambda: _apply_disks(store, machine, disks) if disks is not None else None)


def _not_busy(store: Store, identity: str) -> None:
    if store.busy(identity):
        raise Refused(409, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress. To retrieve "
                      "status of the operation use uri: (not given here).")


def _check_disks(store: Store, machine: Tree, wanted: list[Tree]) -> None:
    limit = sizes(store)[machine["properties"]["hardwareProfile"]["vmSize"]][3]
    if len(wanted) > limit:
        raise Refused(
            409, "OperationNotAllowed", f"The maximum number of data disks allowed to be attached to a VM of this size is {limit}.")
    luns = [disk["lun"] for disk in wanted]
    if len(set(luns)) != len(luns):
        raise Refused(409, "ConflictingUserInput", "More than one data disk is at the same logical unit number (LUN).")
    for disk in wanted:
        found = store.get(disk["managedDisk"]["id"])
        owner = found.get("managedBy", "")
        if owner and owner.lower() != machine["id"].lower():
            raise Refused(
                409, "ConflictingUserInput", f"Disk '{found['name']}' cannot be attached as the disk is already owned by VM '{owner}'.")
        if (found.get("zones") or []) != (machine.get("zones") or []) and not found["sku"]["name"].endswith("_ZRS"):
            raise Refused(400, "BadRequest", f"Disk {found['id']} cannot be attached to the VM because it is not in zone "
                          f"'{''.join(machine.get('zones') or ['none'])}'.")


def _apply_disks(store: Store, machine: Tree, wanted: list[Tree]) -> Tree | None:
    _check_disks(store, machine, wanted)
    storage = machine["properties"]["storageProfile"]
    ids = {disk["managedDisk"]["id"].lower() for disk in wanted}
    for disk in storage["dataDisks"]:
        found = store.find(disk["managedDisk"]["id"])
        if found is not None and disk["managedDisk"]["id"].lower() not in ids:
            found.pop("managedBy", None)
            found["properties"]["diskState"] = "Unattached"
    for disk in wanted:
        found = store.get(disk["managedDisk"]["id"])
        found["managedBy"] = machine["id"]
        found["properties"]["diskState"] = "Attached"
    storage["dataDisks"] = [
        {"caching": "None", "deleteOption": "Detach", "createOption": "Attach", "name": disk["managedDisk"]["id"].split("/")[-1], **disk}
        for disk in wanted]
    return None


def vm_action(store: Store, identity: str, action: str, body: Tree) -> Operation:
    machine = store.get(identity)
    _not_busy(store, identity)
    if action == "attachdetachdatadisks":
        return _attach_detach(store, machine, body)
    power = {"restart": "running", "start": "running", "poweroff": "stopped", "deallocate": "deallocated"}[action]
    if action == "restart" and machine["_power"] != "running":
        raise Refused(409, "OperationNotAllowed", f"Cannot restart VM '{machine['name']}' since it is not running.")

    def finish() -> None:
        machine["_power"] = power
    return store.begin(identity, finish)


def _attach_detach(store: Store, machine: Tree, body: Tree) -> Operation:
    now = machine["properties"]["storageProfile"]["dataDisks"]
    detach = {item["diskId"].lower() for item in body.get("dataDisksToDetach") or []}
    there = {disk["managedDisk"]["id"].lower() for disk in now}
    if detach - there:
        raise Refused(400, "InvalidParameter", f"The disk {sorted(detach - there)[0]} is not attached to the VM.")
    wanted = [disk for disk in now if disk["managedDisk"]["id"].lower() not in detach]
    for item in body.get("dataDisksToAttach") or []:
        if item["diskId"].lower() in there:
            raise Refused(409, "ConflictingUserInput", f"Disk '{item['diskId'].rsplit('/', 1)[-1]}' is already attached to this VM.")
        wanted.append({"lun": item["lun"], "managedDisk": {"id": store.get(item["diskId"])["id"]}, "createOption": "Attach",
                       "caching": item.get("caching", "None"), "deleteOption": item.get("deleteOption", "Detach")})
    _check_disks(store, machine, wanted)
    return store.begin(machine["id"], lambda: _apply_disks(store, machine, wanted))


def delete_vm(store: Store, identity: str) -> Operation | None:
    machine = store.find(identity)
    if machine is None:
        return None
    machine["properties"]["provisioningState"] = "Deleting"
    return store.begin(identity, lambda: _deleted(store, machine))


def _deleted(store: Store, machine: Tree) -> Tree | None:
    """What was to be deleted with the machine goes, the rest is let go."""
    properties = machine["properties"]
    store.drop(machine["id"])
    failed = properties["provisioningState"] == "Failed"
    for interface in properties["networkProfile"]["networkInterfaces"]:
        nic = store.find(interface["id"])
        if nic is not None:
            nic["properties"].pop("virtualMachine", None)
            reserved = nic.get("_reserved_until", 0.0) > store.clock()
            if (interface.get("properties") or {}).get("deleteOption") == "Delete" and not failed and not reserved:
                network.drop_nic(store, interface["id"])
    for disk in [properties["storageProfile"]["osDisk"], *properties["storageProfile"]["dataDisks"]]:
        found = store.find(disk["managedDisk"]["id"])
        if found is not None:
            found.pop("managedBy", None)
            found["properties"]["diskState"] = "Unattached"
            if disk.get("deleteOption") == "Delete":
                store.drop(found["id"])
    return None


def instance_view(machine: Tree) -> Tree:
    return {"statuses": [
        {"code": f"ProvisioningState/{str(machine['properties']['provisioningState']).lower()}", "level": "Info"},
        {"code": f"PowerState/{machine['_power']}", "level": "Info"}]}


def put_set(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    return store.put(identity, SETS, body, dict(body["properties"])), None


def delete_set(store: Store, identity: str) -> Operation | None:
    inside = [vm["name"] for vm in store.of_type(VM)
              if (vm["properties"].get("availabilitySet") or {}).get("id", "").lower() == identity.lower()]
    if inside:
        raise Refused(409, "OperationNotAllowed", f"Availability Set '{identity}' cannot be deleted. Before deleting an Availability Set "
                      f"please ensure that it does not contain any VM: {inside[0]}.")
    store.drop(identity)
    return None


def skus(store: Store, location: str) -> list[Tree]:
    """Microsoft.Compute/skus."""
    result = []
    for name, (cores, memory, own, disks, zones, premium, family) in sizes(store).items():
        values: dict[str, Any] = {
            "vCPUs": cores, "MemoryGB": memory, "MaxResourceVolumeMB": own, "MaxDataDiskCount": disks, "PremiumIO": premium,
            "CpuArchitectureType": "Arm64" if "DPS" in family else "x64", "GPUs": 1 if "NCS" in family else 0,
            "HyperVGenerations": "V1,V2", "AcceleratedNetworkingEnabled": cores > 1}
        result.append({
            "resourceType": "virtualMachines", "name": name, "family": family, "locations": [location],
            "locationInfo": [{"location": location, "zones": list(zones)}], "restrictions": [],
            "capabilities": [{"name": key, "value": str(value)} for key, value in values.items()]})
    return [*result, {"resourceType": "disks", "name": "Premium_LRS", "locations": [location], "capabilities": [], "restrictions": []}]
