"""What fails halfway or comes long after, against the REAL services (`make test-openstack`): nothing stays, and errors have their words."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from cpis.cloud import tags
from cpis.conformance.clouds.openstack import Lab, seed
from cpis.conformance.clouds.openstack.layout import ZONE
from cpis.contract import CpiError, DiskRequest, NoCapacity
from cpis.openstack import OpenStackCpi
from cpis.openstack.volumes import Volumes
from tests.cpis.openstack.real import refused, until, wish, with_properties

pytestmark = [
    pytest.mark.openstack, pytest.mark.timeout(900), pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(os.environ.get("CAISSON_OPENSTACK_CASES") == "few", reason="takes minutes: `make test-openstack` has it"),
]


# Boot from volume

def test_boot_from_volume_that_fails_leaves_nothing(lab: Lab, real_cpi: OpenStackCpi) -> None:
    """The stand-in's Cinder cannot copy an image: its failure is the case, told in its own words (it tries another host, and has none)."""
    with pytest.raises(CpiError, match=r"state 'error': .*(backend|image)"):
        real_cpi.create_vm(with_properties(lab, boot_from_volume=True, root_disk={"size": 1}))


@pytest.fixture
def copied(api: seed.Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Cinder could: the volume is made empty, and declared bootable. All the rest is as always."""
    create = Volumes.create

    def empty(self: Volumes, shape: Mapping[str, Any]) -> str:
        cid = create(self, {key: value for key, value in shape.items() if key != "imageRef"})
        if "imageRef" in shape:
            api("POST", "cinder", f"/volumes/{cid}/action", {"os-set_bootable": {"bootable": True}})
        return cid

    monkeypatch.setattr(Volumes, "create", empty)


@pytest.mark.usefixtures("copied")
def test_boot_from_volume(lab: Lab, real_cpi: OpenStackCpi, api: seed.Api) -> None:
    """Nova takes the volume for its root disk, and it goes with the machine; the persistent disk stays."""
    request = with_properties(lab, boot_from_volume=True, root_disk={"size": 2})
    vm = real_cpi.create_vm(request)
    assert real_cpi.create_vm(request) == vm
    server = api("GET", "nova", f"/servers/{vm.cid}")["server"]
    (root,) = server["os-extended-volumes:volumes_attached"]
    assert (server["image"], root["delete_on_termination"]) == ("", True)
    assert api("GET", "cinder", f"/volumes/{root['id']}")["volume"]["size"] == 2
    disk = real_cpi.create_disk(DiskRequest(f"disk-{uuid.uuid4()}", 1024, vm_cid=vm.cid))
    real_cpi.attach_disk(vm.cid, disk)
    assert real_cpi.get_disks(vm.cid) == [disk]
    assert {item.cid for item in real_cpi.owned()} == {vm.cid, disk}
    real_cpi.delete_vm(vm.cid)
    assert [entry["id"] for entry in api("GET", "cinder", "/volumes")["volumes"]] == [disk]
    real_cpi.delete_disk(disk)


@pytest.mark.usefixtures("copied")
def test_a_machine_without_room_takes_its_root_volume_along(lab: Lab, real_cpi: OpenStackCpi) -> None:
    """Nova puts it into ERROR after the volume is there."""
    wanted = with_properties(lab, instance_type="m1.huge", boot_from_volume=True, root_disk={"size": 1})
    refused(real_cpi, wanted, NoCapacity, "No valid host was found")


# Long after a lost answer

def age(cpi: OpenStackCpi, cid: str) -> float:
    (found,) = (item for item in cpi.owned() if item.cid == cid)
    assert found.created_at is not None
    return time.time() - found.created_at


def test_a_late_volume_is_found_and_goes_alone(real_cpi: OpenStackCpi, api: seed.Api) -> None:
    """Made by the same request as one that is there: Cinder takes it twice."""
    disk = real_cpi.create_disk(DiskRequest(f"disk-{uuid.uuid4()}", 1024))
    first = api("GET", "cinder", f"/volumes/{disk}")["volume"]
    late = api("POST", "cinder", "/volumes", {"volume": {key: first[key] for key in ("name", "size", "metadata")}})["volume"]["id"]
    assert {item.cid for item in real_cpi.owned()} == {disk, late}
    assert abs(age(real_cpi, late)) < 120
    until(lambda: api("GET", "cinder", f"/volumes/{late}")["volume"]["status"] == "available")
    real_cpi.delete_disk(late)
    assert real_cpi.has_disk(disk)
    real_cpi.delete_disk(disk)


def test_a_late_server_is_found_and_goes_alone(lab: Lab, real_cpi: OpenStackCpi, api: seed.Api) -> None:
    """The machine that was made in its stead keeps its port."""
    request = wish(lab)
    vm = real_cpi.create_vm(request)
    first = api("GET", "nova", f"/servers/{vm.cid}")["server"]
    flavor = next(item["id"] for item in api("GET", "nova", "/flavors")["flavors"] if item["name"] == "m1.tiny")
    late = api("POST", "nova", "/servers", {"server": {
        **{key: first[key] for key in ("name", "tags", "metadata")}, "imageRef": lab.seeded.image, "flavorRef": flavor,
        "networks": "none", "availability_zone": ZONE}})["server"]["id"]
    until(lambda: api("GET", "nova", f"/servers/{late}")["server"]["status"] == "ACTIVE")
    assert {item.cid for item in real_cpi.owned()} == {vm.cid, late}
    assert abs(age(real_cpi, late)) < 120
    real_cpi.delete_vm(late)
    (port,) = api("GET", "neutron", f"/v2.0/ports?device_id={vm.cid}")["ports"]
    assert (port["name"], port["tags"]) == (request.token, [])
    real_cpi.delete_vm(vm.cid)


def test_a_late_port_is_found_and_goes(lab: Lab, real_cpi: OpenStackCpi, api: seed.Api) -> None:
    """Of a machine that is deleted: found as half a machine, by its token."""
    token = f"vm-{uuid.uuid4()}"
    api("POST", "neutron", "/v2.0/ports", {"port": {
        "network_id": lab.seeded.network, "name": token, "description": "director=tests"}})
    (found,) = real_cpi.owned()
    assert (found.kind, found.cid, found.token) == ("vm", token, token)
    assert abs(age(real_cpi, token)) < 120
    real_cpi.delete_vm(found.cid)
    assert not real_cpi.owned()


def test_a_late_snapshot_is_found_and_goes_alone(real_cpi: OpenStackCpi, api: seed.Api) -> None:
    disk, token = real_cpi.create_disk(DiskRequest(f"disk-{uuid.uuid4()}", 1024)), f"snapshot-{uuid.uuid4()}"
    snapshot = real_cpi.snapshot_disk(disk, {}, token)
    first = api("GET", "cinder", f"/snapshots/{snapshot}")["snapshot"]
    assert first["metadata"][tags.TOKEN] == token
    late = api("POST", "cinder", "/snapshots", {"snapshot": {
        key: first[key] for key in ("name", "volume_id", "metadata")}})["snapshot"]["id"]
    assert {item.cid for item in real_cpi.owned()} == {disk, snapshot, late}
    until(lambda: api("GET", "cinder", f"/snapshots/{late}")["snapshot"]["status"] == "available")
    real_cpi.delete_snapshot(late)
    assert [item.cid for item in real_cpi.find(token)] == [snapshot]
    real_cpi.delete_disk(disk)
