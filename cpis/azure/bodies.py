"""The body of a machine's creation. Source: CPI contract, section 7.2."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.azure.arm import Tree
from cpis.azure.names import ephemeral_name, os_disk_name
from cpis.azure.settings import Settings
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.cloud.userdata import cloud_config, fit
from cpis.contract import Invalid, Login, Properties

CUSTOM_DATA_LIMIT = 65_535
"""Bytes of user data, after base64. Source: CPI contract, section 7.3."""
EPHEMERAL_LUN = 0
_FORBIDDEN_USERS = frozenset({
    "administrator", "admin", "user", "user1", "test", "user2", "test1", "user3", "admin1", "1", "123", "a", "actuser", "adm", "admin2",
    "aspnet", "backup", "console", "david", "guest", "john", "owner", "root", "server", "sql", "support", "support_388945a0", "sys",
    "test2", "test3", "user4", "user5",
})
_DISK_CACHES = {"cache-disk": "CacheDisk", "resource-disk": "ResourceDisk"}
_SLOW = "StandardSSD_LRS"


def checked(properties: Properties) -> dict[str, Any]:
    """The cloud properties of a machine, with defaults. Raises Invalid with what is wrong."""
    found = Schema.of("azure").check("vm_type", properties)
    if not found.get("instance_type") and not found.get("instance_types"):
        raise Invalid("cloud properties of a machine (azure): 'instance_type' is missing", suggestion="Standard_D2s_v5, for example.")
    if found.get("availability_zone") and found.get("availability_set"):
        raise Invalid("cloud properties of a machine (azure): of availability_zone and availability_set there can be one only")
    for name, disk in (("root_disk", found.get("root_disk")), ("ephemeral_disk", found.get("ephemeral_disk"))):
        size = (disk or {}).get("size")
        if size is not None and size < 1:
            raise Invalid(f"cloud properties of a machine (azure): {name}.size must be MiB, above 0, not {size}")
    identity = found.get("managed_identity")
    if identity and identity["type"] == "UserAssigned" and not identity.get("user_assigned_identity_name"):
        raise Invalid("cloud properties of a machine (azure): managed_identity.user_assigned_identity_name is missing")
    return found


def sizes(properties: Mapping[str, Any]) -> Sequence[str]:
    """The sizes to try, in their order."""
    listed = [str(item) for item in properties.get("instance_types") or []]
    first = str(properties.get("instance_type") or "")
    return list(dict.fromkeys([first, *listed] if first else listed))


def own_disk(properties: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ephemeral disk, with defaults, when there is to be one."""
    disk = properties.get("ephemeral_disk")
    if disk is None or disk.get("use_root_disk"):
        return None
    return {"size": 30 * 1024, "caching": "ReadWrite", **{key: value for key, value in disk.items() if value is not None}}


def disk_kind(settings: Settings, *wished: Any) -> str:
    """The first kind of disk that is wished, or a sound one that all sizes take."""
    return next((str(kind) for kind in wished if kind), "Standard_LRS" if settings.stack else _SLOW)


def user_data(login: Login, name: str) -> str:
    """Base64 for `customData`. Raises Invalid when it is too long."""
    if login.agent_settings:
        text = login.agent_settings
    else:
        text = cloud_config(login, name)
    data = base64.b64encode(text.encode()).decode()
    fit(data, CUSTOM_DATA_LIMIT, "Azure (after base64)")
    return data


def administrator(settings: Settings, login: Login) -> tuple[str, list[str]]:
    """Name and keys of the machine's administrator. Raises Invalid for a name that Azure forbids, or without a key."""
    user = str(settings.config.get("ssh_user") or login.user or "vcap")
    if user.lower() in _FORBIDDEN_USERS or not user.isprintable() or len(user) > 64:
        raise Invalid(f"Azure forbids '{user}' as the name of a machine's administrator", suggestion="Set ssh_user in the CPI config.")
    keys = [key.strip() for key in (login.public_key, str(settings.config.get("ssh_public_key") or "")) if key.strip()]
    if not keys:
        raise Invalid("a machine needs a key for its administrator", suggestion="Set ssh_public_key in the CPI config.")
    return user, keys


def machine(
    settings: Settings, name: str, size: str, properties: Mapping[str, Any], image: Mapping[str, Any], nics: Sequence[str], login: Login, *,
    location: str, zone: str, tags: Mapping[str, str], set_id: str, own: Tree | None,
) -> Tree:
    """The body of `PUT virtualMachines/{name}`. `own` is the entry of the ephemeral disk."""
    user, keys = administrator(settings, login)
    body: Tree = {"location": location, "tags": dict(tags), "properties": {
        "hardwareProfile": {"vmSize": size},
        "osProfile": {
            "computerName": name, "adminUsername": user, "customData": user_data(login, name),
            "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": [
                {"path": f"/home/{user}/.ssh/authorized_keys", "keyData": key} for key in keys]}}},
        "networkProfile": {"networkInterfaces": [
            {"id": nic, "properties": {"primary": number == 0, "deleteOption": "Delete"}} for number, nic in enumerate(nics)]},
        "storageProfile": {
            "imageReference": dict(image["reference"]), "osDisk": _root(settings, name, properties), "dataDisks": [own] if own else []}}}
    if zone:
        body["zones"] = [zone]
    if image.get("plan"):
        reference = image["reference"]
        body["plan"] = {"name": reference["sku"], "product": reference["offer"], "publisher": reference["publisher"]}
    identity = _identity(settings, properties)
    if identity:
        body["identity"] = identity
    _placement(settings, body["properties"], properties, set_id)
    if settings.config.get("enable_vm_boot_diagnostics"):
        body["properties"]["diagnosticsProfile"] = {"bootDiagnostics": {"enabled": True}}
    if (own_disk(properties) or {}).get("type") == "UltraSSD_LRS":
        body["properties"]["additionalCapabilities"] = {"ultraSSDEnabled": True}
    if settings.stack:
        _without_news(body["properties"])
    return body


def _placement(settings: Settings, inner: Tree, properties: Mapping[str, Any], set_id: str) -> None:
    if set_id:
        inner["availabilitySet"] = {"id": set_id}
    reserved = properties.get("capacity_reservation_group_id") or (
        settings.id_of("Microsoft.Compute/capacityReservationGroups", str(properties["capacity_reservation_group"]))
        if properties.get("capacity_reservation_group") else "")
    if reserved:
        inner["capacityReservation"] = {"capacityReservationGroup": {"id": str(reserved)}}
    if properties.get("spot"):
        inner.update(priority="Spot", evictionPolicy="Delete", billingProfile={"maxPrice": float(properties.get("spot_max_price", -1))})


def _without_news(inner: Tree) -> None:
    """The older interface of an Azure Stack Hub has no deleteOption: what goes with the machine is deleted by name."""
    inner["storageProfile"]["osDisk"].pop("deleteOption", None)
    for item in inner["storageProfile"]["dataDisks"]:
        item.pop("deleteOption", None)
    for item in inner["networkProfile"]["networkInterfaces"]:
        item["properties"].pop("deleteOption", None)


def _root(settings: Settings, name: str, properties: Mapping[str, Any]) -> Tree:
    root = properties.get("root_disk") or {}
    disk: Tree = {
        "name": os_disk_name(name), "createOption": "FromImage", "osType": "Linux", "deleteOption": "Delete",
        "caching": properties["caching"],
        "managedDisk": {"storageAccountType": disk_kind(settings, root.get("type"), properties.get("storage_account_type"))}}
    if root.get("size"):
        disk["diskSizeGB"] = gib(int(root["size"]))
    where = _DISK_CACHES.get(str(root.get("placement") or "remote"))
    if where:
        disk.update(diffDiskSettings={"option": "Local", "placement": where}, caching="ReadOnly")
        disk["managedDisk"] = {"storageAccountType": "Standard_LRS"}
    _encrypt(settings, disk["managedDisk"], root)
    return disk


def data_disk(settings: Settings, name: str, properties: Mapping[str, Any], disk_id: str) -> Tree | None:
    """The entry of the ephemeral disk; `disk_id` when it was made before, since only then it can have a speed of its own."""
    own = own_disk(properties)
    if own is None:
        return None
    entry: Tree = {"lun": EPHEMERAL_LUN, "caching": own["caching"], "deleteOption": "Delete"}
    if disk_id:
        return {**entry, "createOption": "Attach", "managedDisk": {"id": disk_id}}
    entry.update(name=ephemeral_name(name), createOption="Empty", diskSizeGB=gib(int(own["size"])), managedDisk={
        "storageAccountType": disk_kind(settings, own.get("type"), properties.get("storage_account_type"))})
    _encrypt(settings, entry["managedDisk"], own)
    return entry


def _encrypt(settings: Settings, managed: Tree, disk: Mapping[str, Any]) -> None:
    if disk.get("disk_encryption_set_name"):
        managed["diskEncryptionSet"] = {"id": settings.id_of("Microsoft.Compute/diskEncryptionSets", str(disk["disk_encryption_set_name"]))}


def _identity(settings: Settings, properties: Mapping[str, Any]) -> Tree | None:
    wished = properties.get("managed_identity") or settings.config.get("default_managed_identity")
    if not wished:
        return None
    if wished["type"] == "SystemAssigned":
        return {"type": "SystemAssigned"}
    name = wished.get("user_assigned_identity_name")
    if not name:
        raise Invalid("the CPI config (azure): default_managed_identity.user_assigned_identity_name is missing")
    return {"type": "UserAssigned", "userAssignedIdentities": {
        settings.id_of("Microsoft.ManagedIdentity/userAssignedIdentities", str(name)): {}}}
