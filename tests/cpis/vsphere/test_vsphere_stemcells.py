"""Stemcells on the simulator: images that are none, uploads that break off, and what is in vCenter afterwards."""

from __future__ import annotations

import gzip
import io
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from cpis.cloud.faults import LOST
from cpis.conformance.clouds.vsphere import VsphereStandIn, image
from cpis.contract import Conflict, CpiError, Invalid, NotFound, Unavailable, VmRequest
from cpis.vsphere import VsphereCpi, images
from cpis.vsphere.errors import of_fault
from cpis.vsphere.inventory import read
from tests.cpis.vsphere.test_vsphere_session import end_sessions
from tests.cpis.vsphere.tools import intercepted, passed

pytestmark = pytest.mark.walk


@pytest.fixture
def token(cpi: VsphereCpi) -> Iterator[str]:
    made = f"stemcell-{uuid.uuid4()}"
    yield made
    cpi.delete_stemcell(made)


def left(vcenter: VsphereStandIn, token: str) -> list[str]:
    return [name for _, name in vcenter.resources() if name.startswith(token)]


def archive(path: Path, members: dict[str, bytes], mode: str = "w") -> str:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return str(path)


def test_a_stemcell_has_a_snapshot_and_no_nics(vcenter: VsphereStandIn, cpi: VsphereCpi, token: str) -> None:
    with intercepted(cpi, "ImportVApp", passed) as calls:
        assert cpi.create_stemcell(vcenter.site().image_path, {"name": "n", "version": "1"}, token) == token
    spec = calls[0][0].configSpec
    assert not [change for change in spec.deviceChange if isinstance(change.device, vim.vm.device.VirtualEthernetCard)]
    assert {option.key for option in spec.extraConfig} >= {"caisson.token", "caisson.director"}, "marked by the creating request"
    found = read(cpi.session, cpi._stemcells._find(token), "snapshot.rootSnapshotList", "runtime.powerState")
    assert [snapshot.name for snapshot in found["snapshot.rootSnapshotList"]] == ["initial"]
    assert found["runtime.powerState"] == "poweredOff"
    assert not cpi.has_vm(token), "a stemcell is no machine"
    (owned,) = [item for item in cpi.owned() if item.cid == token]
    assert (owned.kind, dict(owned.metadata)) == ("stemcell", {"name": "n", "version": "1"})


def test_the_image_of_a_bosh_stemcell(tmp_path: Path, vcenter: VsphereStandIn, cpi: VsphereCpi, token: str) -> None:
    """A compressed archive of an OVF and its disk, called `image` and no more."""
    with tarfile.open(vcenter.site().image_path) as ova:
        members = {member.name: ova.extractfile(member).read() for member in ova.getmembers()}  # type: ignore[union-attr]
    path = archive(tmp_path / "image", members, "w:gz")
    assert cpi.create_stemcell(path, {}, token) == token


def test_a_token_is_not_used_for_another_stemcell(vcenter: VsphereStandIn, cpi: VsphereCpi, token: str) -> None:
    cpi.create_stemcell(vcenter.site().image_path, {"name": "one"}, token)
    with pytest.raises(Conflict):
        cpi.create_stemcell(vcenter.site().image_path, {"name": "two"}, token)


OVF = b"<Envelope xmlns:ovf='x'><NetworkSection><Network ovf:name='n'/></NetworkSection></Envelope>"


@pytest.mark.parametrize(("members", "said"), [
    ({"image-disk1.vmdk": b"KDMV"}, "holds no .ovf"), ({"image.ovf": b"<Envelope>"}, "is no XML"),
    ({"image.ovf": b"\xff\xfe\x00"}, "is no image"),
])
def test_archives_that_are_no_image(tmp_path: Path, cpi: VsphereCpi, token: str, members: dict[str, bytes], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        cpi.create_stemcell(archive(tmp_path / "image", members), {}, token)


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"no archive", mtime=0), None])
def test_files_that_are_no_archive(tmp_path: Path, cpi: VsphereCpi, token: str, content: bytes | None) -> None:
    path = tmp_path / "image"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Invalid, match="is no image for vSphere"):
        cpi.create_stemcell(str(path), {}, token)


def test_neither_image_nor_template(cpi: VsphereCpi, token: str) -> None:
    with pytest.raises(Invalid, match="must name a 'template'"):
        cpi.create_stemcell("", {}, token)
    with pytest.raises(Invalid, match="unknown key 'templat'"):
        cpi.create_stemcell("", {"templat": "x"}, token)


def test_an_image_without_its_disk_leaves_nothing(tmp_path: Path, vcenter: VsphereStandIn, cpi: VsphereCpi, token: str) -> None:
    with tarfile.open(vcenter.site().image_path) as ova:
        ovf = ova.extractfile("image.ovf").read()  # type: ignore[union-attr]
    with pytest.raises(Invalid, match=r"lacks 'image-disk1\.vmdk'"):
        cpi.create_stemcell(archive(tmp_path / "image", {"image.ovf": ovf}), {}, token)
    assert not left(vcenter, token)


def test_an_archive_that_is_cut_off_leaves_nothing(tmp_path: Path, vcenter: VsphereStandIn, cpi: VsphereCpi, token: str) -> None:
    whole = Path(vcenter.site().image_path).read_bytes()
    cut = tmp_path / "image"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises((Invalid, Unavailable)):
        cpi.create_stemcell(str(cut), {}, token)
    assert not left(vcenter, token)
    assert not cpi.find(token)


def test_what_vcenter_says_of_an_ovf_is_told(vcenter: VsphereStandIn, cpi: VsphereCpi, token: str) -> None:
    def refuse(mo: Any, args: Any, call: Any) -> Any:
        answer = call()
        answer.error = [vim.fault.OvfUnsupportedType(msg="The device is not known.", name="sound card")]
        return answer

    with intercepted(cpi, "CreateImportSpec", refuse), pytest.raises(Invalid, match="The device is not known"):
        cpi.create_stemcell(vcenter.site().image_path, {}, token)
    assert not left(vcenter, token)


# Uploads


def test_an_upload_that_breaks_off_leaves_nothing_and_begins_anew(
    tmp_path: Path, vcenter: VsphereStandIn, cpi: VsphereCpi, token: str,
) -> None:
    """Row 28."""
    original = cpi.session.http

    def break_off(method: str, url: str, *, data: Any = None, **more: Any) -> Any:
        data.read(50_000)
        raise Unavailable(f"{method}: the answer did not come", code=LOST)

    cpi.session.http = break_off  # type: ignore[method-assign]
    try:
        with intercepted(cpi, "HttpNfcLeaseAbort", passed) as aborted, pytest.raises(Unavailable):
            cpi.create_stemcell(vcenter.site().image_path, {}, token)
    finally:
        cpi.session.http = original  # type: ignore[method-assign]
    assert len(aborted) == 1
    assert not left(vcenter, token)
    assert not cpi.find(token)
    assert cpi.create_stemcell(vcenter.site().image_path, {}, token) == token


def test_a_killed_upload_is_begun_anew(vcenter: VsphereStandIn, cpi: VsphereCpi, token: str, request_: VmRequest) -> None:
    class Killed(BaseException):
        pass

    def die(mo: Any, args: Any, call: Any) -> Any:
        raise Killed

    cpi._stemcells._away = lambda cid, error: None  # type: ignore[method-assign]  # a killed process cleans nothing up
    try:
        with intercepted(cpi, "CreateSnapshot_Task", die), pytest.raises(Killed):
            cpi.create_stemcell(vcenter.site().image_path, {}, token)
    finally:
        del cpi._stemcells._away
    (found,) = cpi.find(token)
    assert (found.kind, found.cid) == ("stemcell", token)
    assert cpi.create_stemcell(vcenter.site().image_path, {}, token) == token
    assert left(vcenter, token) == [token]


@pytest.mark.parametrize("method", ["RetrievePropertiesEx", "HttpNfcLeaseProgress", "HttpNfcLeaseComplete"])
def test_an_upload_whose_session_ends_is_made_once_more(vcenter: VsphereStandIn, cpi: VsphereCpi, token: str, method: str) -> None:
    """Row 24: a lease belongs to the session that it was given to."""
    ended: list[int] = []

    def end_first(mo: Any, args: Any, call: Any) -> Any:
        if not ended and "HttpNfcLease" in f"{mo} {args}":
            ended.append(1)
            end_sessions(vcenter)
        return call()

    with intercepted(cpi, method, end_first):
        assert cpi.create_stemcell(vcenter.site().image_path, {}, token) == token
    assert ended
    assert left(vcenter, token) == [token]


def test_a_lease_that_fails_is_told(vcenter: VsphereStandIn, cpi: VsphereCpi, token: str) -> None:
    def fail(mo: Any, args: Any, call: Any) -> Any:
        raise of_fault("ImportVApp", vim.fault.NoPermission(msg="You may not import.", privilegeId="VApp.Import"))

    with intercepted(cpi, "ImportVApp", fail), pytest.raises(CpiError, match=r"You may not import.*VApp\.Import"):
        cpi.create_stemcell(vcenter.site().image_path, {}, token)
    assert not left(vcenter, token)


@pytest.mark.parametrize(("url", "used"), [
    ("https://*/nfc/52ab/disk-0.vmdk", "{vcenter}/nfc/52ab/disk-0.vmdk"),
    ("https://*/nfc/52ab/disk-0.vmdk?x=1", "{vcenter}/nfc/52ab/disk-0.vmdk?x=1"),
    ("https://esx-1.example.com/nfc/52ab/disk-0.vmdk", "https://esx-1.example.com/nfc/52ab/disk-0.vmdk"),
    ("https://192.0.2.7:443/nfc/52ab/*/disk-0.vmdk", "https://192.0.2.7:443/nfc/52ab/*/disk-0.vmdk"),
])
def test_a_star_for_a_host_is_the_vcenter_and_nothing_else_is(cpi: VsphereCpi, url: str, used: str) -> None:
    """Reference on stand-ins, section 8, row 9."""
    assert cpi._stemcells._device_url(url) == used.format(vcenter=cpi.session.address.url)


def test_progress_is_told_every_few_seconds() -> None:
    now = [0.0]
    told: list[int] = []
    upload = images.Upload(io.BytesIO(b"x" * 100), 100, 200, told.append, lambda: now[0], sent=100)
    assert len(upload) == 100
    for _ in range(10):
        upload.read(10)
        now[0] += 10.0
    assert told == [60, 70, 80, 90, 99][: len(told)] or told == sorted(told)
    assert 4 <= len(told) <= 6, "a lease ends when nothing is told for minutes, and each time is a request"
    assert upload.read() == b""


def test_the_image_that_stands_for_one(tmp_path: Path) -> None:
    with images.opened(str(image.make(tmp_path / "image.ova"))) as opened:
        assert opened.networks == ("VM Network",)
        assert opened.size("image-disk1.vmdk") == 65_536


def test_a_machine_of_a_stemcell_that_is_gone(cpi: VsphereCpi, request_: VmRequest, vcenter: VsphereStandIn, token: str) -> None:
    """What was remembered of it is forgotten when vCenter says that it is not there."""
    cpi.create_stemcell(vcenter.site().image_path, {}, token)
    request = VmRequest(**{**vars(request_), "stemcell_cid": token})
    cpi.create_vm(request)
    cpi.delete_vm(request.token)
    other = VsphereCpi(vcenter.config)
    other.delete_stemcell(token)
    other.close()
    with pytest.raises(NotFound):
        cpi.create_vm(request)
    assert not cpi.find(request.token)
