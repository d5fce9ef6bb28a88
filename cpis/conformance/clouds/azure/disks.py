"""Managed disks, snapshots, images and galleries of the pretended cloud."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Protocol

from cpis.conformance.clouds.azure.store import Operation, Refused, Store, Tree

DISK = "Microsoft.Compute/disks"
SNAPSHOT = "Microsoft.Compute/snapshots"
IMAGE = "Microsoft.Compute/images"
GALLERY_IMAGE = "Microsoft.Compute/galleries/images"
GALLERY_VERSION = "Microsoft.Compute/galleries/images/versions"
SKUS = ("Standard_LRS", "StandardSSD_LRS", "Premium_LRS", "StandardSSD_ZRS", "Premium_ZRS", "PremiumV2_LRS", "UltraSSD_LRS")


class Pages(Protocol):
    """Where the bytes of a disk under upload go."""

    def make(self, name: str, size: int) -> str:
        """A URL that may be written to."""

    def drop(self, name: str) -> None: ...


def _sku(body: Tree, default: str) -> str:
    name = str((body.get("sku") or {}).get("name") or default)
    if name not in SKUS:
        raise Refused(
            400, "InvalidParameter", f"The value '{name}' of parameter 'sku.name' is not allowed. Allowed values are {','.join(SKUS)}.")
    return name


def put_disk(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    """A blank disk, a copy, or one to upload to. A disk that exists is changed as by a PATCH, without its tags when none are sent."""
    data = body["properties"]["creationData"]
    old = store.find(identity)
    if old is not None:
        changed, operation = patch_disk(store, identity, {**body, "tags": body.get("tags") or {}})
        return changed, operation
    sku = _sku(body, "Standard_LRS")
    size = body["properties"].get("diskSizeGB")
    option = data["createOption"]
    if option == "Copy":
        size = size or store.get(data["sourceResourceId"])["properties"]["diskSizeGB"]
    elif option == "Upload":
        size = -(-(data["uploadSizeBytes"] - 512) // 2**30)
    if not isinstance(size, int) or not 1 <= size <= 65536:
        raise Refused(400, "InvalidParameter", f"The value '{size}' of parameter 'diskSizeGB' is out of range. The value must be between "
                      "'1' and '65536', inclusive.")
    state = {"Upload": "ReadyToUpload"}.get(option, "Unattached")
    disk = store.put(identity, DISK, {**body, "sku": {"name": sku, "tier": sku.split("_")[0]}}, {
        **body["properties"], "diskSizeGB": size, "diskSizeBytes": size * 2**30, "provisioningState": "Creating", "diskState": state,
        "uniqueId": str(uuid.uuid4())})
    return disk, store.begin(identity, succeed(store, identity))


def succeed(store: Store, identity: str, **more: object) -> Callable[[], Tree | None]:
    """What ends an operation well: the state of its resource, and further properties."""
    def finish() -> Tree | None:
        found = store.find(identity)
        if found is not None:
            found["properties"].update(more, provisioningState="Succeeded")
        return shown_output(found)
    return finish


def shown_output(resource: Tree | None) -> Tree | None:
    return None if resource is None else {"id": resource["id"], "name": resource["name"]}


def patch_disk(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    disk = store.get(identity)
    properties = dict(body.get("properties") or {})
    size = properties.get("diskSizeGB", disk["properties"]["diskSizeGB"])
    if size < disk["properties"]["diskSizeGB"]:
        raise Refused(409, "OperationNotAllowed", f"Disk {disk['name']} of size {disk['properties']['diskSizeGB']} GB is being resized to "
                      f"{size} GB. Shrinking is not supported.")
    sku = _sku(body, disk["sku"]["name"])
    if sku != disk["sku"]["name"]:
        if disk.get("managedBy"):
            raise Refused(409, "OperationNotAllowed", f"Cannot change the storage account type of disk {disk['name']} while it is attached "
                          f"to running VM {disk['managedBy']}.")
        if "V2" in sku + disk["sku"]["name"] or "Ultra" in sku + disk["sku"]["name"]:
            raise Refused(400, "BadRequest", f"Changing a disk's account type from {disk['sku']['name']} to {sku} is not supported.")
        disk["sku"] = {"name": sku, "tier": sku.split("_")[0]}
    if body.get("tags") is not None:
        disk["tags"] = dict(body["tags"])
    for key in ("diskSizeGB", "diskIOPSReadWrite", "diskMBpsReadWrite", "encryption"):
        if key in properties:
            disk["properties"][key] = properties[key]
    disk["properties"]["provisioningState"] = "Updating"
    return disk, store.begin(identity, succeed(store, identity))


def delete_disk(store: Store, identity: str, pages: Pages) -> Operation | None:
    disk = store.find(identity)
    if disk is None:
        return None
    if disk.get("managedBy"):
        raise Refused(409, "OperationNotAllowed", f"Disk {disk['name']} is attached to VM {disk['managedBy']}.")
    if disk["properties"]["diskState"] == "ActiveUpload":
        raise Refused(409, "OperationNotAllowed", f"Disk {disk['name']} cannot be deleted while it has an active shared access signature.")

    def finish() -> None:
        pages.drop(disk["name"])
        store.drop(identity)
    return store.begin(identity, finish)


def disk_action(store: Store, identity: str, action: str, body: Tree, pages: Pages) -> Operation:
    """beginGetAccess and endGetAccess."""
    disk = store.get(identity)
    if action == "begingetaccess":
        if body.get("access") == "Write" and disk["properties"]["diskState"] not in ("ReadyToUpload", "ActiveUpload"):
            raise Refused(409, "OperationNotAllowed", f"Disk {disk['name']} was not created for upload.")

        def begin() -> Tree:
            disk["properties"]["diskState"] = "ActiveUpload"
            return {"accessSAS": pages.make(disk["name"], disk["properties"]["creationData"]["uploadSizeBytes"])}
        return store.begin(identity, begin)

    def end() -> None:
        if disk["properties"]["diskState"] == "ActiveUpload":
            disk["properties"]["diskState"] = "Unattached"
    return store.begin(identity, end)


def put_snapshot(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    data = body["properties"]["creationData"]
    old = store.find(identity)
    if old is not None:
        if old["properties"]["creationData"]["sourceResourceId"].lower() != data["sourceResourceId"].lower():
            raise Refused(409, "PropertyChangeNotAllowed", "Changing property 'snapshot.creationData.sourceResourceId' is not allowed.")
        old["tags"] = dict(body.get("tags") or {})
        return old, None
    source = store.get(data["sourceResourceId"])
    snapshot = store.put(identity, SNAPSHOT, body, {
        **body["properties"], "diskSizeGB": source["properties"]["diskSizeGB"], "provisioningState": "Creating", "completionPercent": 0.0,
        "diskState": "Unattached"})
    return snapshot, store.begin(identity, succeed(store, identity, completionPercent=100.0))


def put_image(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    disk = store.get(body["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"])
    if disk["properties"]["diskState"] != "Unattached":
        raise Refused(409, "OperationNotAllowed", f"Disk {disk['name']} is in state {disk['properties']['diskState']}.")
    image = store.put(identity, IMAGE, body, {**body["properties"], "provisioningState": "Creating"})
    return image, store.begin(identity, succeed(store, identity))


def put_gallery_image(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    store.get("/".join(identity.split("/")[:9]))
    return store.put(identity, GALLERY_IMAGE, body, {**body["properties"], "provisioningState": "Succeeded"}), None


def put_gallery_version(store: Store, identity: str, body: Tree) -> tuple[Tree, Operation | None]:
    store.get("/".join(identity.split("/")[:11]))
    store.get(body["properties"]["storageProfile"]["osDiskImage"]["source"]["id"])
    version = store.put(identity, GALLERY_VERSION, body, {**body["properties"], "provisioningState": "Creating"})
    return version, store.begin(identity, succeed(store, identity))


def delete_gallery_image(store: Store, identity: str) -> Operation | None:
    if store.find(identity) is None:
        return None
    inside = [item["id"] for item in store.of_type(GALLERY_VERSION) if item["id"].lower().startswith(identity.lower() + "/")]
    if inside:
        raise Refused(409, "CannotDeleteResource", f"Can not delete resource before nested resources are deleted: {inside[0]}.")
    return store.begin(identity, lambda: store.drop(identity))


def delete_plain(store: Store, identity: str) -> Operation | None:
    """For what nothing can depend on."""
    return None if store.find(identity) is None else store.begin(identity, lambda: store.drop(identity))
