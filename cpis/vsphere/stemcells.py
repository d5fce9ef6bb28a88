"""Stemcells: machines that are never started, with a snapshot that others are cloned from, one on each datastore that needs one.

Source: CPI contract, sections 10.1 and 10.2 (`create_stemcell`). A light stemcell names a template that is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyVmomi import vim

from cpis.cloud.keyed import OnePerToken
from cpis.cloud.waiting import wait_for
from cpis.contract import Conflict, CpiError, Found, Invalid, NoCapacity, NotFound, Properties
from cpis.vsphere import images
from cpis.vsphere.config import SCHEMA, Config
from cpis.vsphere.errors import of_fault
from cpis.vsphere.inventory import Cluster, Datastore, Inventory, Start, collect, read, traverse
from cpis.vsphere.marks import Marks, collect_marked, instance_uuid, shape
from cpis.vsphere.placement import Placement
from cpis.vsphere.session import Session
from cpis.vsphere.tasks import run

LIGHT = " light"
_SNAPSHOT = "initial"
_LEASE_SECONDS = 300.0
_UPLOAD_SECONDS = 600.0

log = logging.getLogger("cpis")


class _LeaseGone(NotFound):
    """The lease of an upload ended before the upload did: it belongs to the session that it was given to."""


@dataclasses.dataclass(frozen=True)
class Template:
    """What machines are cloned from. Without a `snapshot` a clone is a full copy. `devices` are its virtual hardware."""

    ref: Any
    snapshot: Any
    devices: tuple[Any, ...]
    datastores: tuple[Any, ...]


class Stemcells:
    """Safe to use from many threads."""

    def __init__(self, session: Session, inventory: Inventory, placement: Placement, config: Config, clock: Callable[[], float]) -> None:
        self._session = session
        self._inventory = inventory
        self._placement = placement
        self._config = config
        self._clock = clock
        self._once = OnePerToken()
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Any], Template] = {}

    def create(self, image_path: str, properties: Properties, token: str) -> str:
        """As the contract says. A light stemcell's CID is the path of its template."""
        values = SCHEMA.check("stemcell", properties)
        if values.get("template"):
            path = str(values["template"]).strip("/")
            if self._inventory.find(f"vm/{path}") is None:
                raise Invalid(f"there is no template '{path}' below the datacenter's machines", suggestion="template: folder/name")
            return path + LIGHT
        if not image_path:
            raise Invalid("a stemcell without an image must name a 'template'", suggestion="template: the path of a template in vCenter")
        mark = Marks(token, self._config.director, shape("stemcell", dict(properties)), self._clock(), metadata=_described(values))
        with self._once(token):
            if self._whole(token, mark.shape):
                return token
            try:
                self._import(image_path, token, mark)
            except _LeaseGone:
                log.info("the session of the upload ended, and the upload with it: once more")
                self._import(image_path, token, mark)
        return token

    def _whole(self, cid: str, its_shape: str) -> bool:
        """Whether it is there with its snapshot; what an interrupted import left is taken away. Raises Conflict for another's token."""
        ref = self._find(cid)
        if ref is None:
            return False
        facts, marks = collect_marked(self._session, [Start(ref)], "snapshot.currentSnapshot").get(ref, ({}, Marks()))
        if marks.shape and marks.shape != its_shape:
            raise Conflict(f"the token '{cid}' has made another stemcell", resource=cid, kind="stemcell")
        if facts.get("snapshot.currentSnapshot"):
            return True
        self._destroy(ref)
        return False

    def _import(self, path: str, cid: str, mark: Marks) -> None:
        with images.opened(path) as image:
            self._import_image(image, cid, mark)

    def _import_image(self, image: images.Image, cid: str, mark: Marks) -> None:
        cluster, pool, store = self._where(cid, image)
        folder = self._inventory.folder(self._config.template_folder)
        manager = self._session.content.ovfManager
        mapping = [vim.OvfManager.NetworkMapping(name=name, network=cluster.networks[0]) for name in image.networks if cluster.networks]
        params = vim.OvfManager.CreateImportSpecParams(entityName=cid, diskProvisioning="thin", networkMapping=mapping)
        result = manager.CreateImportSpec(image.ovf, pool, store.ref, params)
        if result.error:
            raise Invalid(f"vCenter refuses the OVF: {'; '.join(str(of_fault('CreateImportSpec', fault)) for fault in result.error)}")
        spec = result.importSpec.configSpec
        # No NICs, as a machine gets its own; and marked in the creating request.
        spec.deviceChange = [
            change for change in spec.deviceChange or [] if not isinstance(change.device, vim.vm.device.VirtualEthernetCard)]
        spec.instanceUuid = instance_uuid(f"stemcell {cid}")  # not that of a machine with this token
        spec.extraConfig = [*(spec.extraConfig or []), *mark.options()]
        try:
            lease = pool.ImportVApp(result.importSpec, folder, self._host(cluster, store))
            with self._leased(lease) as info:
                self._upload(lease, info, result.fileItem or [], image)
            ref = self._find(cid)
            if ref is None:
                raise NotFound(f"the imported stemcell {cid} is not there", resource=cid, kind="stemcell")
            run(self._session, f"snapshot of stemcell {cid}", lambda: ref.CreateSnapshot_Task(_SNAPSHOT, "", False, False))
        except BaseException as error:
            self._away(cid, error)
            raise

    def _where(self, cid: str, image: images.Image) -> tuple[Cluster, Any, Datastore]:
        size_mib = sum(image.sizes.values()) // (1024 * 1024) + 1
        spot = self._placement.spots(cid, self._config.places, self._config.stores, ram_mib=0, disk_mib=size_mib)[0]
        return spot.cluster, spot.pool, spot.datastore

    def _host(self, cluster: Cluster, store: Datastore) -> Any:
        """A host of the cluster that is well and reaches the datastore: a cluster without DRS does not choose one itself."""
        wanted = ("runtime.connectionState", "runtime.inMaintenanceMode", "datastore")
        facts = collect(self._session, [Start(host) for host in cluster.hosts], {vim.HostSystem: wanted})
        for host, found in facts.items():
            well = found.get("runtime.connectionState", "connected") == "connected" and not found.get("runtime.inMaintenanceMode")
            if well and store.ref in (found.get("datastore") or []):
                return host
        raise NoCapacity(f"no host of {cluster.name} is connected, out of maintenance and reaches {store.name}")

    @contextlib.contextmanager
    def _leased(self, lease: Any) -> Iterator[Any]:
        """The lease's info when it is ready; completed at the end, aborted when the body fails. Raises _LeaseGone."""

        def look() -> Any:
            facts = read(self._session, lease, "state", "info", "error")
            if facts.get("state") == "error":
                raise of_fault("ImportVApp", facts.get("error"))
            return facts.get("info") if facts.get("state") == "ready" else None

        try:
            try:
                yield wait_for(
                    "vCenter to be ready for the upload", look, deadline=_LEASE_SECONDS, every=0.2, clock=self._session.clock,
                    sleep=self._session.sleep)
            except BaseException:
                with contextlib.suppress(CpiError):  # an error of its own already; an aborted lease ends by itself, too
                    lease.HttpNfcLeaseAbort()
                raise
            lease.HttpNfcLeaseComplete()
        except NotFound as error:
            if error.resource != lease._moId:
                raise
            raise _LeaseGone(error.message, code=error.code, resource=error.resource) from error

    def _upload(self, lease: Any, info: Any, files: Sequence[Any], image: images.Image) -> None:
        urls = {device.importKey: device.url for device in info.deviceUrl}
        total = sum(image.size(file.path) for file in files)
        sent = 0

        def report(percent: int) -> None:
            log.info("stemcell upload: %d %%", percent)
            lease.HttpNfcLeaseProgress(percent)

        for file in files:
            if file.deviceId not in urls:
                raise Invalid(f"vCenter has no place for '{file.path}' of the image")
            size = image.size(file.path)
            with image.open(file.path) as stream:
                upload = images.Upload(stream, size, total, report, self._session.clock, sent)
                headers = {"Content-Type": "application/x-vnd.vmware-streamVmdk", "Content-Length": str(size)}
                method = "PUT" if file.create else "POST"
                self._session.http(method, self._device_url(urls[file.deviceId]), data=upload, headers=headers, timeout=_UPLOAD_SECONDS)
                sent = upload.sent
            if sent < size:
                raise Invalid(f"'{file.path}' of the image ended early")
        report(100)

    def _device_url(self, url: str) -> str:
        """`*` for a host means the vCenter itself; all else is a host's own name."""
        parts = urllib.parse.urlsplit(url)
        if parts.netloc != "*":
            return url
        return f"{self._session.address.url}{parts.path}" + (f"?{parts.query}" if parts.query else "")

    def _away(self, cid: str, error: BaseException) -> None:
        """Take away what an import left. When that fails too, the error says so."""
        try:
            ref = self._find(cid)
            if ref is not None:
                self._destroy(ref)
        except CpiError as second:
            error.add_note(f"and the half stemcell {cid} could not be taken away: {second}")

    # Use

    def template(self, cid: str, store: Datastore, pool: Any) -> Template:
        """What to clone a machine on that datastore from; it is copied there first when need be. Raises NotFound."""
        key = (cid, store.ref)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            with self._once(f"{cid} {store.ref._moId}"):
                known = self._light(cid) if cid.endswith(LIGHT) else self._on(cid, store, pool)
            with self._lock:
                self._known[key] = known
        return known

    def forget(self, cid: str) -> None:
        """What was known of it is wrong: look again the next time."""
        with self._lock:
            self._known = {key: value for key, value in self._known.items() if key[0] != cid}

    def _light(self, cid: str) -> Template:
        path = cid.removesuffix(LIGHT)
        ref = self._inventory.find(f"vm/{path}")
        if not isinstance(ref, vim.VirtualMachine):
            raise NotFound(f"there is no template '{path}'", resource=cid, kind="stemcell")
        return self._template(ref)

    def _on(self, cid: str, store: Datastore, pool: Any) -> Template:
        ref = self._find(cid)
        if ref is None:
            raise NotFound(f"there is no stemcell {cid}", resource=cid, kind="stemcell")
        first = self._template(ref)
        if store.ref in first.datastores:
            return first
        name = f"{cid}.{hashlib.sha256(store.ref._moId.encode()).hexdigest()[:8]}"
        copy = self._inventory.find(f"vm/{self._config.template_folder}/{name}")
        if copy is not None:
            found = self._template(copy)
            if found.snapshot is not None:
                return found
            self._destroy(copy)  # an interrupted copy
        return self._template(self._copied(cid, ref, name, store, pool))

    def _copied(self, cid: str, ref: Any, name: str, store: Datastore, pool: Any) -> Any:
        folder = self._inventory.folder(self._config.template_folder)
        place = vim.vm.RelocateSpec(datastore=store.ref, pool=pool, diskMoveType="moveAllDiskBackingsAndDisallowSharing")
        mark = Marks("", self._config.director, "", self._clock(), metadata={"copy_of": cid})
        spec = vim.vm.CloneSpec(location=place, powerOn=False, template=False, config=vim.vm.ConfigSpec(extraConfig=mark.options()))
        log.info("copying stemcell %s to %s", cid, store.name)
        copy = run(self._session, f"copy of stemcell {cid} to {store.name}", lambda: ref.CloneVM_Task(folder, name, spec))
        try:
            run(self._session, f"snapshot of stemcell {cid}", lambda: copy.CreateSnapshot_Task(_SNAPSHOT, "", False, False))
        except BaseException:
            with contextlib.suppress(CpiError):  # whoever needs it next finds it without a snapshot and makes it anew
                self._destroy(copy)
            raise
        return copy

    def _template(self, ref: Any) -> Template:
        facts = read(self._session, ref, "snapshot.currentSnapshot", "config.hardware.device", "datastore")
        return Template(
            ref, facts.get("snapshot.currentSnapshot"), tuple(facts.get("config.hardware.device") or ()),
            tuple(facts.get("datastore") or ()))

    def delete(self, cid: str) -> None:
        """All copies go, the first one last, so that an interrupted deletion is found again."""
        if cid.endswith(LIGHT):
            return
        self.forget(cid)
        copies = [ref for ref, facts in self._in_folder().items() if facts.get("name", "").startswith(f"{cid}.")]
        first = self._find(cid)
        for ref in [*copies, *([first] if first is not None else [])]:
            self._destroy(ref)

    def _in_folder(self) -> dict[Any, dict[str, Any]]:
        folder = self._inventory.find(f"vm/{self._config.template_folder}")
        if folder is None:
            return {}
        return collect(self._session, [Start(folder, [traverse("in", vim.Folder, "childEntity")], True)], {vim.VirtualMachine: ["name"]})

    def _find(self, cid: str) -> Any:
        found = self._inventory.find(f"vm/{self._config.template_folder}/{cid}")
        return found if isinstance(found, vim.VirtualMachine) else None

    def _destroy(self, ref: Any) -> None:
        with contextlib.suppress(NotFound):
            run(self._session, "deletion of a stemcell", ref.Destroy_Task)

    def find(self, token: str) -> list[Found]:
        """What this token made, whole or half."""
        ref = self._find(token)
        if ref is None:
            return []
        _, marks = collect_marked(self._session, [Start(ref)], "name").get(ref, ({}, Marks()))
        return [dataclasses.replace(marks, token=token).found("stemcell", token)]

    def owned(self) -> list[Found]:
        """Those of this director; copies belong to their first."""
        folder = self._inventory.find(f"vm/{self._config.template_folder}")
        if folder is None:
            return []
        starts = [Start(folder, [traverse("in", vim.Folder, "childEntity")], True)]
        found = collect_marked(self._session, starts, "name").values()
        return [marks.found("stemcell", facts["name"]) for facts, marks in found if marks.token and marks.director == self._config.director]


def _described(values: Properties) -> dict[str, str]:
    return {key: str(values[key]) for key in ("name", "version") if values.get(key)}
