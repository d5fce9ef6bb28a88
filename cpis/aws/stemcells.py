"""Stemcells: images that are there (light), or that are uploaded, imported and registered (heavy).

Source: CPI contract, sections 6.1 and 6.2; "Import a disk as a snapshot" in the VM Import/Export user guide.
"""

from __future__ import annotations

import contextlib
import logging
import tarfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from libcloud.storage.base import Container, Object

from cpis.aws import metadata
from cpis.aws.api import Api
from cpis.aws.disks import Disks
from cpis.aws.driver import S3, Tree, filters, items, numbered_tags
from cpis.aws.facts import Facts
from cpis.aws.launch import LIGHT
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.cloud.tags import SHAPE, TOKEN
from cpis.contract import Conflict, CpiError, Invalid, NotFound, Properties, Unavailable

_CHUNK_BYTES = 2**20
_IMPORT_SECONDS = 2 * 3600.0
_IMAGE_SECONDS = 3600.0
_VISIBLE_SECONDS = 20.0
_OLD_TOKENS = 10

log = logging.getLogger("cpis")


class Stemcells:
    """Safe to use from many threads. `progress` gets a sentence now and then while an image is on its way."""

    def __init__(
        self, api: Api, facts: Facts, disks: Disks, config: Mapping[str, Any], director: str, progress: Callable[[str], None] = log.info,
    ) -> None:
        self._api = api
        self._facts = facts
        self._disks = disks
        self._config = config
        self._director = director
        self._progress = progress
        self._schema = Schema.of("aws")
        self._once = OnePerToken()

    def create(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """See `Cpi.create_stemcell`."""
        properties = self._schema.check("stemcell", cloud_properties)
        encrypted = properties.get("encrypted", self._config.get("encrypted", False))
        with self._once(token):
            if properties.get("ami") or properties.get("ami_filter"):
                source = self._light(properties["ami"]) if properties.get("ami") else self._newest(properties["ami_filter"], properties)
                return self._copy(source, properties, token) if encrypted else f"{source}{LIGHT}"
            path = Path(image_path)
            if not image_path or not path.is_file() or not path.stat().st_size:
                raise Invalid(
                    "the stemcell has no image and names no 'ami'", suggestion="A light stemcell has ami: {REGION: ID}, or ami_filter.")
            return self._heavy(path, properties, token)

    def _light(self, images: Mapping[str, Any]) -> str:
        """The image for this region. Raises Invalid, NotFound."""
        region = self._api.place.region
        image = images.get(region)
        if not isinstance(image, str) or not image:
            raise Invalid(
                f"the stemcell has no image for the region {region}", kind="stemcell", resource=region,
                suggestion=f"It has: {', '.join(sorted(map(str, images)))}. Copy the image (`aws ec2 copy-image`) and add its id.")
        found = self._facts.image(image)
        if found.get("imageState") not in ("available", None):
            raise Invalid(f"the image {image} is {found['imageState']}, not available", resource=image, kind="stemcell")
        return image

    def _newest(self, wanted: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
        """The newest image of an owner whose name is of a pattern. Raises NotFound."""
        said = {"name": str(wanted["name"]), "architecture": str(properties["architecture"]), "state": "available"}
        found = self._api.pages("DescribeImages", "imagesSet", {"Owner.1": str(wanted["owner"]), **filters(**said)})
        if not found:
            where = f"for {said['architecture']} in {self._api.place.region}"
            raise NotFound(
                f"{wanted['owner']} has no image '{wanted['name']}' {where}", kind="stemcell", resource=str(wanted["name"]),
                suggestion="Look with `aws ec2 describe-images --owners OWNER --filters Name=name,Values=PATTERN`.")
        newest = max(found, key=lambda image: str(image.get("creationDate") or ""))
        self._progress(f"taking the image {newest['imageId']} ({newest.get('name')})")
        return str(newest["imageId"])

    def _tags(self, properties: Mapping[str, Any], token: str, more: Mapping[str, str]) -> dict[str, str]:
        named = {key: str(properties[key]) for key in ("name", "version") if properties.get(key)}
        return metadata.tags(named, {"director": self._director, TOKEN: token, **more}, properties.get("tags"))

    def _of_token(self, token: str, shape: str) -> Tree | None:
        """The image that this token made. Raises Conflict when it is of something else."""
        found = self._api.pages("DescribeImages", "imagesSet", {"Owner.1": "self", **filters(name=f"caisson-{token}")})
        if not found:
            return None
        tags = {tag["key"]: tag["value"] for tag in items(found[0], "tagSet")}
        if tags.get(SHAPE) != shape:
            image = found[0]["imageId"]
            raise Conflict(f"the token '{token}' has made {image} of another stemcell", resource=image, kind="stemcell")
        return found[0]

    def _copy(self, source: str, properties: Mapping[str, Any], token: str) -> str:
        """An encrypted copy, which is ours."""
        shape = metadata.shape(source, properties.get("kms_key_arn"))
        there = self._of_token(token, shape)
        if there is None:
            tags = self._tags(properties, token, {SHAPE: shape})
            params = {
                "SourceRegion": self._api.place.region, "SourceImageId": source, "Name": f"caisson-{token}", "ClientToken": token,
                "Encrypted": "true", **metadata.specifications({"image": tags, "snapshot": tags}),
            }
            key = properties.get("kms_key_arn") or self._config.get("kms_key_arn")
            if key:
                params["KmsKeyId"] = str(key)
            there = self._api.ask("CopyImage", params)
        return self._available(str(there["imageId"]))

    def _available(self, image: str) -> str:
        def look() -> str | None:
            found = items(self._api.ask("DescribeImages", {"ImageId.1": image}, also=_not_there_yet, patience=120.0), "imagesSet")
            if found and found[0]["imageState"] in ("failed", "error", "invalid", "deregistered"):
                reason = (found[0].get("stateReason") or {}).get("message", "")
                raise Unavailable(f"the image {image} is {found[0]['imageState']}: {reason}", resource=image, kind="stemcell")
            return image if found and found[0]["imageState"] == "available" else None

        return self._api.wait(f"image {image} to be available", look, _IMAGE_SECONDS)

    # Heavy

    def _heavy(self, path: Path, properties: Mapping[str, Any], token: str) -> str:
        bucket = self._config.get("stemcell_bucket")
        if not bucket:
            raise Invalid(
                "the CPI config has no 'stemcell_bucket' to upload the stemcell to",
                suggestion="Create a bucket and the role vmimport (docs/clouds/aws.md), or use a light stemcell.")
        said = {key: str(properties.get(key)) for key in ("name", "version", "architecture", "boot_mode")}
        shape = metadata.shape(path.stat().st_size, said)
        there = self._of_token(token, shape)
        if there is None:
            key = f"caisson/{token}.raw"
            with self._uploaded(path, str(bucket), key):
                snapshot = self._imported(str(bucket), key, properties, token)
            try:
                there = {"imageId": self._register(snapshot, properties, token, shape)}
            except CpiError:
                self._disks.delete_snapshot(snapshot)
                raise
        return self._available(str(there["imageId"]))

    @contextlib.contextmanager
    def _uploaded(self, path: Path, bucket: str, key: str) -> Iterator[None]:
        """The raw image in the bucket for the time of the body. An interrupted upload leaves nothing: S3 shows whole objects only."""
        driver = S3(self._api.source, self._api.place)
        container = Container(bucket, {}, driver)

        def upload() -> None:
            with _raw(path) as (stream, size):
                driver.upload_object_via_stream(self._counted(stream, size), container, key)

        def delete() -> None:
            driver.delete_object(Object(key, 0, "", {}, {}, container, driver))

        try:
            self._api.call("PutObject", upload, family="storage")
            yield
        except BaseException:
            try:
                self._api.call("DeleteObject", delete, family="storage", patience=60.0)
            except CpiError as error:
                log.warning("s3://%s/%s may be left: %s", bucket, key, error)
            raise
        self._api.call("DeleteObject", delete, family="storage")

    def _counted(self, stream: IO[bytes], size: int) -> Iterator[bytes]:
        sent, told = 0, -1
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
            sent += len(chunk)
            percent = 100 * sent // max(size, 1) // 10 * 10
            if percent != told:
                told = percent
                self._progress(f"uploaded {percent} % of the stemcell ({sent // 2**20} of {size // 2**20} MiB)")

    def _imported(self, bucket: str, key: str, properties: Mapping[str, Any], token: str) -> str:
        """The snapshot of the object. Raises Unavailable when the import fails."""
        tags = self._tags(properties, token, {})
        params = {
            "Description": f"caisson {token}", "DiskContainer.Format": "RAW", "DiskContainer.UserBucket.S3Bucket": bucket,
            "DiskContainer.UserBucket.S3Key": key, "RoleName": self._config.get("import_role") or "vmimport",
            **metadata.specifications({"import-snapshot-task": tags}),
        }
        if properties.get("encrypted", self._config.get("encrypted", False)):
            params["Encrypted"] = "true"
            if properties.get("kms_key_arn") or self._config.get("kms_key_arn"):
                params["KmsKeyId"] = str(properties.get("kms_key_arn") or self._config.get("kms_key_arn"))
        for number in range(1, _OLD_TOKENS):
            # Libcloud's ex_import_snapshot polls by itself, without tags, progress or an end for failed tasks.
            client = token if number == 1 else f"{token}.{number}"
            task = str(self._api.ask("ImportSnapshot", {**params, "ClientToken": client})["importTaskId"])
            snapshot = self._api.wait(f"import {task} to be completed", partial(self._import_result, task), _IMPORT_SECONDS)
            try:
                # The service puts the tags of the request on the task, not on the snapshot.
                self._api.ask(
                    "CreateTags", {"ResourceId.1": snapshot, **numbered_tags("Tag", tags)}, also=_not_there_yet, patience=_VISIBLE_SECONDS)
                return snapshot
            except NotFound:
                log.info("the snapshot %s of an earlier import is gone; importing again", snapshot)
        raise Conflict(f"the token '{token}' has made {_OLD_TOKENS} imports whose snapshots are gone", kind="stemcell")

    def _import_result(self, task: str) -> str | None:
        found = items(self._api.ask("DescribeImportSnapshotTasks", {"ImportTaskId.1": task}), "importSnapshotTaskSet")
        detail = found[0].get("snapshotTaskDetail", {}) if found else {}
        status = detail.get("status")
        if status in ("deleting", "deleted", "failed"):
            raise Unavailable(
                f"the import {task} failed: {detail.get('statusMessage') or status}", resource=task, kind="stemcell",
                suggestion="Has the role vmimport access to the bucket, and is the image a raw disk?")
        if status == "completed":
            return str(detail["snapshotId"])
        self._progress(f"importing the stemcell: {detail.get('statusMessage') or status} {detail.get('progress', '')}".strip())
        return None

    def _register(self, snapshot: str, properties: Mapping[str, Any], token: str, shape: str) -> str:
        device = str(properties["root_device_name"])
        params = {
            "Name": f"caisson-{token}", "Description": f"{properties.get('name', '')} {properties.get('version', '')}".strip() or token,
            "Architecture": str(properties["architecture"]), "VirtualizationType": "hvm", "RootDeviceName": device, "EnaSupport": "true",
            "BootMode": str(properties["boot_mode"]), "BlockDeviceMapping.1.DeviceName": device,
            "BlockDeviceMapping.1.Ebs.SnapshotId": snapshot, "BlockDeviceMapping.1.Ebs.VolumeType": "gp3",
            "BlockDeviceMapping.1.Ebs.DeleteOnTermination": "true",
            "BlockDeviceMapping.1.Ebs.VolumeSize": str(gib(int(properties["disk"]))),
            **metadata.specifications({"image": self._tags(properties, token, {SHAPE: shape})}),
        }
        try:
            # Libcloud's ex_register_image sends no tags.
            image = str(self._api.ask("RegisterImage", params, also=_not_there_yet, patience=120.0)["imageId"])
        except Conflict:
            there = self._of_token(token, shape)  # repeated after a lost answer
            if there is None:
                raise
            image = str(there["imageId"])
        self._api.ask("CreateTags", {"ResourceId.1": snapshot, **numbered_tags("Tag", {metadata.IMAGE: image})})
        return image

    def delete(self, cid: str) -> None:
        """See `Cpi.delete_stemcell`. Of a light one nothing is ours."""
        if cid.endswith(LIGHT) or not cid.startswith("ami-"):
            return
        snapshots: list[str] = []
        try:
            found = items(self._api.ask("DescribeImages", {"ImageId.1": cid}), "imagesSet")
            for mapping in items(found[0], "blockDeviceMapping") if found else []:
                if (mapping.get("ebs") or {}).get("snapshotId"):
                    snapshots.append(mapping["ebs"]["snapshotId"])
            self._api.ask("DeregisterImage", {"ImageId": cid})
        except NotFound:
            params = {"Owner.1": "self", **filters(**{f"tag:{metadata.IMAGE}": cid})}
            snapshots = [item["snapshotId"] for item in self._api.pages("DescribeSnapshots", "snapshotSet", params)]
        for snapshot in snapshots:
            self._api.call("DeleteSnapshot", partial(self._disks.delete_snapshot, snapshot), family="mutate", also=_still_used)


@contextlib.contextmanager
def _raw(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The raw disk in an image file and its size: BOSH's is a compressed archive with `root.img`, others are the disk itself."""
    with path.open("rb") as file:
        start = file.read(264)
    if start.startswith(b"\x1f\x8b") or start[257:262] == b"ustar":
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).name == "root.img":
                    stream = archive.extractfile(member)
                    if stream is not None:
                        yield stream, member.size
                        return
        raise Invalid(f"the archive {path.name} has no root.img", suggestion="Use a stemcell of format aws-raw.")
    with path.open("rb") as file:
        yield file, path.stat().st_size


def _not_there_yet(error: CpiError) -> bool:
    return isinstance(error, NotFound)


def _still_used(error: CpiError) -> bool:
    return error.code == "InvalidSnapshot.InUse"
