"""vSphere's stand-in: govmomi's vCenter simulator, written by the vendor. What it does not do is in `SKIPS`, with the reason."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import secrets
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pyVmomi import vim

from cpis.conformance.bench import Site
from cpis.conformance.clouds.vsphere import build, image
from cpis.conformance.clouds.vsphere.furnish import furnish
from cpis.conformance.furnish import Furnished, Wanted
from cpis.conformance.standin import Skipped
from cpis.contract import Login, Network
from cpis.registry import load
from cpis.vsphere.address import Address
from cpis.vsphere.inventory import Start, collect, traverse
from cpis.vsphere.session import Session

_START_SECONDS = 30.0
_USER = "caisson"
_LOGIN = Login("caisson", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB==", "host key")
_NO_EXTEND = "the simulator of govmomi 0.24.2 has no ExtendVirtualDisk_Task; tests/cpis/vsphere proves the request"
SKIPS = {
    "disk_grows_and_does_not_shrink": _NO_EXTEND,
    "sizes_are_rounded_up": _NO_EXTEND,
    "resized_disk_attaches": _NO_EXTEND,
}
_CLOUD_CONFIG = """\
azs:
- name: z1
  cloud_properties: {datacenters: [{name: DC0, clusters: [{DC0_C0: {}}]}]}
- name: z2
  cloud_properties: {datacenters: [{name: DC0, clusters: [{DC0_C1: {}}]}]}
vm_types:
- name: small
  cloud_properties: {cpu: 1, ram: 512, disk: 64}
disk_types:
- name: small
  disk_size: 1024
networks:
- name: default
  type: manual
  subnets:
  - range: 10.20.0.0/24
    gateway: 10.20.0.1
    azs: [z1, z2]
    static: [10.20.0.10-10.20.0.59]
    cloud_properties: {name: VM Network}
compilation: {workers: 1, az: z1, vm_type: small, network: default}
"""


@dataclasses.dataclass(frozen=True)
class Datacenter:
    """The one that there is: its name and those of its clusters."""

    name: str = "DC0"
    clusters: tuple[str, ...] = ("DC0_C0", "DC0_C1")


class VsphereStandIn:
    """One simulator in a process of its own, which ends with this object or with this process."""

    name = "vsphere"
    cpi_type = "vsphere"

    def __init__(self, workdir: Path, *, latency: float = 0.0, flags: Sequence[str] = (), ca_cert: str = "") -> None:
        """`flags` are further ones of main.go; with `-cert` and `-key` among them it speaks TLS, and `ca_cert` verifies it."""
        self._program = build.simulator()
        workdir.mkdir(parents=True, exist_ok=True)
        self._image = image.make(workdir / "image.ova")
        self._ca_cert = ca_cert
        self._workdir = workdir
        self._password = secrets.token_urlsafe(12)
        self._lock = threading.Lock()
        self._told = threading.Condition(self._lock)
        self._requests: list[tuple[str, str]] = []
        self._flags = ("-latency", f"{latency}s", *flags)
        self._own: Session | None = None
        self.datacenter = Datacenter()
        self._launch()

    def _launch(self, *more: str) -> None:
        workdir = self._workdir
        self._log = (workdir / "simulator.log").open("a")
        self._ready = threading.Event()
        self.endpoint = ""
        self._process = subprocess.Popen(
            [str(self._program), "-user", _USER, *self._flags, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, text=True, env={**os.environ, "VCENTER_PASSWORD": self._password, "TMPDIR": str(workdir)})
        self._reader = threading.Thread(target=self._read, name="vcenter", daemon=True)
        self._reader.start()
        if not self._ready.wait(_START_SECONDS) or not self.endpoint:
            self.close()
            raise Skipped(f"the vCenter simulator does not start: {(workdir / 'simulator.log').read_text()[-300:]}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            kind, _, rest = line.strip().partition(" ")
            if kind == "request":
                method, _, what = rest.partition(" ")
                with self._told:
                    self._requests.append((method, what))
                    self._told.notify_all()
            elif kind == "listening":
                self.endpoint = f"{'https' if self._ca_cert else 'http'}://{rest}"
                self._ready.set()
        self._ready.set()

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of a CPI for it."""
        return self.config_for(self.endpoint)

    def config_for(self, url: str) -> Mapping[str, Any]:
        """The same with another endpoint."""
        datacenter = {
            "name": self.datacenter.name, "vm_folder": "caisson-vms", "template_folder": "caisson-templates", "disk_path": "caisson-disks",
            # One datastore for machines: the simulator lets clones share the disk object of their template, which copies of a stemcell
            # on several datastores, cloned at once, then spoil for each other.
            "datastore_pattern": "LocalDS_0", "persistent_datastore_pattern": "LocalDS.*",
            "clusters": [{name: {}} for name in self.datacenter.clusters],
        }
        options = {"connection_options": {"ca_cert": self._ca_cert}} if self._ca_cert else {}
        return {"director": "conformance", "host": url, "user": _USER, "password": self._password, "datacenters": [datacenter], **options}

    def site(self) -> Site:
        """What the suite must know of it."""
        return Site(
            networks=lambda number: (_network(number),), several=lambda number: (_second(number), _network(number)), login=_LOGIN,
            vm_properties={"cpu": 1, "ram": 512, "disk": 64}, image_path=str(self._image), disk_mib=1024, user_data_limit=65_536,
            again=lambda: load("vsphere", self.config),
            unreachable=lambda: load("vsphere", self.config_for("https://127.0.0.1:1")), skips=SKIPS)

    def cloud_config(self) -> str:
        """A cloud config (YAML) for small deployments on it."""
        return _CLOUD_CONFIG

    def resources(self) -> Sequence[tuple[str, str]]:
        """(kind, name) of machines (stemcells are some, too) and of files of disks, beyond those it was born with."""
        asked = list(self.requests())
        session = self.session()
        datacenter = session.content.searchIndex.FindByInventoryPath(self.datacenter.name)
        along = [traverse("vms", vim.Datacenter, "vmFolder", "in"), traverse("in", vim.Folder, "childEntity", "in")]
        machines = collect(session, [Start(datacenter, along)], {vim.VirtualMachine: ["name"]})
        names = sorted(facts["name"] for facts in machines.values() if not facts["name"].startswith("DC0_"))
        files = sorted(path.name for path in self._workdir.glob("govcsim-*/caisson-disks/*") if not path.name.endswith("-flat.vmdk"))
        self._settle()
        with self._lock:
            self._requests = asked  # those of this look are nobody's
        return [*(("vm", name) for name in names), *(("disk", name) for name in files)]

    def session(self) -> Session:
        """As a user of its own, past the CPI; it ends with the stand-in."""
        if self._own is None:
            self._own = Session(Address(self.endpoint), (_USER, self._password), ca_cert=self._ca_cert)
        return self._own

    def furnish(self, wanted: Wanted) -> Furnished:
        return furnish(self, wanted)

    def restart(self, datacenter: Datacenter, *flags: str) -> None:
        """Begin anew with other flags; the caller gives things the names that `datacenter` tells."""
        self.close()
        self.datacenter = datacenter
        self._launch(*flags)

    def requests(self) -> Sequence[tuple[str, str]]:
        """(method, path or SOAP action) of the requests since the last `forget_requests`."""
        self._settle()
        with self._lock:
            return list(self._requests)

    def forget_requests(self) -> None:
        """Begin to count anew."""
        self._settle()
        with self._lock:
            self._requests.clear()

    def _settle(self) -> None:
        """Wait until all requests so far were told: until one of our own is."""
        mark = f"/mark-{secrets.token_hex(8)}"
        parts = urllib.parse.urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(parts.netloc) if parts.scheme == "http" else http.client.HTTPSConnection(
            parts.netloc, context=ssl._create_unverified_context())
        with contextlib.closing(connection):
            connection.request("GET", mark)
            connection.getresponse().read()
        with self._told:
            if not self._told.wait_for(lambda: ("GET", mark) in self._requests, _START_SECONDS):
                raise RuntimeError("the vCenter simulator tells no requests any more")
            self._requests.remove(("GET", mark))

    def close(self) -> None:
        """End it: no process, port or file stays."""
        if self._own is not None:
            self._own.close()
            self._own = None
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()  # the simulator takes its folders away when its input ends
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> VsphereStandIn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _network(number: int) -> Network:
    return Network(
        "default", ip=f"10.20.{number // 200}.{10 + number % 200}", prefix_length=16, gateway="10.20.0.1", default=("dns", "gateway"),
        dns=("10.20.0.1",), cloud_properties={"name": "VM Network"})


def _second(number: int) -> Network:
    return Network(
        "second", ip=f"10.21.{number // 200}.{10 + number % 200}", prefix_length=16, gateway="10.21.0.1",
        cloud_properties={"name": "DC0_DVPG0"})


def start(workdir: Path, *, latency: float = 0.0) -> VsphereStandIn:
    """A vCenter on this computer. Raises Skipped when the simulator cannot be had here."""
    return VsphereStandIn(workdir, latency=latency)


__all__ = ["Datacenter", "Skipped", "VsphereStandIn", "start"]
