"""Runs inside a privileged machine: local machines on a host with systemd and control groups of version 2."""

from __future__ import annotations

import json
import socket
import subprocess
import time

from cpis.contract import DiskRequest, Login, Network, VmRequest
from cpis.local import LocalCpi

HOME = "/var/lib/docker"  # the host's file system: overlayfs does not lie on overlayfs


def main() -> None:
    cpi = LocalCpi({"state_dir": f"{HOME}/state", "director": "nested", "image_cache": f"{HOME}/cache"})
    stemcell = cpi.create_stemcell("", {}, "stemcell")
    key = subprocess.check_output(["cat", "/etc/ssh/ssh_host_ed25519_key"], text=True)
    login = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA", key)
    networks = (Network("default", ip="10.188.1.10", gateway="10.188.1.1"),)
    properties = {"memory": 256, "cpus": 0.5, "ephemeral_disk": 200}
    vm = cpi.create_vm(VmRequest("vm", "agent", stemcell, properties, networks, login))
    told: dict[str, object] = {"greeting": greeting(vm.ssh_address)}
    show = ["systemctl", "show", "-p", "MemoryMax", "-p", "CPUQuotaPerSecUSec", "-p", "DevicePolicy", "-p", "Delegate"]
    show += [f"caisson-*-{vm.cid}.service"]
    told["unit"] = dict(line.split("=", 1) for line in subprocess.check_output(show, text=True).split())
    disk = cpi.create_disk(DiskRequest("disk", 64))
    cpi.attach_disk(vm.cid, disk)
    # A director that starts anew finds the machine, and reboots it.
    later = LocalCpi({"state_dir": f"{HOME}/state", "director": "nested"})
    told["running"] = later._host().running(vm.cid)
    later.reboot_vm(vm.cid)
    told["after_reboot"] = greeting(vm.ssh_address)
    told["disks"] = list(later.get_disks(vm.cid)) == [disk]
    later.delete_vm(vm.cid)
    later.delete_disk(disk)
    later.clean()
    units = subprocess.check_output(["systemctl", "list-units", "--all", "--no-legend", "caisson-*-vm-*"], text=True)
    links = subprocess.check_output("ip -o link | grep ' c[bv]' || true; losetup -ln | grep state || true", shell=True, text=True)
    told["left"] = units + links
    print(json.dumps({"host": type(cpi._host()).__name__, **told}))


def greeting(address: str) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, 22), timeout=1) as connection:
                return connection.recv(4).decode()
        except OSError:
            time.sleep(0.02)
    return "nobody"


if __name__ == "__main__":
    main()
