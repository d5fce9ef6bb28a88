"""Disks: the agent contract, section 3.3. The commands are checked here, the effects in tests/e2e."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from director.guest.agent import disks
from director.guest.agent.actions import disk
from director.guest.agent.errors import ActionError

from .conftest import Machine


class World:
    """Block devices and mounts that the fake commands change."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = machine
        self.devices = {"/dev/sdb": "8:16", "/dev/sdb1": "8:17", "/dev/sdc": "8:32", "/dev/sdc1": "8:33"}
        self.types = {"/dev/sdb1": "ext4", "/dev/sdc1": "ext4"}
        self.mounts: dict[str, str] = {}
        shell = machine.shell
        run = shell.run

        def act(argv: Sequence[str], *more: Any, **named: Any) -> Any:
            if argv[0] == "mount" and "remount" not in " ".join(argv):
                self.mounts[argv[-1]] = self.devices[argv[-2]]
            if argv[0] == "umount":
                self.mounts.pop(argv[-1])
            if argv[0].startswith("mkfs."):
                self.types[argv[-1]] = argv[0][5:]
            if argv[0] == "sfdisk":
                self.devices[argv[-1] + "1"] = "8:99"
            if argv[0] == "blkid":
                kind = self.types.get(argv[-1], "")
                shell.answers["blkid"] = (0, kind + "\n") if kind else (2, "")
                if kind == "unclear":
                    shell.answers["blkid"] = (4, "")
            return run(argv, *more, **named)

        shell.run = act  # type: ignore[method-assign]
        monkeypatch.setattr(disks, "is_block", lambda path: path in self.devices)
        monkeypatch.setattr(disks, "number_of", lambda path: self.devices.get(path, ""))
        monkeypatch.setattr(disks.Disks, "source_of", lambda me, place: self.mounts.get(str(place), ""))

    def ran(self, command: str) -> list[list[str]]:
        return [argv for argv in self.machine.shell.ran if argv[0].startswith(command)]


@pytest.fixture
def world(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(machine, monkeypatch)


def test_a_disk_with_data_is_mounted_and_never_formatted(world: World) -> None:
    disk.mount(world.machine.call(), "disk-1", {"path": "/dev/sdb"})
    assert world.mounts == {str(world.machine.host.layout.store): "8:17"}
    assert world.ran("mkfs") == []
    assert disk.list_disk(world.machine.call()) == ["disk-1"]
    before = len(world.ran("mount"))
    disk.mount(world.machine.call(), "disk-1", {"path": "/dev/sdb"})
    assert len(world.ran("mount")) == before


def test_a_blank_disk_gets_one_partition_and_a_file_system(world: World) -> None:
    world.devices = {"/dev/sdb": "8:16"}
    world.types = {}
    disk.mount(world.machine.call(), "disk-1", "/dev/sdb", "xfs", ["noatime"])
    assert world.ran("sfdisk") == [["sfdisk", "-q", "/dev/sdb"]]
    assert world.ran("mkfs") == [["mkfs.xfs", "-q", "/dev/sdb1"]]
    assert world.ran("mount")[0] == ["mount", "-o", "noatime", "/dev/sdb1", str(world.machine.host.layout.store)]


@pytest.mark.parametrize("device", ["7:3", "no sfdisk"])
def test_loop_devices_and_machines_without_sfdisk_use_the_disk_whole(world: World, device: str) -> None:
    world.devices = {"/dev/caisson/d": "8:16" if device == "no sfdisk" else device}
    world.types = {}
    world.machine.shell.lacks.add("sfdisk" if device == "no sfdisk" else "none")
    disk.mount(world.machine.call(), "disk-1", "/dev/caisson/d")
    assert world.ran("mkfs")[0][-1] == "/dev/caisson/d"


@pytest.mark.parametrize(("kind", "sentence"), [("LVM2_member", "not ours to overwrite"), ("unclear", "it is left alone")])
def test_what_is_not_understood_is_left_alone(world: World, kind: str, sentence: str) -> None:
    world.types["/dev/sdb1"] = kind
    with pytest.raises(ActionError, match=sentence):
        disk.mount(world.machine.call(), "disk-1", "/dev/sdb")
    assert (world.ran("mkfs"), world.mounts) == ([], {})


def test_a_second_disk_goes_to_the_migration_target_and_a_third_nowhere(world: World) -> None:
    layout = world.machine.host.layout
    disk.mount(world.machine.call(), "disk-1", "/dev/sdb")
    disk.mount(world.machine.call(), "disk-2", "/dev/sdc")
    assert world.mounts == {str(layout.store): "8:17", str(layout.migration_target): "8:33"}
    world.devices.update({"/dev/sdd": "8:48", "/dev/sdd1": "8:49"})
    world.types["/dev/sdd1"] = "ext4"
    with pytest.raises(ActionError, match="hold other disks"):
        disk.mount(world.machine.call(), "disk-3", "/dev/sdd")


def test_migration_copies_and_swaps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, layout = world.machine, world.machine.host.layout
    disk.mount(machine.call(), "disk-1", "/dev/sdb")
    (layout.store / "file").write_text("kept")
    disk.mount(machine.call(), "disk-2", "/dev/sdc")
    disk.migrate(machine.call(), "disk-2")
    assert (layout.migration_target / "file").read_text() == "kept"
    assert world.mounts == {str(layout.store): "8:33"}
    assert disk.list_disk(machine.call()) == ["disk-2"]
    assert world.machine.host.disks.known()["disk-1"]["target"] == ""
    disk.migrate(machine.call(), "disk-2")
    assert disk.unmount(machine.call(), "disk-1") == {"message": "Partition of disk-1 is not mounted"}
    assert disk.unmount(machine.call(), "disk-2") == {"message": "Unmounted partition of disk-2"}
    assert world.mounts == {}


def test_a_failed_copy_leaves_the_old_disk_as_it_was(world: World) -> None:
    machine, layout = world.machine, world.machine.host.layout
    disk.mount(machine.call(), "disk-1", "/dev/sdb")
    disk.mount(machine.call(), "disk-2", "/dev/sdc")
    layout.migration_target.rmdir()
    layout.migration_target.write_text("in the way")
    with pytest.raises(ActionError, match="Copying the persistent disk failed"):
        disk.migrate(machine.call())
    assert world.mounts == {str(layout.store): "8:17", str(layout.migration_target): "8:33"}
    assert world.ran("mount")[-1] == ["mount", "-o", "remount,rw", str(layout.store)]


def test_migration_needs_both(world: World) -> None:
    with pytest.raises(ActionError, match="No disk is mounted at /var/vcap/store_migration_target"):
        disk.migrate(world.machine.call())


def test_forgetting_is_refused_while_mounted(world: World) -> None:
    disk.mount(world.machine.call(), "disk-1", "/dev/sdb")
    with pytest.raises(ActionError, match="still mounted"):
        disk.remove(world.machine.call(), "disk-1")
    disk.unmount(world.machine.call(), "disk-1")
    disk.remove(world.machine.call(), "disk-1")
    assert world.machine.host.disks.known() == {}


def test_after_a_reboot_disks_are_mounted_where_they_were(world: World) -> None:
    disk.mount(world.machine.call(), "disk-1", "/dev/sdb")
    world.mounts.clear()
    world.machine.host.disks.at_boot()
    assert world.mounts == {str(world.machine.host.layout.store): "8:17"}


def test_a_missing_disk_is_told(machine: Machine) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    found = disks.Disks(machine.host.layout, machine.shell, sleep=sleep, clock=lambda: now[0])
    with pytest.raises(ActionError, match="did not appear within 60 seconds"):
        found.find({"path": "/dev/nothing"})


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("/dev/sdf", ["/dev/sdf", "/dev/xvdf", "/dev/vdf"]),
        ({"lun": "3"}, ["/dev/disk/azure/scsi1/lun3", "/dev/disk/azure/data/by-lun/3"]),
        ({"path": "/dev/caisson/x"}, ["/dev/caisson/x"]),
        ({"id": "vol-0123"}, []),
        ({}, []),
    ],
)
def test_where_a_disk_is_looked_for(hint: Any, expected: list[str]) -> None:
    assert disks.candidates(hint) == expected


@pytest.mark.parametrize(
    ("device", "partition"),
    [("/dev/sdb", "/dev/sdb1"), ("/dev/nvme1n1", "/dev/nvme1n1p1"), ("/dev/mapper/mpatha", "/dev/mapper/mpatha-part1")],
)
def test_partition_names(device: str, partition: str) -> None:
    assert disks.first_partition(device) == partition


def test_mountinfo_is_read_with_its_escapes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    line = r"29 1 8:17 / /var/vcap/a\040b rw - ext4 /dev/sdb1 rw"
    monkeypatch.setattr(disks.Disks, "_mountinfo", lambda me: [line])
    assert machine.host.disks.source_of(Path("/var/vcap/a b")) == "8:17"
    assert machine.host.disks.source_of(Path("/var/vcap")) == ""
