"""What a run of the suite will make, found out by running it on the cloud in memory."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

from cpis.conformance.bench import Case, Site
from cpis.conformance.cases import CASES
from cpis.conformance.suite import check
from cpis.contract import DiskRequest, Vm, VmRequest
from cpis.fake import FakeCpi


@dataclasses.dataclass(frozen=True)
class Estimate:
    """`machines` and `disks` are made in all, `machines_at_once` exist together at most; `gib` is the size of all disks together."""

    machines: int
    machines_at_once: int
    disks: int
    gib: float
    snapshots: int

    def words(self, machine: str) -> str:
        """For a person who pays; `machine` says which type."""
        return (
            f"makes {self.machines} machines ({machine}), at most {self.machines_at_once} of them at once, {self.disks} disks of together "
            f"{self.gib:.0f} GiB, and {self.snapshots} snapshots, and deletes them all again. Where each started minute is billed, count "
            f"{self.machines} machines for five minutes each, {self.machines * 5 / 60:.0f} hours of one machine, and the disks as long; "
            "where each started hour is billed, as many hours as machines."
        )


class _Counting(FakeCpi):
    """Counts what is made, and how much of it is there at once."""

    def __init__(self) -> None:
        super().__init__({})
        self.guard = threading.Lock()
        self.machines = self.at_once = self.disks = self.mib = 0

    def create_vm(self, request: VmRequest) -> Vm:
        vm = super().create_vm(request)
        with self.guard:
            self.at_once = max(self.at_once, len(self._of("vm")))
            self.machines = max(self.machines, self._last.get("vm", 0))
        return vm

    def create_disk(self, request: DiskRequest) -> str:
        before = self._last.get("disk", 0)
        cid = super().create_disk(request)
        with self.guard:
            if self._last["disk"] > before:
                self.disks, self.mib = self._last["disk"], self.mib + request.size_mib
        return cid


def estimate(site: Site, cases: Sequence[Case] = CASES) -> Estimate:
    """What these cases make at this site. Touches no cloud."""
    plain = dataclasses.replace(
        site, vm_properties={}, stemcell_properties={}, disk_properties={}, place={}, image_path="", wait_until_up=None, on_machine=None,
        again=None, unreachable=None)
    cloud = _Counting()
    check(cloud, plain, cases)
    return Estimate(cloud.machines, cloud.at_once, cloud.disks, cloud.mib / 1024, cloud.calls.get("snapshot_disk", 0))
