"""Deployments, instances, VMs, disks: what holds on to what."""

from __future__ import annotations

import pytest
from state_world import Clock

from director import errors
from director.state import Store
from director.state.addresses import AddressRow
from director.state.disks import DiskRow, SnapshotRow
from director.state.instances import InstanceRow
from director.state.vms import VmRow

ID = "3b30123e-dfa6-4eff-abe6-63c2d5a88938"


@pytest.fixture
def deployed(store: Store) -> Store:
    store.deployments.ensure("d")
    store.instances.add(InstanceRow(ID, "d", "web", 0, az="z1"))
    networks = [{"name": "default", "ip": "10.0.0.5"}]
    store.vms.add(VmRow("vm-1", "t-1", "d", "agent-1", instance_id=ID, active=True, az="z1", networks=networks))
    store.disks.add(DiskRow("disk-1", "t-2", 1024, instance_id=ID, active=True, az="z1"))
    store.addresses.reserve([AddressRow("10.0.0.5", "default", "dynamic", "d", ID)])
    return store


def test_deployment_is_there_before_its_first_deploy_ends(store: Store) -> None:
    made = store.deployments.ensure("d", teams=("a",))
    assert (made.manifest, made.succeeded, made.teams) == (None, False, ("a",))
    store.deployments.update("d", manifest="name: d", succeeded=True, cloud_config_ids=(3, 4))
    assert store.deployments.ensure("d").cloud_config_ids == (3, 4)
    with pytest.raises(errors.NotFoundError, match="Deployment 'x' doesn't exist") as caught:
        store.deployments.get("x")
    assert caught.value.code == 70000


def test_uses_are_replaced_and_found_from_both_sides(store: Store) -> None:
    store.deployments.ensure("d")
    store.deployments.set_uses("d", [("r", "1"), ("r", "1")], [("s", "2")])
    store.deployments.set_uses("d", [("r", "2")], [("s", "2")])
    assert store.deployments.releases() == [("d", "r", "2")]
    assert store.deployments.stemcells("d") == [("d", "s", "2")]


@pytest.mark.parametrize(("text", "code"), [("notauuid", 70002), ("7", 70001), (ID.replace("3b", "4b"), 70001), ("-1", 70002)])
def test_instance_by_index_or_uuid(deployed: Store, text: str, code: int) -> None:
    assert deployed.instances.at("d", "web", "0") == deployed.instances.at("d", "web", ID)
    with pytest.raises(errors.CaissonError) as caught:
        deployed.instances.at("d", "web", text)
    assert caught.value.code == code


def test_nothing_is_forgotten_while_it_exists_in_a_cloud(deployed: Store) -> None:
    for forget in (lambda: deployed.instances.delete(ID), lambda: deployed.deployments.delete("d")):
        with pytest.raises(errors.ConflictError):
            forget()
    deployed.vms.delete("vm-1")
    with pytest.raises(errors.ConflictError):
        deployed.instances.delete(ID)
    deployed.disks.orphan("disk-1", deployment="d", instance=f"web/{ID}")
    deployed.instances.delete(ID)
    assert deployed.addresses.of("d") == [], "its addresses are free again"
    deployed.deployments.delete("d")
    assert [disk.cid for disk in deployed.disks.orphans()] == ["disk-1"], "disks outlive their deployment"


def test_orphaned_disk_remembers_where_it_was_and_may_come_back(deployed: Store, clock: Clock) -> None:
    deployed.disks.orphan("disk-1", deployment="d", instance=f"web/{ID}")
    clock.now += 10
    deployed.disks.orphan("disk-1", deployment="other", instance="again")  # a step that a crash repeats
    (disk,) = deployed.disks.orphans()
    assert (disk.orphan_deployment, disk.orphan_instance, disk.az, disk.orphaned_at) == ("d", f"web/{ID}", "z1", clock.now - 10)
    assert deployed.disks.orphans(older_than_seconds=11) == []
    deployed.disks.adopt("disk-1", ID)
    deployed.disks.activate("disk-1")
    assert deployed.disks.get("disk-1").active
    assert deployed.disks.orphans() == []


def test_one_disk_per_name_is_active(deployed: Store) -> None:
    deployed.disks.add(DiskRow("disk-2", "t-3", 2048, instance_id=ID))
    deployed.disks.add(DiskRow("disk-3", "t-4", 2048, name="logs", instance_id=ID, active=True))
    deployed.disks.activate("disk-2")
    assert {disk.cid for disk in deployed.disks.of("d") if disk.active} == {"disk-2", "disk-3"}


def test_snapshots_follow_a_disk_that_the_cloud_copied(deployed: Store) -> None:
    deployed.disks.add_snapshot(SnapshotRow("snap", "t-5", "disk-1", clean=True))
    deployed.disks.update("disk-1", cid="disk-9")
    assert [item.disk_cid for item in deployed.disks.snapshots("disk-9")] == ["disk-9"]
    deployed.disks.delete("disk-9")
    assert deployed.disks.snapshots() == []


def test_one_vm_of_an_instance_is_active(deployed: Store) -> None:
    deployed.vms.add(VmRow("vm-2", "t-6", "d", "agent-2", instance_id=ID))
    deployed.vms.activate("vm-2")
    active = deployed.vms.active_of(ID)
    assert active is not None
    assert active.cid == "vm-2"
    assert not deployed.vms.get("vm-1").active


def test_create_call_is_recorded_once(deployed: Store) -> None:
    with pytest.raises(errors.ConflictError):
        deployed.vms.add(VmRow("vm-other", "t-1", "d", "agent"))
    found = deployed.vms.by_token("t-1")
    assert found is not None
    assert found.ips == ("10.0.0.5",)


def test_orphaned_vm_keeps_its_address_until_it_is_gone(deployed: Store) -> None:
    orphan = deployed.vms.orphan("vm-1", f"web/{ID}", ("10.0.0.5",))
    assert orphan.ips == ("10.0.0.5",)
    with pytest.raises(errors.ConflictError, match=r"already reserved by orphaned instance 'web/.*' from deployment 'd'"):
        deployed.addresses.reserve([AddressRow("10.0.0.5", "default", "static", "d", ID)])
    assert [item.ip for item in deployed.addresses.taken("d")] == ["10.0.0.5"]
    deployed.vms.forget_orphan("vm-1")
    deployed.addresses.reserve([AddressRow("10.0.0.5", "default", "static", "d", ID)])
