"""Images that machines are made from: the marketplace's, a gallery's, or uploaded ones. Source: CPI contract, section 7.2."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from libcloud.http import LibcloudConnection

from cpis.azure import vhd
from cpis.azure.arm import Arm
from cpis.azure.disks import Disks
from cpis.azure.driver import Driver, Trust, connected
from cpis.azure.errors import answered
from cpis.azure.names import DISK, GALLERY, IMAGE, checked, parts_of, ref_of, tags_of, upload_name
from cpis.cloud.schema import Schema
from cpis.contract import CpiError, Denied, Invalid, NotFound, NotSupported, Properties

_GALLERY_VERSION = "1.0.0"
_ACCESS_SECONDS = 24 * 3600
_URN_KEYS = ("publisher", "offer", "sku", "version")
_STORAGE_VERSION = "2022-11-02"

log = logging.getLogger("cpis")


class Stemcells:
    """A light stemcell's CID is the image's own name, so that nothing is kept; a heavy one's says where its image is."""

    def __init__(self, arm: Arm, disks: Disks) -> None:
        self._arm = arm
        self._settings = arm.settings
        self._disks = disks

    def create(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        known = {key.name for key in Schema.of("azure").sections["stemcell"]}
        # Stemcells are made by others, and say more about themselves than we need to know.
        properties = Schema.of("azure").check("stemcell", {key: value for key, value in cloud_properties.items() if key in known})
        if properties.get("image"):
            return self._marketplace(properties["image"])
        if properties.get("image_id"):
            return f"image_id:{self._existing(str(properties['image_id']))}"
        path = Path(image_path) if image_path else None
        if path is None or not path.is_file() or not path.stat().st_size:
            raise Invalid(
                "the stemcell has no image file, and its cloud properties neither 'image' (publisher, offer, sku, version) nor 'image_id'",
                suggestion="manifests/stemcells/debian-12-azure.yml is one for Azure.")
        return self._heavy(path, properties, checked(token))

    # Light

    def _marketplace(self, image: Mapping[str, Any]) -> str:
        """Raises NotFound for a version that the region does not have; `latest` becomes the latest."""
        publisher, offer, sku = (str(image[key]) for key in _URN_KEYS[:3])
        wanted = str(image.get("version") or "latest")
        for part in (publisher, offer, sku, wanted):
            if not part or any(char in part for char in ":;/"):
                raise Invalid(f"'{part}' is no part of an image's name")
        location = self._disks.location()
        urn = f"{publisher}:{offer}:{sku}"
        base = f"/subscriptions/{self._settings.subscription}/providers/Microsoft.Compute/locations/{location}/publishers/{publisher}"
        path = f"{base}/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions"
        known: list[str] | None = None
        try:
            known = [str(item["name"]) for item in self._arm.whole(path, f"versions of the image {urn}")]
        except (NotFound, NotSupported, Denied) as error:
            if isinstance(error, NotFound) and "artifact" in error.message.lower():
                raise NotFound(f"there is no image {urn} in {location}", resource=urn, kind="stemcell", code=error.code,
                               suggestion=f"`az vm image list --all -l {location} -p {publisher}` lists those that there are.") from error
            # Without the role for the subscription nobody may look, but machines can be made all the same.
            log.warning("whether there is an image %s cannot be looked up: %s", urn, error)
        if known is not None and wanted == "latest":
            wanted = max(known, key=_number, default="")
        if known is not None and wanted not in known:
            latest = ", ".join(sorted(known, key=_number)[-3:]) or "none"
            raise NotFound(f"the image {urn} has no version '{wanted}' in {location}", resource=urn, kind="stemcell",
                           suggestion=f"the latest are: {latest}.")
        plan = ";plan:true" if image.get("plan") else ""
        return f"image:{urn}:{wanted}{plan}"

    def _existing(self, identity: str) -> str:
        """The id of an image that somebody made, when it is there."""
        pieces = identity.strip("/").split("/")
        if len(pieces) < 8 or pieces[0].lower() != "subscriptions" or ";" in identity or "?" in identity:
            raise Invalid(f"'{identity}' is no resource id of an image", suggestion="/subscriptions/S/resourceGroups/G/providers/...")
        self._arm.get(identity, f"image {pieces[-1]}")
        return identity

    def image_of(self, cid: str) -> Mapping[str, Any]:
        """`reference` for a machine's creation, and whether it has a `plan`. Raises Invalid for what is no stemcell."""
        if cid.startswith("image:"):
            urn, _, more = cid.removeprefix("image:").partition(";")
            parts = urn.split(":")
            if len(parts) != len(_URN_KEYS):
                raise Invalid(f"'{cid}' is no stemcell of Azure", resource=cid)
            return {"reference": dict(zip(_URN_KEYS, parts, strict=True)), "plan": more == "plan:true"}
        if cid.startswith("image_id:"):
            return {"reference": {"id": cid.removeprefix("image_id:")}}
        return {"reference": {"id": self._path(cid)}}

    def look(self, cid: str) -> str:
        """That a stemcell's image is there, in words. Raises NotFound."""
        reference = self.image_of(cid)["reference"]
        if "id" in reference:
            found = self._arm.get(str(reference["id"]), f"image {cid}")
            return f"{(found.get('properties') or {}).get('provisioningState') or 'there'}"
        return self._marketplace(reference)

    def _path(self, cid: str) -> str:
        """The id of a heavy stemcell's image, or of its version in a gallery."""
        ref, parts = ref_of(self._settings, cid, "image_name"), parts_of(cid)
        if parts.get("gallery"):
            return f"{self._settings.id_of(GALLERY, parts['gallery'], ref.group)}/images/{ref.name}/versions/{_GALLERY_VERSION}"
        return self._settings.id_of(IMAGE, ref.name, ref.group)

    # Heavy

    def _heavy(self, path: Path, properties: Mapping[str, Any], token: str) -> str:
        """Upload to a managed disk and make an image, or a gallery's version, of it. What fails leaves nothing."""
        gallery = str(self._settings.config.get("compute_gallery_name") or "")
        cid = f"image_name:{token};resource_group_name:{self._settings.group.lower()}"
        if gallery:
            cid = f"gallery:{gallery};{cid}"
        found = self._arm.find(self._path(cid), f"image {token}")
        if found is not None and str(found["properties"].get("provisioningState")).lower() == "succeeded":
            return cid
        upload = self._settings.id_of(DISK, upload_name(token))
        self._drop(cid, token)
        try:
            state = self._settings.config.get("state_dir")
            with vhd.unpacked(path, Path(state) if state else None) as image:
                self._upload(image, upload, properties, token)
            self._image(cid, upload, properties, token)
            self._drop_upload(upload, token)
        except BaseException as error:
            try:
                self._drop(cid, token)
            except CpiError as second:
                log.warning("what was made of the stemcell %s could not be deleted: %s", token, second)
                if isinstance(error, CpiError):
                    raise type(error)(f"{error.message}; and what was made of it could not be deleted: {second}") from error
            raise
        return cid

    def _upload(self, image: Path, upload: str, properties: Mapping[str, Any], token: str) -> None:
        """Raw: `azure_blobs` makes block blobs, and a disk is written in pages."""
        size = vhd.size_of(image)
        self._arm.put(upload, f"disk for the upload of {token}", {
            "location": self._disks.location(), "tags": tags_of({}, self._settings, token), "sku": {"name": "Standard_LRS"},
            "properties": {"osType": "Linux", "hyperVGeneration": _generation(properties),
                           "creationData": {"createOption": "Upload", "uploadSizeBytes": size}}})
        granted = self._arm.post(
            f"{upload}/beginGetAccess", f"access for the upload of {token}", {"access": "Write", "durationInSeconds": _ACCESS_SECONDS})
        url = str(granted.get("accessSAS") or granted.get("accessSas") or "")
        if not urlsplit(url).hostname:
            raise Invalid(f"upload of {token}: Azure gave no address to write to")
        try:
            Pages(self._arm, url, int(self._settings.config["parallel_upload_thread_num"]), token).write(image, size)
        finally:
            self._arm.post(f"{upload}/endGetAccess", f"end of the upload of {token}")

    def _image(self, cid: str, upload: str, properties: Mapping[str, Any], token: str) -> None:
        tags, location = tags_of({}, self._settings, token), self._disks.location()
        path = self._path(cid)
        if not parts_of(cid).get("gallery"):
            self._arm.put(path, f"image {token}", {"location": location, "tags": tags, "properties": {
                "hyperVGeneration": _generation(properties), "storageProfile": {
                    "osDisk": {"osType": "Linux", "osState": "Generalized", "managedDisk": {"id": upload}}}}}, deadline=3600.0)
            return
        arm64 = properties.get("architecture") == "arm64"
        definition = path.rpartition("/versions/")[0]
        self._arm.put(definition, f"definition of the image {token}", {"location": location, "tags": tags, "properties": {
            "osType": "Linux", "osState": "Generalized", "hyperVGeneration": _generation(properties),
            "architecture": "Arm64" if arm64 else "x64", "identifier": {"publisher": "caisson", "offer": token, "sku": "stemcell"}}})
        self._arm.put(path, f"version of the image {token}", {"location": location, "tags": tags, "properties": {
            "publishingProfile": {"targetRegions": [
                {"name": location, "regionalReplicaCount": int(self._settings.config["compute_gallery_replicas"])}]},
            "storageProfile": {"osDiskImage": {"source": {"id": upload}}}}}, deadline=7200.0)

    def delete(self, cid: str) -> None:
        """A light stemcell is somebody else's image, which stays."""
        if cid.startswith(("image:", "image_id:")):
            return
        self._drop(cid, ref_of(self._settings, cid, "image_name").name)

    def _drop(self, cid: str, token: str) -> None:
        path = self._path(cid)
        self._arm.delete(path, f"image {token}")
        if "/versions/" in path:
            self._arm.delete(path.rpartition("/versions/")[0], f"definition of the image {token}")
        self._drop_upload(self._settings.id_of(DISK, upload_name(token)), token)

    def _drop_upload(self, upload: str, token: str) -> None:
        """A disk whose upload was cut off is open for writing until that is ended."""
        disk = self._arm.find(upload, f"disk for the upload of {token}")
        if disk is None:
            return
        if disk["properties"].get("diskState") == "ActiveUpload":
            self._arm.post(f"{upload}/endGetAccess", f"end of the upload of {token}")
        self._arm.delete(upload, f"disk for the upload of {token}")


class Pages:
    """Writes a file to a page blob, some pages at a time, and says how far it is."""

    def __init__(self, arm: Arm, url: str, threads: int, token: str) -> None:
        self._arm = arm
        self._url = urlsplit(url)
        self._threads = max(1, min(threads, 64))
        self._token = token
        self._own = threading.local()
        self._made: list[LibcloudConnection] = []

    def write(self, image: Path, size: int) -> None:
        """Raises CpiError; pages under way are waited for."""
        told = -1
        with self._closing(), ThreadPoolExecutor(self._threads) as pool, image.open("rb") as stream:
            waiting: set[Future[None]] = set()
            for offset, data in vhd.pages(stream, size):
                if len(waiting) >= 2 * self._threads:  # read no further ahead than can be written
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                waiting.add(pool.submit(self._page, offset, data))
                percent = offset * 10 // size * 10
                if percent > told:
                    told = percent
                    log.info("upload of %s: %d %% of %d MiB", self._token, percent, size >> 20)
            for future in waiting:
                future.result()
        log.info("upload of %s: all of %d MiB", self._token, size >> 20)

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            for connection in self._made:
                if connection.session is not None:
                    connection.session.close()

    def _connection(self) -> LibcloudConnection:
        found = getattr(self._own, "connection", None)
        if found is None:
            place = self._arm.settings.place
            found = self._own.connection = connected(self._url.geturl(), place, Trust(self._arm.drivers.trust.path()))
            self._made.append(found)
        return found

    def _page(self, offset: int, data: bytes) -> None:
        headers = {
            "x-ms-range": f"bytes={offset}-{offset + len(data) - 1}", "x-ms-page-write": "update", "x-ms-version": _STORAGE_VERSION,
            "Content-Length": str(len(data)), "Content-Type": "application/octet-stream"}

        def action(driver: Driver) -> None:
            connection = self._connection()
            connection.request("PUT", f"{self._url.path}?{self._url.query}&comp=page", data, headers)
            response = connection.getresponse()
            if response.status_code != 201:
                raise answered(int(response.status_code), str(response.text), dict(response.headers))
        self._arm.call(f"upload of {self._token} at byte {offset}", action, family="pages")


def _generation(properties: Mapping[str, Any]) -> str:
    return "V2" if properties.get("generation") == "gen2" else "V1"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
