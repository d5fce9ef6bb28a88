"""Glance: stemcells that are there already (light), and those whose image is uploaded (heavy)."""

from __future__ import annotations

import contextlib
import gzip
import logging
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import requests

from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.cloud.waiting import wait_for
from cpis.contract import CpiError, Invalid, NotFound, Properties, Unavailable
from cpis.openstack.answers import Image
from cpis.openstack.api import Api
from cpis.openstack.driver import OpenStackDriver
from cpis.openstack.errors import ServiceError
from cpis.openstack.marks import Marks

LIGHT = " light"
BROKEN = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)
_INSIDE = "root.img"
_STEPS = 10
_BAD = ("killed", "deleted", "pending_delete", "deactivated")
# Names of these in Glance; others are properties under their own name. Source: the OpenStack CPI of BOSH.
_RENAMED = {"hypervisor": "hypervisor_type", "name": "stemcell_name", "version": "version"}
_NOT_PROPERTIES = ("image_id", "disk", "disk_format", "container_format", "infrastructure", "root_device_name")

log = logging.getLogger("cpis")


class Source:
    """A file-like image: what requests reads to send. `told` is called with the percentage, ten times."""

    def __init__(self, stream: IO[bytes], head: bytes, size: int, told: Callable[[int], None]) -> None:
        self._stream = stream
        self._head = head
        self._size = size
        self._sent = 0
        self._told = told

    def __len__(self) -> int:
        return self._size

    def read(self, count: int = -1) -> bytes:
        if self._head:
            block, self._head = self._head, b""
        else:
            try:
                block = self._stream.read(count)
            except BROKEN as error:
                raise Invalid(f"the image cannot be read: {error}", suggestion="Is the file complete? Fetch it again.") from error
        before, self._sent = self._sent, self._sent + len(block)
        step = self._sent * _STEPS // self._size
        if step != before * _STEPS // self._size:
            self._told(step * 100 // _STEPS)
        return block


@contextlib.contextmanager
def opened(path: Path, told: Callable[[int], None]) -> Iterator[tuple[Source, str]]:
    """(image, its format) of a file: raw or qcow2, or the tar archive with `root.img` that BOSH stemcells have. Raises Invalid."""
    if not path.is_file():
        raise Invalid(f"there is no image file {path}")
    with path.open("rb") as plain:
        head = plain.read(512)
        if head[:2] != b"\x1f\x8b" and head[257:262] != b"ustar":
            yield _source(plain, head, path.stat().st_size, told, path)
            return
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if Path(member.name).name == _INSIDE and member.isfile():
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield _source(stream, stream.read(512), member.size, told, path)
                    return
    except BROKEN as error:
        raise Invalid(f"{path} is no image and no readable archive: {error}", suggestion="Is the file complete? Fetch it again.") from error
    raise Invalid(f"{path} is an archive without {_INSIDE}", suggestion="A stemcell for OpenStack has its image under that name.")


def _source(stream: IO[bytes], head: bytes, size: int, told: Callable[[int], None], path: Path) -> tuple[Source, str]:
    if not size:
        raise Invalid(f"the image in {path} is empty")
    return Source(stream, head, size, told), "qcow2" if head[:4] == b"QFI\xfb" else "raw"


class Images:
    """`public` makes uploads visible to all projects; `progress` is told in words how far an upload is."""

    def __init__(
        self, api: Api, marks: Marks, *, public: bool, deadline: float, every: float, clock: Callable[[], float],
        sleep: Callable[[float], None], progress: Callable[[str], None] | None = None,
    ) -> None:
        self._api = api
        self._marks = marks
        self._public = public
        self._timing: dict[str, Any] = {
            "deadline": deadline, "every": min(0.5, every), "longest": every, "clock": clock, "sleep": sleep}
        self._progress = progress or log.info
        self._once = OnePerToken()

    def create(self, image_path: str, cloud_properties: Properties, token: str) -> str:
        """CID of the stemcell. Raises CpiError, and then nothing is left."""
        properties = Schema.of("openstack").check("stemcell", cloud_properties)
        if properties.get("image_id"):
            return self._light(str(properties["image_id"]))
        if not image_path:
            raise Invalid("a stemcell needs an image file, or the image_id of an image that is there")
        with self._once(token):
            for known in self.named(token):
                if known.status == "active":
                    return known.id
                self._api.send("DELETE", "image", f"/v2/images/{known.id}")  # half uploaded by a director that died
            return self._upload(Path(image_path), properties, token)

    def _light(self, cid: str) -> str:
        try:
            image = self.get(cid)
        except NotFound as error:
            raise Invalid(
                f"there is no image {cid}", resource=cid, request_id=error.request_id,
                suggestion="`openstack image list` shows what the project may use.") from error
        if image.status != "active":
            raise Invalid(f"the image {cid} is '{image.status}', not active", resource=cid)
        return cid + LIGHT

    def _upload(self, path: Path, properties: Mapping[str, Any], token: str) -> str:
        with opened(path, lambda percent: None) as (_, form):
            if properties.get("disk_format", form) != form:
                raise Invalid(f"the image in {path} is {form}, and disk_format says {properties['disk_format']}")
        cid = self._announced(properties, token, form)
        try:
            self._send(cid, path, lambda percent: self._progress(f"Uploading the image of {token}: {percent} %"))
            self._until_active(cid)
        except CpiError as error:
            try:
                self.delete(cid)
            except CpiError as second:
                error.message += f"; and the image {cid} could not be deleted: {second.message}"
                error.args = (error.message,)
            raise
        return cid

    def _announced(self, properties: Mapping[str, Any], token: str, form: str) -> str:
        """The id of an image without data. Raw: Libcloud has no call for it."""
        data: dict[str, Any] = {
            "name": token, "disk_format": form, "container_format": properties["container_format"], "tags": [self._marks.tag],
            "visibility": "public" if self._public else "private", "min_disk": int(properties.get("disk") or 0) // 1024}
        for key, value in properties.items():
            if key not in _NOT_PROPERTIES:
                data[_RENAMED.get(key, key)] = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            return self._api.create("image", "/v2/images", data, lambda answer: Image.read(answer).id)
        except Unavailable:
            found = self.named(token)
            if not found:
                raise
            return found[0].id

    def _send(self, cid: str, path: Path, told: Callable[[int], None]) -> None:
        """Raw on the connection's own session: Libcloud turns bytes into JSON (TypeError), and would hold the image in memory. A try after
        a refusal begins with the file anew."""
        def action(driver: OpenStackDriver) -> None:
            connection = driver.connection_of("image")
            connection._populate_hosts_and_request_paths()
            session: requests.Session = connection.connection.session
            with opened(path, told) as (source, _):
                answer = session.put(
                    f"{driver.session.address('image')}/v2/images/{cid}/file", data=source, verify=connection.connection.verification,
                    headers={"X-Auth-Token": connection.auth_token, "Content-Type": "application/octet-stream"},
                    timeout=driver.account.timeout_seconds, allow_redirects=False)
            if answer.status_code >= 400:
                raise ServiceError(answer.status_code, answer.text, answer.headers)
            if answer.status_code != 204:
                raise TypeError(f"an upload is not answered with status {answer.status_code}")

        self._api.do(f"glance PUT /v2/images/{cid}/file", action, repeatable=False, also=None)

    def _until_active(self, cid: str) -> None:
        def look() -> bool | None:
            status = self.get(cid).status
            if status in _BAD:
                raise CpiError(f"the image {cid} is '{status}' after its upload", resource=cid, code=status)
            return True if status == "active" else None

        wait_for(f"image {cid} to be active", look, **self._timing)

    def delete(self, cid: str) -> None:
        """A light stemcell's image is not ours. Gone before is success. Raises Conflict while the image is in use."""
        if cid.endswith(LIGHT):
            return
        try:
            # Raw: Libcloud's delete_image goes to Nova's proxy, which newer microversions do not have.
            self._api.send("DELETE", "image", f"/v2/images/{cid}")
        except NotFound:
            return

    def get(self, cid: str) -> Image:
        """Raises NotFound."""
        return self._api.get("image", f"/v2/images/{cid.removesuffix(LIGHT)}", Image.read)

    def named(self, token: str) -> list[Image]:
        """Those with this token."""
        return [image for image in self._list({"name": token}) if image.name == token]

    def owned(self) -> list[Image]:
        """All of this director."""
        return self._list({"tag": self._marks.tag, "limit": 100})

    def _list(self, query: Mapping[str, Any]) -> list[Image]:
        return [image for image in self._api.pages("image", "/v2/images", "images", Image.read, query) if self._marks.tag in image.tags]


def image_of(stemcell_cid: str) -> str:
    """The image's id."""
    return stemcell_cid.removesuffix(LIGHT)
