"""Disks, snapshots and stemcells when something goes wrong. Against the FAKE services, which can be told what goes wrong.

Numbers are rows of the CPI contract's table of mistakes, section 13.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cpis.cloud import tags
from cpis.contract import Conflict, CpiError, DiskRequest, Invalid, NotFound, NotSupported, Quota, Unavailable, VmResources
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.conftest import Time, made, network, request
from tests.cpis.openstack.fake_services import FakeServices, Fault

pytestmark = pytest.mark.walk

TOKEN = "disk-11111111-2222-4333-8444-555555555555"
VOLUMES = "POST /volume/volumes$"


def wish(**changes: Any) -> DiskRequest:
    return DiskRequest(**{"token": TOKEN, "size_mib": 2048, **changes})


@pytest.mark.parametrize("kind", ["lost_after", "lost_before"])
def test_a_lost_answer_makes_one_disk(services: FakeServices, cpi: OpenStackCpi, kind: str) -> None:
    services.faults = [Fault(VOLUMES, kind)]
    cid = cpi.create_disk(wish())
    assert list(services.kept["volumes"]) == [cid]


def test_a_disk_that_appears_late_is_the_one(services: FakeServices, cpi: OpenStackCpi) -> None:
    services.faults = [Fault(VOLUMES, "late", late=5)]
    cid = cpi.create_disk(wish())
    assert list(services.kept["volumes"]) == [cid]
    assert services.count("POST", "/volumes$") == 1


@pytest.mark.parametrize("kind", ["lost_after", "lost_before", "late"])
def test_a_lost_answer_makes_one_snapshot(services: FakeServices, cpi: OpenStackCpi, kind: str) -> None:
    disk = cpi.create_disk(wish())
    services.faults = [Fault("POST /volume/snapshots", kind, late=3)]
    cid = cpi.snapshot_disk(disk, {}, "snapshot-1")
    assert list(services.kept["snapshots"]) == [cid]


@pytest.mark.parametrize(("messages", "words"), [
    ([], "in state 'error'$"), (["schedule allocate volume: Could not find any available weighted backend."], "weighted backend"),
    (None, "in state 'error'$")])
def test_a_disk_that_fails_goes(services: FakeServices, cpi: OpenStackCpi, messages: list[str] | None, words: str) -> None:
    """The error has Cinder's own words, where it has any for its users."""
    shown = {"volume": {"id": "v", "status": "error", "size": 2, "attachments": []}}
    services.faults = [Fault("GET /volume/volumes/(?!detail)", answer=(200, shown, {}))]
    services.messages = messages or []
    if messages is None:
        services.faults.append(Fault("GET /volume/messages", answer=(403, {"forbidden": {"code": 403, "message": "no"}}, {})))
    with pytest.raises(CpiError, match=words):
        cpi.create_disk(wish())
    assert not services.left()


def test_quota_of_disks(services: FakeServices, cpi: OpenStackCpi) -> None:
    words = "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'."
    over = {"overLimit": {"code": 413, "message": words, "retryAfter": "0"}}
    services.faults = [Fault(VOLUMES, answer=(413, over, {"Retry-After": "0"}))]
    with pytest.raises(Quota, match=r"volumes allowed \(10\)") as caught:
        cpi.create_disk(wish())
    assert caught.value.limit == "10"
    assert services.count("POST", "/volumes$") == 1


@pytest.mark.parametrize(("mib", "gib"), [(1, 1), (1024, 1), (1025, 2), (2048, 2)])
def test_sizes_are_whole_gib(services: FakeServices, cpi: OpenStackCpi, mib: int, gib: int) -> None:
    """Row 12: and growing to what it has already is nothing."""
    cid = cpi.create_disk(wish(size_mib=mib))
    assert services.kept["volumes"][cid]["size"] == gib
    cpi.resize_disk(cid, gib * 1024)
    assert not services.count("POST", "/action")


@pytest.mark.parametrize("changes", [{"size_mib": 4096}, {"cloud_properties": {"type": "fast"}}])
def test_the_same_token_with_other_arguments(services: FakeServices, cpi: OpenStackCpi, changes: dict[str, Any]) -> None:
    cid = cpi.create_disk(wish())
    with pytest.raises(Conflict, match=cid):
        cpi.create_disk(wish(**changes))
    assert cpi.create_disk(wish()) == cid


@pytest.mark.parametrize("changes", [{"size_mib": 0}, {"cloud_properties": {"typ": "fast"}}, {"cloud_properties": {"type": 3}}])
def test_wrong_disks(services: FakeServices, cpi: OpenStackCpi, changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        cpi.create_disk(wish(**changes))
    assert not services.log


@pytest.mark.parametrize(("config", "zone"), [({}, "z1"), ({"ignore_server_availability_zone": True}, "nova")])
def test_disks_are_made_where_their_machine_is(services: FakeServices, times: Time, config: dict[str, Any], zone: str) -> None:
    """Section 9.4: zones of volumes may have other names."""
    cpi = made(services, times, **config)
    vm = cpi.create_vm(request(cloud_properties={"instance_type": "small", "availability_zone": "z1"}))
    cid = cpi.create_disk(wish(vm_cid=vm.cid))
    assert services.kept["volumes"][cid]["availability_zone"] == zone
    cpi.close()


@pytest.mark.parametrize(("own", "default", "kind"), [("fast", "slow", "fast"), (None, "slow", "slow"), (None, None, "plain")])
def test_types_of_disks(services: FakeServices, times: Time, own: str | None, default: str | None, kind: str) -> None:
    cpi = made(services, times, **({"default_volume_type": default} if default else {}))
    cid = cpi.create_disk(wish(cloud_properties={"type": own} if own else {}))
    assert services.kept["volumes"][cid]["volume_type"] == kind
    cpi.close()


@pytest.fixture
def attached(cpi: OpenStackCpi) -> tuple[str, str]:
    vm, disk = cpi.create_vm(request()).cid, cpi.create_disk(wish())
    cpi.attach_disk(vm, disk)
    return vm, disk


def test_the_hint_has_the_id(cpi: OpenStackCpi, attached: tuple[str, str]) -> None:
    """Section 12.1: guests find the disk by 20 characters of it, whatever the device is called."""
    hint = cpi.attach_disk(*attached)
    assert (hint.id, hint.path) == (attached[1], "/dev/vdb")


@pytest.mark.parametrize("kind", ["lost_after", "lost_before"])
def test_a_lost_attachment(services: FakeServices, cpi: OpenStackCpi, kind: str) -> None:
    vm, disk = cpi.create_vm(request()).cid, cpi.create_disk(wish())
    services.faults = [Fault("POST /compute/servers/.*/os-volume_attachments", kind)]
    if kind == "lost_before":
        with pytest.raises(Unavailable):
            cpi.attach_disk(vm, disk)
    assert cpi.attach_disk(vm, disk).id == disk
    assert cpi.get_disks(vm) == [disk]


def test_an_attached_disk_is_safe(services: FakeServices, cpi: OpenStackCpi, attached: tuple[str, str]) -> None:
    """Rows 9 and 10."""
    vm, disk = attached
    other = cpi.create_vm(request("vm-other", networks=(network(11),))).cid
    for call in (
        lambda: cpi.delete_disk(disk), lambda: cpi.resize_disk(disk, 4096), lambda: cpi.update_disk(disk, 4096, {"type": "fast"}),
        lambda: cpi.attach_disk(other, disk),
    ):
        with pytest.raises(Conflict, match=vm):
            call()
    cpi.detach_disk(other, disk)
    assert cpi.get_disks(vm) == [disk]
    assert services.kept["volumes"][disk]["size"] == 2


def test_a_machine_leaves_its_disk(cpi: OpenStackCpi, attached: tuple[str, str]) -> None:
    """Row 8."""
    vm, disk = attached
    cpi.delete_vm(vm)
    assert cpi.has_disk(disk)
    cpi.delete_disk(disk)


def test_detaching_while_the_machine_is_busy(services: FakeServices, cpi: OpenStackCpi, attached: tuple[str, str]) -> None:
    busy = {"conflictingRequest": {"code": 409, "message": "Cannot 'detach_volume' instance s while it is in task_state rebooting"}}
    services.faults = [Fault("DELETE /compute/servers/.*/os-volume", answer=(409, busy, {}), times=3)]
    cpi.detach_disk(*attached)
    assert not cpi.get_disks(attached[0])


def test_a_disk_on_its_way_to_another_machine(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Two attachments at once: Nova refuses the second while Cinder shows the volume as reserved, for whom is not told yet."""
    one, two, disk = cpi.create_vm(request()).cid, cpi.create_vm(request("vm-2", networks=(network(12),))).cid, cpi.create_disk(wish())
    already = {"badRequest": {"code": 400, "message": "Invalid volume: volume is reserved"}}
    shown = dict(services.kept["volumes"][disk], status="reserved")
    services.faults = [
        Fault("POST /compute/servers/.*/os-volume", answer=(400, already, {})),
        Fault(f"GET /volume/volumes/{disk}", skip=1, answer=(200, {"volume": shown}, {}))]
    services.kept["volumes"][disk] |= {"status": "available"}
    original = services.handle

    def other_wins(method: str, path: str, *rest: Any) -> Any:
        answer = original(method, path, *rest)
        if method == "POST" and "os-volume" in path:
            services.kept["volumes"][disk] |= {"status": "in-use", "attachments": [{"server_id": one, "device": "/dev/vdb"}]}
        return answer

    services.handle = other_wins  # type: ignore[method-assign]
    with pytest.raises(Conflict, match=one):
        cpi.attach_disk(two, disk)


def test_a_disk_that_another_machine_gets_in_this_moment(services: FakeServices, cpi: OpenStackCpi) -> None:
    """As the real services said it: the volume still looked free."""
    vm, disk = cpi.create_vm(request()).cid, cpi.create_disk(wish())
    words = f"Invalid volume: volume {disk} is already attached to instances: c37920dd-218f-48b1-8f9e-479f45bc3231"
    services.faults = [Fault("POST /compute/servers/.*/os-volume", answer=(400, {"badRequest": {"code": 400, "message": words}}, {}))]
    with pytest.raises(Conflict, match="c37920dd"):
        cpi.attach_disk(vm, disk)


@pytest.mark.parametrize("gone", [False, True])
def test_a_disk_that_another_call_deletes(services: FakeServices, cpi: OpenStackCpi, gone: bool) -> None:
    disk = cpi.create_disk(wish())
    refused = {"badRequest": {"code": 400, "message": "Invalid volume: Volume status must be available or error or ..."}}
    shown = {"volume": dict(services.kept["volumes"][disk], status="deleting")}
    services.faults = [Fault("DELETE /volume", answer=(400, refused, {}))]
    if not gone:
        services.faults.append(Fault(f"GET /volume/volumes/{disk}", skip=1, answer=(200, shown, {})))
    original = services.handle

    def other(method: str, path: str, *rest: Any) -> Any:
        answer = original(method, path, *rest)
        if method == "DELETE":
            services.kept["volumes"].pop(disk, None)
        return answer

    services.handle = other  # type: ignore[method-assign]
    cpi.delete_disk(disk)
    assert not services.left()


def test_growing_with_a_lost_answer(services: FakeServices, cpi: OpenStackCpi) -> None:
    cid = cpi.create_disk(wish())
    services.faults = [Fault("/action", "lost_after")]
    cpi.resize_disk(cid, 4096)
    assert services.kept["volumes"][cid]["size"] == 4


def test_smaller_is_not_supported(cpi: OpenStackCpi) -> None:
    """Row 13."""
    cid = cpi.create_disk(wish())
    for call in (lambda: cpi.resize_disk(cid, 1024), lambda: cpi.update_disk(cid, 1024, {})):
        with pytest.raises(NotSupported, match="smaller"):
            call()


def test_another_type_and_size(services: FakeServices, cpi: OpenStackCpi) -> None:
    cid = cpi.create_disk(wish())
    assert cpi.update_disk(cid, 4096, {"type": "fast"}) == cid
    assert (services.kept["volumes"][cid]["volume_type"], services.kept["volumes"][cid]["size"]) == ("fast", 4)


def test_a_type_that_the_cloud_cannot_give(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Row 14: the disk is whole, and the director copies. Cinder accepts the request, and nothing happens."""
    cid = cpi.create_disk(wish())
    services.fail_retype = True
    with pytest.raises(NotSupported, match="'fast'"):
        cpi.update_disk(cid, 2048, {"type": "fast"})
    assert cpi.has_disk(cid)


def test_metadata_of_disks(services: FakeServices, cpi: OpenStackCpi) -> None:
    cid = cpi.create_disk(wish(metadata={"director": "other"}))
    cpi.set_disk_metadata(cid, {"instance_group": "db", "long": "x" * 300, "director": "other"})
    metadata = services.kept["volumes"][cid]["metadata"]
    assert (metadata[tags.TOKEN], metadata["director"], metadata["instance_group"]) == (TOKEN, "tests", "db")
    assert len(metadata["long"]) == 255
    assert [found.cid for found in cpi.owned()] == [cid]


def test_a_snapshot_of_another_disk(cpi: OpenStackCpi) -> None:
    one, other = cpi.create_disk(wish()), cpi.create_disk(wish(token="disk-other"))
    cid = cpi.snapshot_disk(one, {"deployment": "d"}, "snapshot-1")
    with pytest.raises(Conflict, match=cid):
        cpi.snapshot_disk(other, {}, "snapshot-1")
    cpi.delete_disk(one)
    assert not cpi.find("snapshot-1")


def test_missing_things(cpi: OpenStackCpi) -> None:
    """Section 2: gone is success for deletions, and NotFound for the rest."""
    unknown = "f00d0000-0000-4000-8000-000000000000"
    cpi.delete_vm(unknown)
    cpi.delete_disk(unknown)
    cpi.delete_snapshot(unknown)
    cpi.delete_stemcell(unknown)
    cpi.detach_disk(unknown, unknown)
    assert not cpi.has_disk(unknown)
    for call in (
        lambda: cpi.snapshot_disk(unknown, {}, "snapshot-1"), lambda: cpi.resize_disk(unknown, 1024), lambda: cpi.reboot_vm(unknown),
        lambda: cpi.set_disk_metadata(unknown, {}), lambda: cpi.get_disks(unknown),
    ):
        with pytest.raises(NotFound):
            call()


@pytest.mark.parametrize(
    ("asked", "name"),
    [((1, 512, 1024), "eph"), ((1, 512, 8 * 1024), "small"), ((1, 512, 20 * 1024), "large"), ((2, 1024, 1024), "large"),
     ((1, 513, 1), "large")],
)
def test_the_smallest_machine(cpi: OpenStackCpi, asked: tuple[int, int, int], name: str) -> None:
    """Row 32. A flavor whose ephemeral disk is too small for a machine is none."""
    found = cpi.calculate_vm_cloud_properties(VmResources(*asked))
    assert found == {"instance_type": name}


def test_the_smallest_machine_that_boots_from_a_volume(services: FakeServices, times: Time) -> None:
    cpi = made(services, times, boot_from_volume=True)
    assert cpi.calculate_vm_cloud_properties(VmResources(1, 512, 20 * 1024 + 1)) == {"instance_type": "rootless", "root_disk": {"size": 21}}
    cpi.close()


def test_a_machine_that_nobody_sells(cpi: OpenStackCpi) -> None:
    with pytest.raises(Invalid) as caught:
        cpi.calculate_vm_cloud_properties(VmResources(1024, 512, 1024))
    assert "large with 8 cores" in caught.value.suggestion


# Stemcells

STEMCELL = "stemcell-11111111-2222-4333-8444-555555555555"
RAW, QCOW2 = b"\x00" * 3_000_000, b"QFI\xfb" + b"\x00" * 100_000


def archive(content: bytes, name: str = "root.img", mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("file", "content", "form"),
    [(RAW, RAW, "raw"), (QCOW2, QCOW2, "qcow2"), (archive(RAW), RAW, "raw"), (archive(QCOW2, "./root.img", "w"), QCOW2, "qcow2")],
    ids=["raw", "qcow2", "tgz", "tar"],
)
def test_uploads(services: FakeServices, times: Time, tmp_path: Path, file: bytes, content: bytes, form: str) -> None:
    told: list[str] = []
    cpi = OpenStackCpi({**services.config(), "director": "tests"}, clock=times.clock, sleep=times.sleep, progress=told.append)
    path = tmp_path / "image"
    path.write_bytes(file)
    properties = {"name": "bosh-x", "version": 1.5, "disk": 3072, "architecture": "x86_64", "auto_disk_config": True, "hypervisor": "kvm"}
    cid = cpi.create_stemcell(str(path), properties, STEMCELL)
    image = services.kept["images"][cid]
    assert services.uploaded[cid] == content
    assert {key: image[key] for key in ("name", "disk_format", "container_format", "visibility", "min_disk", "tags", "os_type")} == {
        "name": STEMCELL, "disk_format": form, "container_format": "bare", "visibility": "private", "min_disk": 3,
        "tags": ["director=tests"], "os_type": "linux"}
    assert (image["version"], image["auto_disk_config"], image["hypervisor_type"]) == ("1.5", "true", "kvm")
    assert told[-1].endswith("100 %")
    assert cpi.create_stemcell(str(path), properties, STEMCELL) == cid
    assert [(found.kind, found.cid, found.token) for found in cpi.find(STEMCELL)] == [("stemcell", cid, STEMCELL)]
    cpi.delete_stemcell(cid)
    assert not services.left()
    cpi.close()


@pytest.mark.parametrize(
    ("content", "properties", "words"),
    [(RAW, {"disk_format": "qcow2"}, "image in .* is raw"), (b"", {}, "is empty"), (archive(RAW, "disk.vmdk"), {}, "without root.img"),
     (archive(RAW)[:1000], {}, "cannot be read"), (gzip.compress(b"text", mtime=0), {}, "no readable archive"),
     (RAW, {"disk_forma": "raw"}, "disk_forma")],
)
def test_wrong_images(services: FakeServices, cpi: OpenStackCpi, tmp_path: Path, content: bytes, properties: Any, words: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(Invalid, match=words):
        cpi.create_stemcell(str(path), properties, STEMCELL)
    assert not services.left()


def test_no_image_at_all(services: FakeServices, cpi: OpenStackCpi) -> None:
    for path in ("", "/nowhere/image"):
        with pytest.raises(Invalid):
            cpi.create_stemcell(path, {}, STEMCELL)
    assert not services.left()


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "answer"])
def test_an_upload_that_breaks_leaves_nothing(services: FakeServices, cpi: OpenStackCpi, tmp_path: Path, kind: str) -> None:
    """Row 28: and the same call starts clean."""
    path = tmp_path / "image"
    path.write_bytes(RAW)
    services.faults = [Fault("PUT /image", kind, answer=(503, b"<html><h1>503</h1></html>", {}))]
    with pytest.raises(Unavailable):
        cpi.create_stemcell(str(path), {}, STEMCELL)
    assert not services.left()
    assert services.kept["images"].keys() == {cpi.create_stemcell(str(path), {}, STEMCELL)}


def test_an_upload_that_is_refused_for_the_rate_begins_anew(services: FakeServices, cpi: OpenStackCpi, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(RAW)
    services.faults = [Fault("PUT /image", answer=(429, b"slow down", {"Retry-After": "3"}), times=2)]
    assert services.uploaded == {cpi.create_stemcell(str(path), {}, STEMCELL): RAW}


def test_half_an_image_of_a_director_that_died(services: FakeServices, cpi: OpenStackCpi, tmp_path: Path) -> None:
    """Row 28."""
    path = tmp_path / "image"
    path.write_bytes(RAW)
    half = services.make("images", name=STEMCELL, tags=["director=tests"], status="saving")
    cid = cpi.create_stemcell(str(path), {}, STEMCELL)
    assert list(services.kept["images"]) == [cid] != [half["id"]]


def test_an_image_that_glance_gives_up(services: FakeServices, cpi: OpenStackCpi, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(RAW)
    services.faults = [Fault("GET /image/v2/images/.", answer=(200, {"id": "i", "status": "killed"}, {}))]
    with pytest.raises(CpiError, match="killed"):
        cpi.create_stemcell(str(path), {}, STEMCELL)
    assert not services.left()


def test_light_stemcells(services: FakeServices, cpi: OpenStackCpi) -> None:
    """Nothing is made, and nothing deleted; the image must be there and active."""
    image = services.make("images", name="debian", tags=[], status="active")
    cid = cpi.create_stemcell("", {"image_id": image["id"]}, STEMCELL)
    assert cid == f"{image['id']} light"
    cpi.delete_stemcell(cid)
    assert list(services.kept["images"]) == [image["id"]]
    image["status"] = "queued"
    with pytest.raises(Invalid, match="'queued'"):
        cpi.create_stemcell("", {"image_id": image["id"]}, STEMCELL)
    with pytest.raises(Invalid, match="no image nothing"):
        cpi.create_stemcell("", {"image_id": "nothing"}, STEMCELL)


def test_public_images_when_the_config_says_so(services: FakeServices, times: Time, tmp_path: Path) -> None:
    cpi = made(services, times, stemcell_public_visibility=True)
    path = tmp_path / "image"
    path.write_bytes(RAW)
    assert services.kept["images"][cpi.create_stemcell(str(path), {}, STEMCELL)]["visibility"] == "public"
    cpi.close()
