"""This computer as a stand-in for itself: real machines, with SSH. Needs root."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpis.conformance.bench import Site
from cpis.conformance.keys import login
from cpis.conformance.standin import Skipped
from cpis.contract import CpiError, Network, Vm
from cpis.local import LocalCpi

_BOOT_SECONDS = 60.0
_COMMAND_SECONDS = 300.0


class Local:
    """Machines have addresses of two ranges that are drawn, `10.199.N.0/24`."""

    name = cpi_type = "local"
    endpoint = ""

    def __init__(self, workdir: Path) -> None:
        self._work = workdir
        self._first, self._second = random.sample(range(100, 255), 2)
        self.config: Mapping[str, Any] = {"state_dir": str(workdir / "state"), "director": f"conformance-{self._first}"}
        self.login, private = login()
        self._key = workdir / "key"
        self._key.touch(mode=0o600)
        self._key.write_text(private)
        self._lock = threading.Lock()

    def config_for(self, url: str) -> Mapping[str, Any]:
        """There is no server that a proxy could stand before."""
        return self.config

    def site(self) -> Site:
        def network(name: str, third: int, number: int, **more: Any) -> Network:
            return Network(name, ip=f"10.199.{third}.{10 + number}", gateway=f"10.199.{third}.1", **more)

        def default(number: int) -> Network:
            return network("default", self._first, number, default=("dns", "gateway"))

        dynamic = Network("dynamic", "dynamic", gateway=f"10.199.{self._second}.1", default=("dns", "gateway"))
        return Site(
            networks=lambda number: (default(number),), dynamic=lambda number: (dynamic,),
            several=lambda number: (network("second", self._second, number), default(number)),
            login=self.login, vm_properties={"memory": 256}, disk_mib=64, again=lambda: LocalCpi(self.config),
            unreachable=lambda: LocalCpi({"state_dir": str(self._work / "none")}),
            wait_until_up=self.wait_until_up, on_machine=self.on_machine,
        )

    def wait_until_up(self, vm: Vm) -> None:
        """Until sshd greets. Raises AssertionError after a minute."""
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((vm.ssh_address, vm.ssh_port), timeout=1) as connection:
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"no sshd on {vm} within {_BOOT_SECONDS:.0f} s")

    def on_machine(self, vm: Vm, command: str) -> str:
        """Output of a shell command run as root. The host key must be the one that was asked for. Raises AssertionError when it fails."""
        with self._lock:
            known = self._work / f"known-{vm.ssh_address}"
            known.write_text(f"{vm.ssh_address} {self.login.host_public_key}\n")
        done = subprocess.run(
            ["ssh", "-i", str(self._key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
             "-o", f"UserKnownHostsFile={known}", f"{self.login.user}@{vm.ssh_address}", f"sudo sh -ec '{command}'"],
            capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def cloud_config(self) -> str:
        span = f"10.199.{self._first}"
        return (
            "azs: [{name: z1}]\n"
            "vm_types: [{name: default, cloud_properties: {memory: 256}}]\n"
            "disk_types: [{name: default, disk_size: 64}]\n"
            f"networks: [{{name: default, type: manual, subnets: [{{range: {span}.0/24, gateway: {span}.1, azs: [z1]}}]}}]\n"
            "compilation: {workers: 1, az: z1, vm_type: default, network: default}\n")

    def resources(self) -> Sequence[tuple[str, str]]:
        return [(found.kind, found.cid) for found in LocalCpi(self.config).owned()]

    def requests(self) -> Sequence[tuple[str, str]]:
        return []

    def forget_requests(self) -> None:
        """None are made."""

    def close(self) -> None:
        """Remove everything from this computer."""
        LocalCpi(self.config).clean()

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def start(workdir: Path, *, latency: float = 0.0) -> Local:
    """Machines on this computer. Raises Skipped where they cannot be made."""
    if os.geteuid() != 0:
        raise Skipped("machines on this computer need root")
    workdir.mkdir(parents=True, exist_ok=True)
    local = Local(workdir)
    try:
        LocalCpi(local.config).check()
    except CpiError as error:
        raise Skipped(f"this computer cannot make machines: {error}") from error
    return local
