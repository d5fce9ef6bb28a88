"""Privileged machines: a container engine in one, and local machines in one: a host with systemd and control groups v2."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_left import left
from test_local_cpi import ROOT, World

from cpis.contract import Vm
from cpis.local import vms
from cpis.local.images import recipe_of
from cpis.local.launch import Launch, script

pytestmark = [
    pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.skipif(os.geteuid() != 0, reason="machines on this computer need root"),
]

APT = (
    "export DEBIAN_FRONTEND=noninteractive; apt-get -q update >/dev/null; "
    "apt-get -qy install {} >/tmp/apt.log 2>&1 || {{ tail /tmp/apt.log; false; }}"
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "state", 14, tmp_path)
    try:
        yield world
    finally:
        world.cpi.clean()
        assert left(world.state) == []


def privileged(world: World) -> Vm:
    vm = world.cpi.create_vm(world.request(0, privileged=True))
    world.wait(vm)
    return vm


def test_a_container_runs_in_a_machine(world: World) -> None:
    vm = privileged(world)
    assert world.ssh(vm, "systemctl is-system-running --wait").strip() == "running"
    world.ssh(vm, APT.format("docker.io iptables busybox-static"))
    world.ssh(vm, "mkdir -p /tmp/root/bin; cp /bin/busybox /tmp/root/bin/; tar -C /tmp/root -c . | docker import - small")
    assert "overlay2" in world.ssh(vm, "docker info 2>/dev/null")
    assert world.ssh(vm, "docker run --rm -m 64m small /bin/busybox echo from a container").strip() == "from a container"
    world.ssh(vm, "docker swarm init --advertise-addr eth0 >/dev/null")
    world.ssh(vm, "docker run -d --restart always --name stays small /bin/busybox sleep 10000 >/dev/null")
    world.cpi.reboot_vm(vm.cid)
    world.wait(vm)
    world.ssh(vm, "for i in $(seq 100); do docker ps 2>/dev/null | grep -q stays && exit 0; sleep 0.2; done; docker ps -a; exit 1")
    world.cpi.delete_vm(vm.cid)


def test_networks_by_iptables_where_nft_is_missing(world: World) -> None:
    """The older tool, run for real: the way out, between networks, and through a chain that is closed."""
    vm = privileged(world)
    world.ssh(vm, APT.format("--no-install-recommends iptables iputils-ping python3-yaml"))
    home = world.state / "vms" / vm.cid / "docker"
    shutil.copytree(ROOT / "cpis", home / "project" / "cpis")
    shutil.copy(ROOT / "tests/e2e/local_iptables.py", home)
    with Telling() as here:
        command = f"PYTHONPATH=/var/lib/docker/project python3 /var/lib/docker/local_iptables.py 10.199.{world.third}.1 {here.port}"
        told = json.loads(world.ssh(vm, command).splitlines()[-1])

    def rules(*numbers: int) -> list[str]:
        nat = [f"-A POSTROUTING -s 10.188.{number}.0/24 ! -o cb+ -j MASQUERADE" for number in numbers]
        forward = [f"-A FORWARD {way} BRIDGE{number} -j ACCEPT" for number in numbers for way in ("-i", "-o")]
        return sorted(nat + forward)

    assert told == {
        "nft": None, "before": [], "rules": rules(1, 2), "seen_as": [vm.ssh_address] * 2, "between": True,
        "after_the_first": rules(2), "still": vm.ssh_address, "after_both": [],
    }


class Telling:
    """A listener on this computer that tells everybody the address that it sees."""

    def __enter__(self) -> Telling:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.sendall(self.client_address[0].encode())

        self._server = socketserver.ThreadingTCPServer(("0.0.0.0", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_machines_on_a_host_with_systemd(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unified(launch: Launch) -> str:
        return script(launch).replace("export SYSTEMD_SECCOMP=0", "export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_SECCOMP=0")

    monkeypatch.setattr(vms, "script", unified)
    vm = privileged(world)
    assert world.ssh(vm, "stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs"
    world.ssh(vm, APT.format("systemd-container nftables iproute2 python3-yaml"))
    home = world.state / "vms" / vm.cid / "docker"
    image = world.cpi._images.path(recipe_of("debian-12"))
    cached = home / "cache" / image.parent.name / "root"
    cached.parent.mkdir(parents=True)
    os.spawnlp(os.P_WAIT, "cp", "cp", "-a", str(image), str(cached))
    shutil.copytree(ROOT / "cpis", home / "project" / "cpis")
    shutil.copy(ROOT / "tests/e2e/local_nested.py", home / "nested.py")
    told = json.loads(world.ssh(vm, "PYTHONPATH=/var/lib/docker/project python3 /var/lib/docker/nested.py").splitlines()[-1])
    unit = {"MemoryMax": str(256 * 2**20), "CPUQuotaPerSecUSec": "500ms", "DevicePolicy": "closed", "Delegate": "yes"}
    assert told == {
        "host": "SystemdHost", "greeting": "SSH-", "unit": unit, "running": True, "after_reboot": "SSH-", "disks": True, "left": "",
    }
