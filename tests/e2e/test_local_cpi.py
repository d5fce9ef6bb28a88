"""Real machines on this computer: the contract, sizes, several directors, a computer full of machines."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from local_left import left

from cpis.conformance import CASES, Case, Site, check
from cpis.contract import Conflict, DiskRequest, Invalid, Login, Network, Unavailable, Vm, VmRequest
from cpis.local import LocalCpi
from cpis.local.disks import loop_of
from cpis.local.images import recipe_of
from cpis.local.names import Names

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="machines on this computer need root")]

ROOT = Path(__file__).resolve().parents[2]


def key_pair() -> tuple[str, str]:
    """An OpenSSH private key and its public line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


class World:
    """A director's CPI with a range of its own, and a way to run commands on its machines."""

    def __init__(self, state: Path, third: int, keys: Path) -> None:
        self.state = state
        self.third = third
        self.private, public = key_pair()
        host_private, host_public = key_pair()
        self.login = Login("caisson", public, host_public, host_private)
        self.keys = keys
        keys.mkdir(exist_ok=True)
        (keys / "key").touch(mode=0o600)
        (keys / "key").write_text(self.private)
        self.known = f"{host_public}\n"
        self.cpi = LocalCpi({"state_dir": str(state), "director": f"test-{third}"})
        self.stemcell = self.cpi.create_stemcell("", {}, "stemcell")

    def network(self, number: int) -> tuple[Network, ...]:
        return (Network("default", ip=f"10.199.{self.third}.{10 + number}", gateway=f"10.199.{self.third}.1", default=("dns", "gateway")),)

    def request(self, number: int, **properties: object) -> VmRequest:
        return VmRequest(f"vm-{number}", f"agent-{number}", self.stemcell, properties, self.network(number), self.login)

    def wait(self, vm: Vm) -> None:
        """Until sshd greets."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((vm.ssh_address, 22), timeout=1) as connection:
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"no sshd on {vm}")

    def ssh(self, vm: Vm, command: str) -> str:
        """Output of a command run as root. The host key must be the one that was asked for."""
        (self.keys / "known").write_text(f"{vm.ssh_address} {self.known}")
        done = subprocess.run(
            ["ssh", "-i", str(self.keys / "key"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
             "-o", f"UserKnownHostsFile={self.keys / 'known'}", f"caisson@{vm.ssh_address}", f"sudo sh -ec '{command}'"],
            capture_output=True, text=True, timeout=300, check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("local")
    world = World(folder / "state", 11, folder)
    try:
        yield world
    finally:
        interfaces = [name for name in os.listdir("/sys/class/net") if Names(world.state).mark in name]
        world.cpi.clean()
        assert left(world.state) == []
    assert not interfaces, "an interface outlived its machine"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state", 12, tmp_path)
    try:
        yield world
    finally:
        world.cpi.clean()
        assert left(world.state) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_local_keeps_the_contract(world: World, case: Case, tmp_path: Path) -> None:
    second = f"10.199.{world.third + 100}"
    site = Site(
        networks=world.network, login=world.login, vm_properties={"memory": 256}, disk_mib=64,
        dynamic=lambda number: (Network("dynamic", "dynamic", gateway=f"{second}.1", default=("dns", "gateway")),),
        several=lambda number: (Network("second", ip=f"{second}.{10 + number}", gateway=f"{second}.1"), *world.network(number)),
        again=lambda: LocalCpi({"state_dir": str(world.state), "director": f"test-{world.third}"}),
        unreachable=lambda: LocalCpi({"state_dir": str(tmp_path / "none")}),
        wait_until_up=world.wait, on_machine=world.ssh,
    )
    (outcome,) = check(world.cpi, site, [case])
    assert not outcome.detail, outcome.detail
    if outcome.skipped:
        pytest.skip(outcome.skipped)


def test_a_machine_is_whole(world: World) -> None:
    """Login with key and pinned host key, root by sudo, systemd without failed units, address, name, way out, limits."""
    vm = world.cpi.create_vm(world.request(0, memory=300, cpus=0.5))
    world.wait(vm)
    assert world.ssh(vm, "systemctl is-system-running --wait").strip() == "running"
    assert world.ssh(vm, "cat /etc/hostname").strip() == vm.cid
    assert f"inet {vm.ssh_address}/24" in world.ssh(vm, "ip addr show eth0")
    assert "via 10.199.11.1" in world.ssh(vm, "ip route show default")
    limit = world.ssh(vm, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true")
    assert str(300 * 2**20) in limit.split() or Path("/run/systemd/system").exists()
    # A device of the host that was not given cannot be opened, even by root with a node for it.
    number = os.stat(os.path.realpath("/")).st_dev
    probe = f"mknod /tmp/disk b {os.major(number)} {os.minor(number)}; ! head -c 1 /tmp/disk 2>&1"
    assert "Operation not permitted" in (answer := world.ssh(vm, probe)) or "Permission denied" in answer
    world.cpi.delete_vm(vm.cid)


def test_the_guest_may_reboot_and_keeps_its_files(world: World) -> None:
    vm = world.cpi.create_vm(world.request(0))
    world.wait(vm)
    before = world.ssh(vm, "echo kept > /root/proof; cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic")
    world.ssh(vm, "systemctl reboot 2>/dev/null || true")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if world.ssh(vm, "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic") != before:
                break
        except AssertionError:
            time.sleep(0.1)
    assert world.ssh(vm, "cat /root/proof").strip() == "kept"
    world.cpi.delete_vm(vm.cid)


def test_a_machine_that_died_is_there_and_can_be_started(world: World) -> None:
    vm = world.cpi.create_vm(world.request(0))
    world.wait(vm)
    world.cpi._vms.stop(vm.cid, graceful=False)
    assert world.cpi.has_vm(vm.cid)
    # A new director knows the machine by its records alone.
    later = LocalCpi({"state_dir": str(world.state)})
    later.reboot_vm(vm.cid)
    world.wait(vm)
    later.delete_vm(vm.cid)


def test_disk_quota_is_felt(world: World) -> None:
    vm = world.cpi.create_vm(world.request(0, ephemeral_disk=128))
    world.wait(vm)
    assert "No space left" in world.ssh(vm, "head -c 200M /dev/zero 2>&1 > /root/big || true")
    world.cpi.reboot_vm(vm.cid)
    world.wait(vm)
    assert int(world.ssh(vm, "stat -c %s /root/big")) > 2**20
    world.cpi.delete_vm(vm.cid)


def test_a_disk_comes_back_after_its_loop_device_was_lost(world: World) -> None:
    vm = world.cpi.create_vm(world.request(0))
    disk = world.cpi.create_disk(DiskRequest("lost-loop", 64))
    hint = world.cpi.attach_disk(vm.cid, disk)
    world.wait(vm)
    world.ssh(vm, f"mkfs.ext4 -q {hint.path} && mount {hint.path} /mnt && echo kept > /mnt/proof && sync && umount /mnt")
    data = world.state / "disks" / disk / "data"
    world.cpi._vms.stop(vm.cid, graceful=False)
    subprocess.run(["losetup", "--detach", loop_of(data)], check=True)
    world.cpi.reboot_vm(vm.cid)
    world.wait(vm)
    assert world.ssh(vm, f"mount {hint.path} /mnt && cat /mnt/proof").strip() == "kept"
    with pytest.raises(Conflict, match="mounted"):
        world.cpi.detach_disk(vm.cid, disk)
    snapshot = world.cpi.snapshot_disk(disk, {}, "snapshot")
    assert (world.state / "snapshots" / snapshot / "data").stat().st_size == 64 * 2**20
    world.cpi.delete_vm(vm.cid)
    assert loop_of(data) == ""
    world.cpi.delete_disk(disk)


def test_two_directors_do_not_collide(world: World, other: World) -> None:
    mine, theirs = world.cpi.create_vm(world.request(0)), other.cpi.create_vm(other.request(0))
    assert mine.cid == theirs.cid, "the same token was meant to lead to the same CID"
    for place, vm in ((world, mine), (other, theirs)):
        place.wait(vm)
    with pytest.raises(Conflict, match=r"10\.199\.11\.0/24 is held by director 'test-11'"):
        other.cpi.create_vm(VmRequest("x", "x", other.stemcell, {}, world.network(5), other.login))
    assert not other.cpi.find("x")
    links = json.loads(subprocess.check_output(["ip", "-json", "-4", "addr"]))
    held = next(info["local"] for link in links if not link["ifname"].startswith(("lo", "c")) for info in link["addr_info"])
    prefix = held.rpartition(".")[0]
    networks = (Network("default", ip=f"{prefix}.77", gateway=f"{prefix}.78"),)
    with pytest.raises(Conflict, match="held by the interface"):
        other.cpi.create_vm(VmRequest("y", "y", other.stemcell, {}, networks, other.login))
    other.cpi.delete_vm(theirs.cid)
    assert world.ssh(mine, "echo alive").strip() == "alive"
    world.cpi.delete_vm(mine.cid)


def test_wrong_properties_are_told_at_once(world: World) -> None:
    with pytest.raises(Invalid) as caught:
        world.cpi.create_vm(world.request(0, memroy=512, cpus=-1))
    assert "memroy" in caught.value.message
    assert "cpus" in caught.value.message
    assert "memory" in caught.value.suggestion


def test_a_machine_that_cannot_boot_tells_its_console_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for folder in ("etc", "lib/systemd"):
        (broken / folder).mkdir(parents=True)
    for file in ("passwd", "group", "shadow"):
        (broken / "etc" / file).write_text((Path("/etc") / file).read_text())
    (broken / "lib/systemd/systemd").write_text("")
    subprocess.run(["tar", "-C", str(broken), "-cf", str(tmp_path / "root.tar"), "."], check=True)
    stemcell = world.cpi.create_stemcell(str(tmp_path / "root.tar"), {}, "broken")
    with pytest.raises(Unavailable, match=r"did not start: .+"):
        world.cpi.create_vm(VmRequest("broken-vm", "a", stemcell, {}, world.network(0), world.login))
    assert not world.cpi.find("broken-vm")
    world.cpi.delete_stemcell(stemcell)


def test_a_machine_from_an_archive(world: World, tmp_path: Path) -> None:
    """A heavy stemcell is any root file system with systemd and sshd; it goes with its record, once nobody stands on it."""
    image = world.cpi._images.path(recipe_of("debian-12"))
    subprocess.run(["tar", "-C", str(image), "-cf", str(tmp_path / "root.tar"), "."], check=True)
    stemcell = world.cpi.create_stemcell(str(tmp_path / "root.tar"), {}, "archive")
    vm = world.cpi.create_vm(VmRequest("from-archive", "a", stemcell, {}, world.network(0), world.login))
    world.wait(vm)
    assert world.ssh(vm, "systemctl is-system-running --wait").strip() == "running"
    with pytest.raises(Conflict, match="in use"):
        world.cpi.delete_stemcell(stemcell)
    world.cpi.delete_vm(vm.cid)
    world.cpi.delete_stemcell(stemcell)
    assert not (world.state / "stemcells" / stemcell).exists()
