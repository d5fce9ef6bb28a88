"""What Compute Engine refuses in a body: fields that it does not know, names, labels, tags and metadata in forms that it does not take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cpis.conformance.clouds.gcp.world import Body, Refused, World

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_LABEL_VALUE = re.compile(r"[-_a-z0-9]{0,63}")
_METADATA_KEY = re.compile(r"[-_a-zA-Z0-9]{1,128}")
_VALUE_BYTES, _ALL_BYTES = 262_144, 524_288

INSTANCE = {
    "name", "description", "machineType", "disks", "networkInterfaces", "metadata", "tags", "labels", "serviceAccounts", "scheduling",
    "canIpForward", "guestAccelerators", "hostname", "deletionProtection", "shieldedInstanceConfig", "minCpuPlatform", "resourcePolicies",
}
DISK = {
    "name", "description", "sizeGb", "type", "sourceSnapshot", "sourceImage", "labels", "provisionedIops", "provisionedThroughput",
    "diskEncryptionKey", "physicalBlockSizeBytes",
}
IMAGE = {
    "name", "description", "rawDisk", "family", "labels", "guestOsFeatures", "sourceDisk", "storageLocations", "diskSizeGb", "licenses",
    "architecture",
}
SNAPSHOT = {"name", "description", "labels", "storageLocations"}
ATTACHED = {"source", "deviceName", "mode", "autoDelete", "boot", "type", "interface", "initializeParams", "index", "diskSizeGb"}
INITIAL = {"diskName", "diskSizeGb", "diskType", "sourceImage", "labels", "description", "sourceSnapshot"}
NIC = {"network", "subnetwork", "networkIP", "accessConfigs", "name", "nicType", "stackType", "aliasIpRanges"}
ACCESS = {"name", "type", "natIP", "networkTier", "kind"}
SCHEDULING = {
    "preemptible", "automaticRestart", "onHostMaintenance", "provisioningModel", "nodeAffinities", "instanceTerminationAction",
    "minNodeCpus",
}


def fields(body: Any, known: set[str], where: str = "") -> Body:
    """The body, which must be an object of these fields. Raises Refused."""
    if not isinstance(body, dict):
        raise invalid(where or "resource", body, "It must be an object.")
    for key in body:
        if key not in known:
            at = f"'{where}': " if where else ""
            raise Refused(400, "badRequest", f'Invalid JSON payload received. Unknown name "{key}" at {at}Cannot find field.')
    return body


def invalid(field: str, value: object, why: str) -> Refused:
    return Refused(400, "invalid", f"Invalid value for field '{field}': '{value}'. {why}")


def name(body: Mapping[str, Any]) -> str:
    found = body.get("name")
    if not isinstance(found, str) or not _NAME.fullmatch(found):
        raise invalid("resource.name", found, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
    return found


def labels(found: Any) -> dict[str, str]:
    found = {} if found is None else found
    if not isinstance(found, dict) or len(found) > 64:
        raise invalid("resource.labels", "", "At most 64 labels are allowed.")
    for key, value in found.items():
        if not _LABEL_KEY.fullmatch(key):
            raise invalid("resource.labels", key, "Label key is not valid.")
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            raise invalid("resource.labels", value, f"Label value of '{key}' is not valid.")
    return dict(found)


def metadata(found: Any) -> list[Body]:
    items = fields(found or {}, {"items", "fingerprint", "kind"}, "metadata").get("items") or []
    keys = [item.get("key") for item in items]
    if len(set(keys)) != len(keys):
        raise invalid("resource.metadata.items", keys, "Metadata keys must be unique.")
    total = 0
    for item in items:
        key, value = str(item.get("key")), item.get("value")
        if not _METADATA_KEY.fullmatch(key) or not isinstance(value, str):
            raise invalid("resource.metadata.items.key", key, "Metadata key is not valid.")
        size = len(value.encode())
        total += size
        if size > _VALUE_BYTES or total > _ALL_BYTES:
            raise invalid("resource.metadata.items", key, "Metadata is too large.")
    return list(items)


def tags(found: Any) -> list[str]:
    items = fields(found or {}, {"items", "fingerprint"}, "tags").get("items") or []
    if len(items) > 64 or any(not isinstance(tag, str) or not _NAME.fullmatch(tag) for tag in items):
        raise invalid("resource.tags.items", items, "Tags must match regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
    return list(items)


def in_zone(world: World, link: Any, zone: str, kind: str, field: str) -> str:
    """The path of something that must be there, in this zone. Raises Refused."""
    path = world.path(str(link))
    if not path.startswith(f"zones/{zone}/{kind}/"):
        raise invalid(field, link, f"The referenced resource must be one of {kind} in zone {zone}.")
    if path not in world.things:
        raise invalid(field, link, "The referenced resource cannot be found.")
    return path


def whole(value: Any, field: str) -> int:
    """A number, which the API also takes as text."""
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise invalid(field, value, "It must be an integer.") from error


def fresh(body: Mapping[str, Any], key: str, current: str) -> None:
    """Raises Refused (412) unless the change was made from the present state."""
    if body.get(key) != current:
        raise Refused(412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed" if "abel" in key
                      else "Supplied fingerprint does not match current metadata fingerprint.")
