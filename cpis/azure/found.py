"""What carries a token or the director's mark, as the contract tells it: parts of a machine are the machine."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cpis.azure.arm import Arm, Tree
from cpis.azure.names import (
    CACHING,
    DISK,
    GALLERY,
    IMAGE,
    NIC,
    OF_A_STEMCELL,
    OF_A_VM,
    PIP,
    SNAPSHOT,
    VM,
    checked,
    disk_cid,
    ephemeral_name,
    nic_name,
    os_disk_name,
    public_ip_name,
    snapshot_cid,
    upload_name,
    vm_cid,
)
from cpis.cloud.tags import TOKEN
from cpis.contract import Found, Invalid


class Finder:
    """The list by tag is a cache of Azure's and some minutes old, so what a token may have made is looked at by name, too."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._settings = arm.settings

    def token(self, token: str) -> list[Found]:
        """Each thing once: whole, or the parts that are there."""
        try:
            name = checked(token)
        except Invalid:
            return []  # no creation takes such a token
        seen: dict[str, Tree] = {}
        for path in (*self._derived(name), *(str(item["id"]) for item in self._tagged(TOKEN, token))):
            if path.lower() not in seen:
                found = self._arm.find(path, f"what {token} made")
                if found is not None:
                    seen[path.lower()] = found
        return list(_merged(self._found(item) for item in seen.values()))

    def _derived(self, name: str) -> Iterator[str]:
        """The ids that a token gives, in the resource group of the config. A director's tokens begin with what they are for."""
        kinds = {
            "vm": [(VM, name), (NIC, nic_name(name, 0)), (PIP, public_ip_name(name)), (DISK, os_disk_name(name)),
                   (DISK, ephemeral_name(name))],
            "disk": [(DISK, name)], "snapshot": [(SNAPSHOT, name)], "stemcell": [(IMAGE, name), (DISK, upload_name(name))]}
        purpose = name.partition("-")[0]
        for kind, item in kinds.get(purpose) or [pair for pairs in kinds.values() for pair in pairs]:
            yield self._settings.id_of(kind, item)
        gallery = self._settings.config.get("compute_gallery_name")
        if gallery and purpose not in ("vm", "disk", "snapshot"):
            yield f"{self._settings.id_of(GALLERY, str(gallery))}/images/{name}"

    def owned(self) -> list[Found]:
        items = sorted(self._tagged("director", self._settings.director), key=lambda item: f"/{VM}/".lower() not in str(item["id"]).lower())
        return list(_merged(self._found(item) for item in items))

    def _tagged(self, name: str, value: str) -> Iterator[Tree]:
        quoted = value.replace("'", "''")
        path = f"/subscriptions/{self._settings.subscription}/resources"
        # A list of Resource Manager's own, which counts as reading.
        return self._arm.pages(path, f"what has the tag {name}", {
            "$filter": f"tagName eq '{name}' and tagValue eq '{quoted}'", "$expand": "createdTime"}, family="read")

    def _found(self, item: Mapping[str, Any]) -> Found:
        tags = {str(key): str(value) for key, value in (item.get("tags") or {}).items()}
        folded = {key.lower(): value for key, value in tags.items()}
        pieces = str(item["id"]).strip("/").split("/")
        group, name = pieces[3], pieces[7]
        kind, cid = _kind(pieces[5], pieces[6::2], group, name, folded, pieces)
        token = folded.get(TOKEN, "")
        return Found(kind, cid, token, tags, _seconds(item))


def _kind(namespace: str, types: list[str], group: str, name: str, tags: Mapping[str, str], pieces: list[str]) -> tuple[str, str]:
    """The contract's word and the CID: of an interface those of its machine, and so on."""
    kind = f"{namespace}/{'/'.join(types)}".lower()
    part, upload = OF_A_VM.fullmatch(name), OF_A_STEMCELL.fullmatch(name)
    if kind == VM.lower():
        return "vm", vm_cid(name, group)
    if kind in (NIC.lower(), PIP.lower(), DISK.lower()) and part:
        return "vm", vm_cid(part.group(1), group)
    if kind == DISK.lower() and upload:
        return "stemcell", f"image_name:{upload.group(1).lower()};resource_group_name:{group.lower()}"
    if kind == DISK.lower():
        return "disk", disk_cid(name, group, tags.get(CACHING, "None"))
    if kind == SNAPSHOT.lower():
        return "snapshot", snapshot_cid(name, group)
    if kind == IMAGE.lower():
        return "stemcell", f"image_name:{name.lower()};resource_group_name:{group.lower()}"
    if kind.startswith(f"{GALLERY.lower()}/images") and len(pieces) > 9:
        return "stemcell", f"gallery:{name};image_name:{pieces[9].lower()};resource_group_name:{group.lower()}"
    return types[-1].lower(), str("/" + "/".join(pieces))


def _merged(items: Iterable[Found]) -> Iterator[Found]:
    """One for each thing. A machine comes before its parts, so that its tags count."""
    result: dict[tuple[str, str], Found] = {}
    for item in items:
        key = (item.kind, item.cid)
        old = result.get(key)
        if old is None:
            result[key] = item
        elif old.created_at is not None and item.created_at is not None and item.created_at < old.created_at:
            result[key] = Found(old.kind, old.cid, old.token or item.token, old.metadata, item.created_at)
    yield from result.values()


def _seconds(item: Mapping[str, Any]) -> float | None:
    """When it was made, as a Unix time."""
    text = item.get("createdTime") or (item.get("properties") or {}).get("timeCreated")
    if not isinstance(text, str):
        return None
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
