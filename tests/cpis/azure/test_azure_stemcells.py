"""Stemcells of Azure, light and heavy."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cpis.azure import AzureCpi, vhd
from cpis.conformance.clouds.azure import AzureStandIn, Fault
from cpis.conformance.clouds.azure.azurite import Azurite
from cpis.conformance.faults import Time
from cpis.conformance.standin import Skipped
from cpis.contract import Conflict, CpiError, Denied, Invalid, NotFound, Unavailable, Uses, VmRequest

pytestmark = pytest.mark.walk

URN = {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2"}
COMPUTE = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/caisson/providers/Microsoft.Compute"


def fixed_vhd(mib: int = 12, kind: int = 2, more: int = 0) -> bytes:
    """A VHD: data with holes, and a footer. Source: Virtual Hard Disk image format specification."""
    data = bytearray(mib * 2**20 + more)
    data[:4096] = os.urandom(4096)
    data[9 * 2**20:9 * 2**20 + 512] = b"\x01" * 512
    footer = bytearray(512)
    footer[:8] = b"conectix"
    footer[60:64] = struct.pack(">I", kind)
    return bytes(data + footer)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "root.vhd"
    path.write_bytes(fixed_vhd())
    return path


# Light

def test_latest_is_pinned(cpi: AzureCpi) -> None:
    assert cpi.create_stemcell("", {"image": URN}, "stemcell-1") == "image:Debian:debian-12:12-gen2:0.20251006.2257"
    older = cpi.create_stemcell("", {"image": {**URN, "version": "0.20250814.2204"}}, "stemcell-2")
    assert older == "image:Debian:debian-12:12-gen2:0.20250814.2204"


def test_light_stemcell_is_nobodys_to_delete(azure: AzureStandIn, cpi: AzureCpi) -> None:
    cid = cpi.create_stemcell("", {"image": URN}, "stemcell-1")
    azure.forget_requests()
    cpi.delete_stemcell(cid)
    assert not azure.requests()


def test_image_sold_under_a_plan_says_so(azure: AzureStandIn, cpi: AzureCpi) -> None:
    cid = cpi.create_stemcell("", {"image": {**URN, "plan": True}}, "stemcell-1")
    site = azure.site()
    cpi.create_vm(VmRequest("vm-1", "a", cid, {"instance_type": "Standard_B2s"}, site.networks(0), site.login))
    made = azure.store.get(f"{COMPUTE}/virtualMachines/vm-1")
    assert made["plan"] == {"name": "12-gen2", "product": "debian-12", "publisher": "Debian"}
    assert made["properties"]["storageProfile"]["imageReference"]["version"] == "0.20251006.2257"


@pytest.mark.parametrize(("properties", "kind", "word"), [
    ({}, Invalid, "image"), ({"image": {"publisher": "Debian"}}, Invalid, "image.offer"), ({"image": {**URN, "skew": 1}}, Invalid, "'sku'"),
    ({"image": {**URN, "version": "9.9.9"}}, NotFound, "0.20251006.2257"), ({"image": {**URN, "sku": "13"}}, NotFound, "az vm image list"),
    ({"image": {**URN, "offer": "a;b"}}, Invalid, "a;b"), ({"image_id": "somewhere"}, Invalid, "resource id"),
    ({"image_id": f"{COMPUTE}/images/absent"}, NotFound, "absent"),
])
def test_wrong_stemcell_is_refused(azure: AzureStandIn, cpi: AzureCpi, properties: dict[str, Any], kind: type[CpiError], word: str) -> None:
    with pytest.raises(kind) as caught:
        cpi.create_stemcell("", properties, "stemcell-1")
    assert word in f"{caught.value} {caught.value.suggestion}"
    assert not azure.resources()


@pytest.mark.parametrize(("status", "code"), [(403, "AuthorizationFailed"), (404, "ResourceNotFound")])
def test_image_that_nobody_may_look_up_is_taken_on_trust(
    azure: AzureStandIn, cpi: AzureCpi, caplog: pytest.LogCaptureFixture, status: int, code: str,
) -> None:
    azure.store.faults.append(Fault("GET", "versions", status=status, code=code, message="not for you"))
    assert cpi.create_stemcell("", {"image": URN}, "stemcell-1") == "image:Debian:debian-12:12-gen2:latest"
    assert "not for you" in caplog.text


def test_others_words_about_a_stemcell_are_no_error(cpi: AzureCpi) -> None:
    assert cpi.create_stemcell("", {"image": URN, "boot_disk_something": 3, "infrastructure": "azure"}, "stemcell-1")


# Heavy

def uploaded(azure: AzureStandIn) -> bytes:
    (data,) = azure.arm.blobs.blobs.values()
    return bytes(data)


def keep_uploads(azure: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads stay for a look when their disk goes."""
    monkeypatch.setattr(azure.arm.blobs, "drop", lambda name: None)


@pytest.mark.parametrize("form", ["vhd", "tar.gz", "gz"])
def test_image_arrives_whole(
    azure: AzureStandIn, cpi: AzureCpi, tmp_path: Path, image: Path, form: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As it is, and as BOSH's stemcells have it; pages of zeros are not sent."""
    caplog.set_level("INFO", "cpis")
    keep_uploads(azure, monkeypatch)
    data, path = image.read_bytes(), image
    if form == "tar.gz":
        path = tmp_path / "image"
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("root.vhd")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    elif form == "gz":
        path = tmp_path / "image"
        path.write_bytes(gzip.compress(data, 1))
    cid = cpi.create_stemcell(str(path), {"name": "s", "version": "1"}, "stemcell-1")
    assert cid == "image_name:stemcell-1;resource_group_name:caisson"
    assert uploaded(azure) == data
    assert [kind for kind, _ in azure.resources()] == ["images"]
    assert "100 %" in caplog.text or "all of 12 MiB" in caplog.text
    assert cpi.create_stemcell(str(path), {"name": "s", "version": "1"}, "stemcell-1") == cid
    site = azure.site()
    cpi.create_vm(VmRequest("vm-1", "a", cid, {"instance_type": "Standard_B2s"}, site.networks(0), site.login))
    assert cpi.find("stemcell-1")[0].cid == cid
    assert [check.ok for check in cpi.checks(Uses(stemcell_cids=(cid,))) if check.kind == "image"] == [True]
    cpi.delete_stemcell(cid)
    cpi.delete_stemcell(cid)
    assert not [kind for kind, _ in azure.resources() if kind == "images"]


def test_gallery_gets_a_version_with_replicas(azure: AzureStandIn, clock: Time, image: Path) -> None:
    config = {**azure.config, "compute_gallery_name": "images", "compute_gallery_replicas": 5}
    cpi = AzureCpi(config, clock=clock.clock, sleep=clock.sleep)
    cid = cpi.create_stemcell(str(image), {"generation": "gen2"}, "stemcell-1")
    definition = azure.store.get(f"{COMPUTE}/galleries/images/images/stemcell-1")
    version = azure.store.get(f"{COMPUTE}/galleries/images/images/stemcell-1/versions/1.0.0")
    assert definition["properties"]["hyperVGeneration"] == "V2"
    assert version["properties"]["publishingProfile"]["targetRegions"] == [{"name": "westeurope", "regionalReplicaCount": 5}]
    assert version["tags"]["caisson-token"] == "stemcell-1"
    site = azure.site()
    vm = cpi.create_vm(VmRequest("vm-1", "a", cid, {"instance_type": "Standard_B2s"}, site.networks(0), site.login))
    assert [(found.kind, found.cid) for found in cpi.find("stemcell-1")] == [("stemcell", cid)]
    assert cid in {found.cid for found in cpi.owned()}
    cpi.delete_vm(vm.cid)
    cpi.delete_stemcell(cid)
    assert not azure.resources()
    cpi.close()


@pytest.mark.parametrize(("data", "word"), [
    (fixed_vhd(kind=3), "grows"), (fixed_vhd(more=512), "whole MiB"), (b"no image at all", "neither a VHD"),
    (gzip.compress(b"x", mtime=0), "no VHD"),
], ids=["dynamic", "odd", "text", "gz"])
def test_file_that_azure_does_not_take_is_refused(azure: AzureStandIn, cpi: AzureCpi, tmp_path: Path, data: bytes, word: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(data)
    with pytest.raises(Invalid, match=word):
        cpi.create_stemcell(str(path), {}, "stemcell-1")
    assert not azure.resources()


def test_upload_that_is_cut_off_leaves_nothing(azure: AzureStandIn, cpi: AzureCpi, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 28."""
    written: list[int] = []
    write = azure.arm.blobs.write

    def refuses(*arguments: Any) -> int:
        written.append(1)
        return 403 if len(written) >= 2 else write(*arguments)
    monkeypatch.setattr(azure.arm.blobs, "write", refuses)
    with pytest.raises((Denied, CpiError)):
        cpi.create_stemcell(str(image), {}, "stemcell-1")
    assert not azure.resources()
    assert not azure.arm.blobs.blobs
    monkeypatch.setattr(azure.arm.blobs, "write", write)
    assert cpi.create_stemcell(str(image), {}, "stemcell-1")


def test_upload_of_a_director_that_died_is_begun_anew(
    azure: AzureStandIn, cpi: AzureCpi, image: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its disk is still open for writing, and the next call starts clean."""
    class Died(BaseException):
        pass

    def dies(*_: Any) -> None:
        raise Died
    monkeypatch.setattr("cpis.azure.stemcells.Pages.write", dies)
    monkeypatch.setattr(cpi._stemcells, "_drop", lambda *_: None)
    monkeypatch.setattr(cpi._stemcells._arm, "post", _but_for(cpi, "endGetAccess"))
    with pytest.raises(Died):
        cpi.create_stemcell(str(image), {}, "stemcell-1")
    monkeypatch.undo()
    (found,) = cpi.find("stemcell-1")
    assert found.kind == "stemcell"
    assert azure.store.get(f"{COMPUTE}/disks/stemcell-1-upload")["properties"]["diskState"] == "ActiveUpload"
    cpi.create_stemcell(str(image), {}, "stemcell-1")
    assert [kind for kind, _ in azure.resources()] == ["images"]


def _but_for(cpi: AzureCpi, action: str) -> Any:
    post = cpi._arm.post
    return lambda path, *more, **named: None if path.endswith(action) else post(path, *more, **named)


@pytest.mark.parametrize("path", ["disks/stemcell-1-upload$", "beginGetAccess", "images/stemcell-1$"])
def test_late_failure_leaves_nothing(azure: AzureStandIn, cpi: AzureCpi, image: Path, path: str) -> None:
    azure.store.faults.append(Fault("*", path, "late", skip=0, code="InternalServerError", message="broken"))
    azure.store.faults[0].method = "POST" if path == "beginGetAccess" else "PUT"
    with pytest.raises(Unavailable):
        cpi.create_stemcell(str(image), {}, "stemcell-1")
    assert not azure.resources()


def test_same_stemcell_twice_at_once(azure: AzureStandIn, cpi: AzureCpi, image: Path) -> None:
    """Row 29."""
    with ThreadPoolExecutor(3) as pool:
        cids = list(pool.map(lambda token: cpi.create_stemcell(str(image), {}, token), ["stemcell-1", "stemcell-1", "stemcell-2"]))
    assert cids[0] == cids[1] != cids[2]
    assert sorted(kind for kind, _ in azure.resources()) == ["images", "images"]


def test_image_in_use_of_an_upload_is_a_conflict_in_words(azure: AzureStandIn, cpi: AzureCpi, image: Path) -> None:
    azure.store.faults.append(Fault("DELETE", "images/stemcell-1$", status=409, code="OperationNotAllowed", message="it is in use"))
    with pytest.raises(Conflict, match="it is in use"):
        cpi.delete_stemcell("stemcell-1")


def test_holes_are_not_sent() -> None:
    data = fixed_vhd()
    assert [offset for offset, _ in vhd.pages(io.BytesIO(data), len(data))] == [0, 8 * 2**20, 12 * 2**20]


# Page blobs by somebody else's code

@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    try:
        server = Azurite(tmp_path_factory.mktemp("azurite"))
    except Skipped as reason:
        pytest.skip(str(reason))
    yield server
    server.close()


def test_pages_arrive_at_azurite(azurite: Azurite, clock: Time, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AzureStandIn(clock=clock.clock, pages=azurite) as azure:
        drop = azurite.drop
        monkeypatch.setattr(azurite, "drop", lambda name: None)
        cpi = AzureCpi(azure.config, clock=clock.clock, sleep=clock.sleep)
        cid = cpi.create_stemcell(str(image), {}, "stemcell-1")
        assert azurite.read("stemcell-1-upload") == image.read_bytes()
        drop("stemcell-1-upload")
        cpi.delete_stemcell(cid)
        assert not azurite.names()
        cpi.close()


@pytest.mark.parametrize("gallery", ["", "images"])
@pytest.mark.parametrize("how", ["lost", "answer"])
def test_fault_at_every_request_of_an_upload(azure: AzureStandIn, clock: Time, tmp_path: Path, gallery: str, how: str) -> None:
    """Once at each request: it ends right, and nothing but the image is there. For ever: an error, and the next call ends right."""
    path = tmp_path / "small.vhd"
    path.write_bytes(fixed_vhd(10))
    config = {**azure.config, **({"compute_gallery_name": gallery} if gallery else {})}
    cpi = AzureCpi(config, clock=clock.clock, sleep=clock.sleep)
    azure.forget_requests()
    cpi.delete_stemcell(cpi.create_stemcell(str(path), {}, "stemcell-0"))
    count = len(azure.requests())
    assert count > 10
    for number in range(count):
        token = f"stemcell-{number + 1}"
        azure.store.faults = [Fault("*", ".", how, status=503, code="ServiceUnavailable", skip=number)]
        cid = cpi.create_stemcell(str(path), {}, token)
        assert {kind for kind, _ in azure.resources()} == ({"images", "versions"} if gallery else {"images"}), number
        cpi.delete_stemcell(cid)
        assert not azure.resources(), number
    for number in range(0, count, 3):
        azure.store.faults = [Fault("*", ".", how, status=503, code="ServiceUnavailable", skip=number, times=10_000)]
        try:
            cid = cpi.create_stemcell(str(path), {}, f"stemcell-x{number}")
        except CpiError:
            azure.store.faults = []
            cid = cpi.create_stemcell(str(path), {}, f"stemcell-x{number}")
        azure.store.faults = []
        cpi.delete_stemcell(cid)
        assert not azure.resources(), number
    cpi.close()
