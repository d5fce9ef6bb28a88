"""Persistent disks of an instance group. Source: manifest contract, section 8.6."""

from __future__ import annotations

from director.manifest import model
from director.manifest.reader import Fields

KEYS = ("persistent_disk", "persistent_disk_type", "persistent_disks")


def read_disks(fields: Fields, cloud: model.CloudConfig) -> tuple[model.DiskRef, ...]:
    """At most one of the three keys; `persistent_disk: 0` is none, a type of size 0 is one."""
    name = fields["name"]
    given = [key for key in KEYS if fields.raw.get(key) is not None]
    if len(given) > 1:
        fields.error(
            given[1],
            f"Instance group '{name}' specifies more than one of the following keys: 'persistent_disk', "
            "'persistent_disk_type', and 'persistent_disks'. Choose one.",
            140013,
        )
        return ()
    if fields.good("persistent_disk"):
        return _by_size(fields)
    if fields.good("persistent_disk_type"):
        disk = _by_type(fields, cloud, "", fields["persistent_disk_type"], f"Instance group '{name}' references an unknown disk type")
        return (disk,) if disk else ()
    return _named(fields, cloud)


def _by_size(fields: Fields) -> tuple[model.DiskRef, ...]:
    size = fields["persistent_disk"]
    if size < 0:
        fields.error(
            "persistent_disk",
            f"Instance group '{fields['name']}' references an invalid persistent disk size '{size}'",
            140013,
            "Give the size in MiB.",
        )
    return (model.DiskRef("", size),) if size > 0 else ()


def _by_type(fields: Fields, cloud: model.CloudConfig, name: str, kind: str, text: str) -> model.DiskRef | None:
    found = next((item for item in cloud.disk_types if item.name == kind), None)
    if found is None:
        key = "type" if fields.has("type") else "persistent_disk_type"
        fields.reader.unknown(fields.at(key), f"{text} '{kind}'", 140012, kind, [item.name for item in cloud.disk_types], "disk types")
        return None
    return model.DiskRef(name, found.disk_size, found.name, found.cloud_properties)


def _named(fields: Fields, cloud: model.CloudConfig) -> tuple[model.DiskRef, ...]:
    section = f"Instance group '{fields['name']}' persistent_disks's section"
    made: list[model.DiskRef] = []
    seen: set[str] = set()
    for item in fields.items("persistent_disks", "persistent_disk"):
        name = item["name"]
        if item.good("name") and not name.strip():
            item.error("name", f"{section} contains a disk with no name", 140013)
        if name and name in seen:
            item.error("name", f"{section} contains duplicate names", 140013, f"'{name}' is there twice.")
        seen.add(name)
        disk = _by_type(item, cloud, name, item["type"], f"{section} references an unknown disk type") if item.good("type") else None
        made.extend([disk] if disk else [])
    return tuple(made)
