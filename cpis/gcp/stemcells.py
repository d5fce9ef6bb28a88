"""Images: those that exist (light stemcells), and those made of an archive in Cloud Storage or of a file that is uploaded there first."""

from __future__ import annotations

import logging
import os
import re
import tarfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from cpis.cloud.faults import MALFORMED
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.tags import SHAPE
from cpis.cloud.waiting import wait_for
from cpis.contract import Conflict, CpiError, Denied, Invalid, NotFound, Properties, Unavailable
from cpis.gcp.api import Body, Compute, absolute, next_page, quoted
from cpis.gcp.driver import API
from cpis.gcp.errors import EXISTS
from cpis.gcp.names import digest, is_ours, labels_of, name_of
from cpis.gcp.settings import Settings

_SPACE = uuid.UUID("5d5b7a35-0a3e-49b6-8e62-3f2d7c1f0c11")
_IMAGE_SECONDS = 3600.0
_CHUNK_BYTES = 8 * 2**20
_UPLOAD_TRIES = 8
_UPLOAD_TIMEOUT_SECONDS = 300.0
_OBJECT = "disk.tar.gz"
STEMCELL = "caisson-stemcell"
_RANGE = re.compile(r"bytes=0-(\d+)")

log = logging.getLogger("cpis")


class Stemcells:
    """`progress(text)` is told how far an upload is."""

    def __init__(
        self, settings: Settings, compute: Compute, *, progress: Callable[[str], None] = log.info,
        clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._compute = compute
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._once = OnePerToken()

    def create(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """The path of an image that exists, or the name of the one that was made."""
        properties = Schema.of("gcp").check("stemcell", cloud_properties)
        if properties.get("image_url"):
            return self._light(str(properties["image_url"]))
        name = name_of("stemcell", token)
        shape = digest([dict(cloud_properties), os.path.getsize(image_path) if os.path.isfile(image_path) else 0])
        labels = labels_of(
            self._settings.director, token, {key: str(properties[key]) for key in ("name", "version") if properties.get(key)},
            extra={SHAPE: shape})
        with self._once(token):
            there = self._compute.look(f"/global/images/{quoted(name)}")
            if there is not None:
                return self._taken_over(there, token, shape)
            if properties.get("source_url"):
                self._image(name, labels, properties, _source(str(properties["source_url"])))
            else:
                self._heavy(name, labels, properties, image_path)
        return name

    def _light(self, url: str) -> str:
        """The CID: `projects/p/global/images/i`. Of a family, the image that is its newest now. Raises NotFound, Invalid."""
        if not re.search(r"global/images/(family/)?[^/]+$", url):
            raise Invalid(f"'{url}' is no image", suggestion="Say projects/PROJECT/global/images/NAME, or .../images/family/FAMILY.")
        image = self._compute.get(absolute(url, self._settings.project))
        link = str(image.get("selfLink") or "")
        if f"{API}/" not in link:
            raise Unavailable(f"image {url}: the answer has no selfLink", code=MALFORMED)
        if (image.get("deprecated") or {}).get("state") in ("OBSOLETE", "DELETED"):
            raise Invalid(f"the image {url} is {image['deprecated']['state']}", resource=url, kind="image")
        return f"projects/{link.split(API + '/')[1]}"

    def _taken_over(self, image: Body, token: str, shape: str) -> str:
        name, labels = str(image["name"]), image.get("labels") or {}
        if not is_ours(labels, self._settings.director, token, shape):
            raise Conflict(f"there is an image '{name}' that was made with other arguments", resource=name, kind="stemcell")
        self._until_ready(name)
        self._remove_bucket(name)
        return name

    def _until_ready(self, name: str) -> None:
        def ready() -> bool | None:
            status = self._compute.get(f"/global/images/{quoted(name)}").get("status")
            if status == "FAILED":
                self.delete(name)
                raise Unavailable(f"image {name} is FAILED", resource=name, kind="stemcell", code="FAILED")
            return status == "READY" or None

        wait_for(f"image {name} to be ready", ready, deadline=_IMAGE_SECONDS, clock=self._clock, sleep=self._sleep)

    def _image(self, name: str, labels: Mapping[str, str], properties: Mapping[str, Any], source: str) -> None:
        """Raw: Libcloud's `ex_copy_image` sends no labels and then lists the images of 13 public projects to find its result."""
        raw: Body = {"source": source}
        if properties.get("raw_disk_sha1"):
            raw["sha1Checksum"] = properties["raw_disk_sha1"]
        told = " ".join(str(properties[key]) for key in ("name", "version") if properties.get(key))
        body: Body = {
            "name": name, "description": told or "made by Caisson", "rawDisk": raw, "labels": dict(labels),
            "guestOsFeatures": [{"type": "VIRTIO_SCSI_MULTIQUEUE"}],
        }
        if self._settings.bucket_location:
            body["storageLocations"] = [self._settings.bucket_location]
        try:
            self._compute.run("POST", "/global/images", body, seconds=_IMAGE_SECONDS)
        except CpiError as error:
            if not (isinstance(error, Conflict) and error.code in EXISTS):
                self.delete(name)
                raise
        self._until_ready(name)

    def delete(self, cid: str) -> None:
        """A light one's image is not ours. With what an interrupted upload left."""
        if "/" in cid:
            return
        driver = self._compute.driver
        try:
            driver.ex_delete_image(driver.image(quoted(cid)))
        except NotFound:
            log.debug("image %s is gone already", cid)
        try:
            self._remove_bucket(cid)
        except Denied as error:
            log.info("no upload of %s is looked for: who may not delete it has not made one (%s)", cid, error)

    # Upload

    def _heavy(self, name: str, labels: Mapping[str, str], properties: Mapping[str, Any], image_path: str) -> None:
        path = _archive(image_path)
        bucket = bucket_of(name)
        self._remove_bucket(name)  # what an interrupted call left
        try:
            self._make_bucket(bucket, {**labels, STEMCELL: name})
            self._upload(path, bucket)
            self._image(name, labels, properties, f"https://storage.googleapis.com/{bucket}/{_OBJECT}")
        finally:
            self._remove_bucket(name)

    def _make_bucket(self, bucket: str, labels: Mapping[str, str]) -> None:
        body: Body = {
            "name": bucket, "labels": dict(labels), "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
            "lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 1}}]},
        }
        if self._settings.bucket_location:
            body["location"] = self._settings.bucket_location
        try:
            self._storage("POST", "/storage/v1/b", {"project": self._settings.project}, body)
        except Conflict as error:
            log.debug("bucket %s is there already: %s", bucket, error)

    def _upload(self, path: Path, bucket: str) -> None:
        """In chunks, each tried again from where the last one got to. Raises Unavailable when nothing moves."""
        size, sent, tries, told = path.stat().st_size, 0, 0, -1
        session = self._session(bucket, size)
        with path.open("rb") as file:
            while sent < size:
                file.seek(sent)
                chunk = file.read(_CHUNK_BYTES)
                wrong: CpiError = Unavailable(f"upload of {path.name}: nothing arrives", code=MALFORMED)
                try:
                    now = self._chunk(session, chunk, f"bytes {sent}-{sent + len(chunk) - 1}/{size}", size)
                except Unavailable as error:
                    wrong = error
                    self._sleep(min(32.0, 2.0**tries))
                    now = self._chunk(session, b"", f"bytes */{size}", size)
                tries = 0 if now > sent else tries + 1
                if tries >= _UPLOAD_TRIES:
                    raise wrong
                sent = now
                if sent * 10 // size > told:
                    told = sent * 10 // size
                    self._progress(f"upload of {path.name}: {sent * 100 // size} % of {size / 2**20:.0f} MiB")

    def _session(self, bucket: str, size: int) -> str:
        headers = {"X-Upload-Content-Length": str(size), "X-Upload-Content-Type": "application/gzip"}
        answer = self._compute.call(
            f"upload to {bucket}", lambda: self._compute.storage.request(
                f"/upload/storage/v1/b/{bucket}/o", params={"uploadType": "resumable", "name": _OBJECT}, method="POST", headers=headers),
            family="storage")
        link = urlsplit(answer.headers.get("location") or "")
        if not link.query:
            raise Unavailable(f"upload to {bucket}: the answer names no session", code=MALFORMED)
        return f"{link.path}?{link.query}"

    def _chunk(self, session: str, data: bytes, told: str, size: int) -> int:
        """Send bytes (none: only ask); answers how many are there now. Not tried again here: how many came must be asked first."""
        asking = not data
        answer = self._compute.call(
            f"upload {told}", lambda: self._compute.storage.request(
                session, method="PUT", data=data, headers={"Content-Range": told, "Content-Length": str(len(data))},
                timeout=_UPLOAD_TIMEOUT_SECONDS),
            family="storage", repeatable=asking)
        if answer.status != 308:
            return size
        found = _RANGE.fullmatch(answer.headers.get("range") or "")
        return int(found.group(1)) + 1 if found else 0

    def _remove_bucket(self, name: str) -> None:
        bucket = bucket_of(name)
        for path in (f"/storage/v1/b/{bucket}/o/{_OBJECT}", f"/storage/v1/b/{bucket}"):
            try:
                self._storage("DELETE", path)
            except NotFound:
                log.debug("%s is gone already", path)

    def _storage(self, method: str, path: str, params: Mapping[str, str] | None = None, body: Any = None) -> Body:
        answer = self._compute.call(
            f"{method} {path}", lambda: self._compute.storage.request(path, params=dict(params or {}), data=body, method=method),
            family="storage").object
        return answer if isinstance(answer, dict) else {}

    def buckets(self) -> list[Body]:
        """Buckets of interrupted uploads."""
        found: list[Body] = []
        tokens = [""]
        while True:
            params = {"project": self._settings.project, "prefix": "caisson-", **({"pageToken": tokens[-1]} if tokens[-1] else {})}
            page = self._storage("GET", "/storage/v1/b", params)
            found += page.get("items") or []
            if not page.get("nextPageToken"):
                return found
            tokens.append(next_page("list of buckets", tokens, page))


def bucket_of(name: str) -> str:
    """The bucket through which the image of this name is uploaded. Names of buckets are one's own in the whole world."""
    return f"caisson-{uuid.uuid5(_SPACE, name)}"


def _source(url: str) -> str:
    if url.startswith("gs://"):
        bucket, _, name = url.removeprefix("gs://").partition("/")
        return f"https://storage.googleapis.com/{bucket}/{quote(name)}"
    if not url.startswith("https://"):
        raise Invalid(f"'source_url' must be a gs:// or https:// URL, not '{url}'")
    return url


def _archive(image_path: str) -> Path:
    """Raises Invalid for what is no archive with a raw disk."""
    path = Path(image_path)
    if not image_path or not path.is_file() or not path.stat().st_size:
        raise Invalid(
            f"there is no image file '{image_path}', and the stemcell names none",
            suggestion="A light stemcell has `image_url` in its cloud_properties, for example "
            "projects/debian-cloud/global/images/family/debian-12.")
    try:
        with tarfile.open(path, mode="r|gz") as archive:
            first = archive.next()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Invalid(f"{path.name} is no tar.gz archive: {error}", suggestion="It should hold disk.raw.") from error
    if first is None or first.name.removeprefix("./") != "disk.raw":
        raise Invalid(f"{path.name} does not begin with disk.raw", suggestion="Make it with: tar --format=oldgnu -Sczf image disk.raw")
    return path
