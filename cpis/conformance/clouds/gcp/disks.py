"""Disks, snapshots and images of the fake, and what balancers hold of machines."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

from cpis.conformance.clouds.gcp import checks
from cpis.conformance.clouds.gcp.checks import invalid
from cpis.conformance.clouds.gcp.world import Body, Operation, Refused, World


def insert(world: World, zone: str, body: Body, source_image: str) -> Operation:
    checks.fields(body, checks.DISK)
    path = f"zones/{zone}/disks/{checks.name(body)}"
    _free(world, path)
    kind = checks.in_zone(world, body.get("type") or f"zones/{zone}/diskTypes/pd-standard", zone, "diskTypes", "resource.type")
    smallest, largest = (int(end[:-2]) for end in world.things[kind]["validDiskSize"].split("-"))
    least = smallest
    if body.get("sourceSnapshot"):
        least = int(world.get(world.path(str(body["sourceSnapshot"])))["diskSizeGb"])
    size = checks.whole(body.get("sizeGb") or max(least, smallest), "resource.sizeGb")
    if not max(least, smallest) <= size <= largest:
        raise invalid("resource.sizeGb", size, f"Disk size must be between {max(least, smallest)} and {largest} GB.")
    disk = world.put(path, {
        "status": "CREATING", "sizeGb": str(size), "type": world.link(kind), "zone": world.link(f"zones/{zone}"), "users": [],
        "labels": checks.labels(body.get("labels")), "labelFingerprint": world.fingerprint(),
        **({"sourceSnapshot": body["sourceSnapshot"]} if body.get("sourceSnapshot") else {}),
        **({"sourceImage": source_image} if source_image else {})})

    def effect() -> None:
        world.quota("DISKS", "disks")
        disk["status"] = "READY"

    return world.operate("insert", path, effect, lambda: world.remove(path))


def _free(world: World, path: str) -> None:
    if path in world.things:
        raise Refused(409, "alreadyExists", f"The resource 'projects/{world.project}/{path}' already exists")


def delete(world: World, path: str) -> Operation:
    """A disk, snapshot or image."""
    users = world.get(path).get("users")
    if users:
        raise Refused(
            400, "resourceInUseByAnotherResource",
            f"The disk resource 'projects/{world.project}/{path}' is already being used by '{world.path(users[0])}'")
    return world.operate("delete", path, lambda: world.remove(path))


def resize(world: World, path: str, body: Body) -> Operation:
    disk = world.get(path)
    size = checks.whole(checks.fields(body, {"sizeGb"}).get("sizeGb"), "sizeGb")
    if size <= int(disk["sizeGb"]):
        raise invalid("sizeGb", size, f"New disk size '{size}' must be larger than existing size '{disk['sizeGb']}'.")
    return world.operate("resizeDisk", path, lambda: disk.update(sizeGb=str(size)))


def snapshot(world: World, path: str, body: Body) -> Operation:
    disk = world.get(path)
    checks.fields(body, checks.SNAPSHOT)
    at = f"global/snapshots/{checks.name(body)}"
    _free(world, at)
    made = world.put(at, {
        "status": "CREATING", "diskSizeGb": disk["sizeGb"], "storageBytes": "0", "sourceDisk": disk["selfLink"],
        "sourceDiskId": disk["id"], "labels": checks.labels(body.get("labels")), "labelFingerprint": world.fingerprint()})

    def effect() -> None:
        world.quota("SNAPSHOTS", "snapshots")
        made["status"] = "READY"

    return world.operate("createSnapshot", path, effect, lambda: world.remove(at))


def image(world: World, body: Body) -> Operation:
    checks.fields(body, checks.IMAGE)
    path = f"global/images/{checks.name(body)}"
    _free(world, path)
    raw = checks.fields(body.get("rawDisk") or {}, {"source", "sha1Checksum", "containerType"}, "raw_disk")
    size = _raw_disk(world, raw.get("source"), raw.get("sha1Checksum"))
    made = world.put(path, {
        "status": "PENDING", "diskSizeGb": str(max(1, -(-size // 2**30))), "archiveSizeBytes": str(size), "sourceType": "RAW",
        "labels": checks.labels(body.get("labels")), "labelFingerprint": world.fingerprint(), "family": body.get("family", ""),
        "description": body.get("description", ""), "guestOsFeatures": body.get("guestOsFeatures") or []})

    def effect() -> None:
        made.update(status="READY")

    return world.operate("insert", path, effect, lambda: world.remove(path))


def _raw_disk(world: World, source: Any, checksum: Any) -> int:
    """Bytes of the disk in the archive, which must be there and whole."""
    _, found, rest = str(source).partition("storage.googleapis.com/")
    bucket, _, name = rest.partition("/")
    data = world.objects.get((bucket, name)) if found else None
    if data is None:
        raise invalid("resource.rawDisk.source", source, "The referenced Cloud Storage object cannot be found.")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            file = archive.extractfile("disk.raw")
            assert file is not None
            content = file.read()
    except (tarfile.TarError, KeyError, EOFError, OSError, AssertionError) as error:
        raise invalid("resource.rawDisk.source", source, "The tar archive is not a valid image: it must hold disk.raw.") from error
    if checksum and hashlib.sha1(content).hexdigest() != checksum:
        raise invalid("resource.rawDisk.sha1Checksum", checksum, "The checksum does not match the disk.")
    return len(content)


def pool(world: World, path: str, body: Body, add: bool) -> Operation:
    """A machine comes into a target pool, or goes out."""
    found = world.get(path)
    links = [str(item.get("instance")) for item in checks.fields(body, {"instances"}).get("instances") or []]
    for link in links:
        if add:
            world.get(world.path(link))

    def effect() -> None:
        rest = [link for link in found["instances"] if link not in links]
        found["instances"] = [*rest, *links] if add else rest

    return world.operate("addInstance" if add else "removeInstance", path, effect)


def group(world: World, path: str, body: Body, add: bool) -> Operation:
    """A machine comes into an instance group of its zone, or goes out."""
    found = world.get(path)
    links = [str(item.get("instance")) for item in checks.fields(body, {"instances"}).get("instances") or []]
    for link in links:
        checks.in_zone(world, link, path.split("/")[1], "instances", "instances[0].instance")
        if add and link in found["_members"]:
            raise Refused(400, "memberAlreadyExists", f"Instance '{link}' is already a member of '{found['selfLink']}'.")

    def effect() -> None:
        rest = [link for link in found["_members"] if link not in links]
        found["_members"] = [*rest, *links] if add else rest
        found["size"] = len(found["_members"])

    return world.operate("addInstances" if add else "removeInstances", path, effect)
