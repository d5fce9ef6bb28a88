"""What a cloud has and no record knows: found, told apart from what is under way, and removed only by name."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import Cloud, World
from small_world import CLOUD, MANIFEST

from cpis import contract
from cpis.conformance.faults import Time
from cpis.fake import FakeCpi
from cpis.fake import Fault as CloudFault
from cpis.openstack import OpenStackCpi
from director.errors import CaissonError, CloudError, NotFoundError
from director.execute import cloud_checks, cloud_orphans
from director.execute.cloud_orphans import YOUNG_SECONDS
from director.state.disks import DiskRow, SnapshotRow
from tests.cpis.openstack.fake_services import FakeServices, Fault


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy(MANIFEST)
    world.task += 1
    world.clock.now += 10_000.0
    world.cloud._clock = world.clock
    for resource in world.cloud._resources.values():
        resource["created_at"] = 1000.0
    return world


def stray_disk(world: World, token: str = "disk-lost", age: float = 2 * YOUNG_SECONDS) -> str:
    cid = world.cloud.create_disk(contract.DiskRequest(token, 64, metadata={"deployment": "app"}))
    world.cloud._resources[cid]["created_at"] = world.clock.now - age
    return cid


def results(world: World) -> list[dict[str, object]]:
    """As a client reads the result of the task: text that is divided into lines."""
    return [json.loads(line) for line in "".join(world.log.results).splitlines()]


def listed(world: World) -> list[dict[str, object]]:
    world.log.results.clear()
    cloud_orphans.list_orphans(world.context)
    rows = results(world)
    return [row for row in rows if "young" not in row]


def test_what_stands_in_a_record_is_no_orphan(deployed: World) -> None:
    disk = next(row.cid for row in deployed.store.disks.all())
    snapshot = deployed.cloud.snapshot_disk(disk, {}, "snapshot-1")
    deployed.store.disks.add_snapshot(SnapshotRow(snapshot, "snapshot-1", disk, clean=True))
    vm = deployed.store.vms.all()[0]
    deployed.store.vms.orphan(vm.cid, "web/0")
    assert listed(deployed) == []


def test_what_stands_in_none_is_listed_with_age_and_kind(deployed: World) -> None:
    cid = stray_disk(deployed)
    (found,) = listed(deployed)
    assert (found["cpi"], found["kind"], found["cid"], found["token"]) == ("", "disk", cid, "disk-lost")
    assert found["metadata"] == {"deployment": "app"}
    assert isinstance(found["age_seconds"], float)
    assert found["age_seconds"] == pytest.approx(2 * YOUNG_SECONDS, abs=1.0)


def test_what_is_young_is_left_alone(deployed: World) -> None:
    stray_disk(deployed, age=YOUNG_SECONDS - 5)
    found = cloud_orphans.find(deployed.context)
    assert (found.orphans, found.young) == ((), 1)
    deployed.clock.now += 10
    assert len(cloud_orphans.find(deployed.context).orphans) == 1


def test_what_an_effect_under_way_makes_is_no_orphan(deployed: World) -> None:
    stray_disk(deployed, "disk-new")
    row = deployed.store.journal.begin("create_disk", "disk-new", task_id=1, deployment="app", arguments={})
    assert listed(deployed) == []
    deployed.store.journal.failed(row.id, "gone wrong")
    assert len(listed(deployed)) == 1


def test_parts_of_a_recorded_machine_belong_to_it(deployed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud lists a machine's network card by its own kind and CID, with the machine's token."""
    vm = deployed.store.vms.all()[0]
    owned = deployed.cloud.owned

    def with_cards() -> Sequence[contract.Found]:
        return [*owned(), contract.Found("nic", "eni-1", vm.token, {}, 1.0), contract.Found("nic", "eni-2", "vm-lost", {}, 1.0)]

    monkeypatch.setattr(deployed.cloud, "owned", with_cards)
    assert [row["cid"] for row in listed(deployed)] == ["eni-2"]
    with pytest.raises(CaissonError, match="the fake CPI cannot delete a nic by itself"):
        cloud_orphans.remove_orphans(deployed.context, [{"cpi": "", "kind": "nic", "cid": "eni-2"}])
    removed: list[str] = []
    monkeypatch.setattr(deployed.cloud, "remove", lambda found: removed.append(found.cid), raising=False)
    cloud_orphans.remove_orphans(deployed.context, [{"cpi": "", "kind": "nic", "cid": "eni-2"}])
    assert removed == ["eni-2"]


def test_a_second_thing_of_a_recorded_token_is_an_orphan(deployed: World) -> None:
    """It came of a request that was given up and sent anew: no part of the first, and nobody's."""
    row = deployed.store.disks.all()[0]
    cid = stray_disk(deployed)
    deployed.cloud._resources[cid]["token"] = row.token
    assert [item["cid"] for item in listed(deployed)] == [cid]
    cloud_orphans.remove_orphans(deployed.context, [{"cpi": "", "kind": "disk", "cid": cid}])
    assert not deployed.cloud.has_disk(cid)
    assert deployed.cloud.has_disk(row.cid)


def test_copies_of_a_recorded_stemcell_belong_to_it(deployed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clouds with galleries list an image twice, by two CIDs."""
    first = next(item for item in deployed.cloud.owned() if item.kind == "stemcell")
    copy = dataclasses.replace(first, cid="copy", created_at=1.0)
    owned = deployed.cloud.owned
    monkeypatch.setattr(deployed.cloud, "owned", lambda: [*owned(), copy])
    assert listed(deployed) == []


def lost_creations(world: World, services: FakeServices) -> dict[str, str]:
    """A disk and a snapshot in records whose first requests were not answered, and had their effects long after. Kind and CID."""
    time = Time()
    cpi = OpenStackCpi({**services.config(), "director": "test"}, clock=time.clock, sleep=time.sleep)
    world.clouds["os"] = cpi  # type: ignore[assignment]
    world.cpis = {"os": {"type": "openstack"}}
    services.faults = [Fault("POST /volume/volumes$", "late", late=90), Fault("POST /volume/snapshots$", "late", late=90)]
    disk = cpi.create_disk(contract.DiskRequest("disk-1", 1024))
    world.store.disks.add(DiskRow(disk, "disk-1", 1024, cpi="os"))
    snapshot = cpi.snapshot_disk(disk, {}, "snapshot-1")
    world.store.disks.add_snapshot(SnapshotRow(snapshot, "snapshot-1", disk, clean=True))
    while services.late:
        cpi.has_disk(disk)
    return {"disk": disk, "snapshot": snapshot}


def test_what_comes_long_after_a_lost_answer_is_found_and_removed(world: World) -> None:
    """OpenStack has no tokens for requests: one that a proxy held back for minutes makes a second thing of the same name."""
    with contextlib.closing(FakeServices()) as services:
        recorded = lost_creations(world, services)
        (disk,) = services.kept["volumes"].keys() - {recorded["disk"]}
        (snapshot,) = services.kept["snapshots"].keys() - {recorded["snapshot"]}
        world.clock.now = 1_893_456_000.0 + 2 * YOUNG_SECONDS
        rows = [row for row in listed(world) if row["cpi"] == "os"]
        assert {str(row["kind"]): row["cid"] for row in rows} == {"disk": disk, "snapshot": snapshot}
        assert [round(float(str(row["age_seconds"]))) for row in rows] == [2 * YOUNG_SECONDS] * 2
        cloud_orphans.remove_orphans(world.context, [{key: row[key] for key in ("cpi", "kind", "cid")} for row in rows])
        assert list(services.kept["volumes"]) == [recorded["disk"]]
        assert list(services.kept["snapshots"]) == [recorded["snapshot"]]


def test_of_unknown_age_is_an_orphan_only_while_nothing_is_made(deployed: World) -> None:
    cid = stray_disk(deployed)
    deployed.cloud._resources[cid]["created_at"] = None
    row = deployed.store.journal.begin("create_vm", "vm-other", task_id=1, deployment="app", arguments={})
    assert listed(deployed) == []
    deployed.store.journal.failed(row.id, "x")
    assert [item["age_seconds"] for item in listed(deployed)] == [None]


def test_only_the_chosen_go_and_only_while_they_are_orphans(deployed: World) -> None:
    chosen, other, young = stray_disk(deployed), stray_disk(deployed, "disk-other"), stray_disk(deployed, "disk-young", age=0)
    recorded = next(row.cid for row in deployed.store.vms.all())
    before = {item.cid for item in deployed.cloud.owned()}
    result = cloud_orphans.remove_orphans(deployed.context, [
        {"cpi": "", "kind": "disk", "cid": chosen}, {"cpi": "", "kind": "vm", "cid": recorded}, {"cpi": "", "kind": "disk", "cid": young}])
    assert result == "Deleted 1, 2 had gone or had found their record"
    assert before - {item.cid for item in deployed.cloud.owned()} == {chosen}
    assert other in before
    event = deployed.store.events.select(limit=1)[0]
    assert (event.action, event.object_type, event.object_name) == ("delete", "orphan disk", chosen)


def test_what_has_no_cid_is_forgotten_by_its_token(deployed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CPI of BOSH has it whose answer was lost."""
    lost = [contract.Found("vm", "", f"vm-{number}", {}, 1.0) for number in range(2)]
    monkeypatch.setattr(deployed.cloud, "owned", lambda: lost)
    monkeypatch.setattr(deployed.cloud, "remove", lost.remove, raising=False)
    rows = listed(deployed)
    assert [(row["cid"], row["token"]) for row in rows] == [("", "vm-0"), ("", "vm-1")]
    monkeypatch.setattr(deployed.cloud, "remove", lambda found: lost.pop([item.token for item in lost].index(found.token)))
    cloud_orphans.remove_orphans(deployed.context, rows[1:])
    assert [row["token"] for row in listed(deployed)] == ["vm-0"]


def test_machines_go_before_their_disks(deployed: World) -> None:
    disk = stray_disk(deployed)
    stemcell = deployed.store.stemcells.all()[0].cid
    networks = (contract.Network("default", ip="10.0.0.99"),)
    vm = deployed.cloud.create_vm(contract.VmRequest("vm-lost", "a", stemcell, {}, networks, contract.Login("u", "p", "h", "s")))
    deployed.cloud._resources[vm.cid]["created_at"] = 1.0
    deployed.cloud.attach_disk(vm.cid, disk)
    chosen = [{key: row[key] for key in ("cpi", "kind", "cid")} for row in listed(deployed)]
    assert [item["kind"] for item in chosen] == ["vm", "disk"]
    cloud_orphans.remove_orphans(deployed.context, list(reversed(chosen)))
    assert deployed.leaks() == []


def test_all_that_could_not_be_deleted_is_told(deployed: World) -> None:
    rows = [{"cpi": "", "kind": "disk", "cid": stray_disk(deployed, f"disk-{number}")} for number in range(3)]
    deployed.cloud.faults = [CloudFault("delete_disk", "Denied", times=2, nth=1 + deployed.cloud.calls.get("delete_disk", 0), message="no")]
    with pytest.raises(CaissonError) as caught:
        cloud_orphans.remove_orphans(deployed.context, rows)
    assert len(caught.value.diagnostics) == 2
    assert len(listed(deployed)) == 2


def test_each_cloud_is_asked_once_and_a_silent_one_hides_no_other(world: World) -> None:
    for name in ("east", "west"):
        world.clouds[name] = Cloud(world.fleet, world._done)
        world.clouds[name]._prefix = f"{name}-"
        world.clouds[name].create_disk(contract.DiskRequest(f"disk-{name}", 1))
    world.cpis = {"east": {"type": "fake"}, "west": {"type": "fake", "migrated_from": ("",)}}
    world.clock.now += 2_000_000_000.0
    assert [row["cpi"] for row in listed(world)] == ["east", "west"]
    world.clouds["west"].faults = [CloudFault("owned", "Unavailable", times=100, message="away")]
    world.log.results.clear()
    with pytest.raises(CloudError, match="Listing what is in CPI 'west': away"):
        cloud_orphans.list_orphans(world.context)
    assert [row.get("cpi") for row in results(world)] == ["east", None]
    assert len(cloud_orphans.find(world.context, "east").orphans) == 1


# Checks


def checked(world: World, name: str = "") -> list[dict[str, object]]:
    world.log.results.clear()
    cloud_checks.check_cloud(world.context, name)
    return results(world)


def test_a_cloud_is_checked_with_what_the_configs_use(world: World) -> None:
    stemcell = world.store.stemcells.all()[0].cid
    assert [(row["kind"], row["name"], row["ok"]) for row in checked(world)] == [
        ("reach", "the fake cloud", True), ("image", stemcell, True)]
    world.cloud.vanish(stemcell)
    assert cloud_checks.check_cloud(world.context, "") == "1 check(s) failed"
    world.cloud.faults = [CloudFault("checks", "Denied", times=100, message="who are you")]
    first, *rest = checked(world)
    assert (first["ok"], first["detail"]) == (False, "who are you (request fake-checks)")
    assert [(row["name"], row["ok"], row["asked"], row["detail"]) for row in rest][-1] == (
        f"stemcell {stemcell}", None, False, "not asked: the fake cloud failed")


def test_wrong_cloud_properties_are_checks_that_failed(world: World) -> None:
    world.configure(CLOUD.replace("{memory: 512}", "{memry: 512}").replace("{name: z1}, {name: z2}", "{name: z1, cpi: here}"))
    world.cpis = {"here": {"type": "local"}, "there": {"type": "fake"}}
    assert checked(world, "here")[0]["kind"] == "reach", "the other cloud may take it"
    world.cpis = {"here": {"type": "local"}}
    first = checked(world, "here")[0]
    assert (first["kind"], first["ok"]) == ("configuration", False)
    assert "cloud-config 'default':3" in str(first["name"])
    assert "Did you mean 'memory'?" in str(first["suggestion"])


def test_a_cpi_that_is_not_configured_cannot_be_checked(world: World) -> None:
    with pytest.raises(NotFoundError, match="CPI 'none' not found"):
        cloud_checks.check_cloud(world.context, "none")


class Older(FakeCpi):
    """With the check of a director's start alone."""

    checks = None  # type: ignore[assignment]
    error: contract.CpiError | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(("error", "ok"), [(None, True), (contract.Denied("not root", suggestion="sudo"), False)])
def test_a_cpi_with_the_older_check_is_asked_that(error: contract.CpiError | None, ok: bool) -> None:
    cpi = Older()
    cpi.error = error
    check, *rest = cloud_checks.checks(cpi, "", {"": "fake"}, [], [])
    assert check.ok is ok
    assert not [item for item in rest if item.asked]
    assert check.suggestion == ("sudo" if error else "")


def test_a_cpi_without_any_check_says_so() -> None:
    class Plain(FakeCpi):
        checks = None  # type: ignore[assignment]

    (check,) = cloud_checks.checks(Plain(), "", {"": "fake"}, [], [])
    assert check.ok is None


def test_nothing_is_made_by_a_check(world: World, tmp_path: Path) -> None:
    before = dataclasses.asdict(cloud_orphans.find(world.context)), dict(world.cloud._resources)
    checked(world)
    assert (dataclasses.asdict(cloud_orphans.find(world.context)), dict(world.cloud._resources)) == before
