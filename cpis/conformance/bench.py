"""What a case of the suite gets, and how what it made is taken away again."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable

from cpis.contract import Cpi, CpiError, DiskRequest, Found, Login, Network, NetworkMaker, Properties, Vm, VmRequest


@dataclasses.dataclass(frozen=True)
class Site:
    """What the suite must know of the cloud it runs against.

    `networks(n)` are the networks of the n-th machine (from 0), with addresses that are free. `wait_until_up(vm)` returns when the machine
    answers, for clouds with real machines; `on_machine(vm, command)` answers the output of a shell command run as root there.
    """

    networks: Callable[[int], tuple[Network, ...]]
    login: Login
    vm_properties: Properties = dataclasses.field(default_factory=dict)
    stemcell_properties: Properties = dataclasses.field(default_factory=dict)
    image_path: str = ""
    disk_mib: int = 1024
    wait_until_up: Callable[[Vm], None] | None = None
    on_machine: Callable[[Vm, str], str] | None = None


class Bench:
    """What a case works with: makes resources, and deletes all it made at the end, in the order that clouds want."""

    def __init__(self, cpi: Cpi, site: Site, stemcell: str) -> None:
        self.cpi = cpi
        self.site = site
        self.stemcell = stemcell
        self._vms: list[str] = []
        self._disks: list[str] = []
        self._tokens: list[str] = []

    def token(self) -> str:
        """A token not used before; what it makes is deleted at the end, known or not."""
        token = f"conformance-{uuid.uuid4()}"
        self._tokens.append(token)
        return token

    def request(self, number: int = 0, **changes: object) -> VmRequest:
        """The request of the n-th machine."""
        base = VmRequest(
            self.token(), f"agent-{number}", self.stemcell, self.site.vm_properties, self.site.networks(number), self.site.login,
            metadata={"director": "conformance", "name": f"machine/{number}"},
        )
        return dataclasses.replace(base, **changes)  # type: ignore[arg-type]

    def vm(self, number: int = 0) -> Vm:
        vm = self.cpi.create_vm(self.request(number))
        self._vms.append(vm.cid)
        return vm

    def disk(self, size_mib: int = 0) -> str:
        disk = self.cpi.create_disk(DiskRequest(self.token(), size_mib or self.site.disk_mib, metadata={"director": "conformance"}))
        self._disks.append(disk)
        return disk

    def clean(self) -> list[str]:
        """Delete everything; answers what could not be."""
        failed: list[str] = []
        found: list[Found] = []
        for token in self._tokens:
            try:
                found += self.cpi.find(token)
            except CpiError as error:
                failed.append(f"find({token}): {error}")
        vms = dict.fromkeys([*self._vms, *(item.cid for item in found if item.kind == "vm")])
        snapshots = dict.fromkeys(item.cid for item in found if item.kind == "snapshot")
        networks = dict.fromkeys(item.cid for item in found if item.kind == "network")
        disks = dict.fromkeys([*self._disks, *(item.cid for item in found if item.kind == "disk")])
        deletions: list[tuple[Callable[[str], object], dict[str, None]]] = [
            (self.cpi.delete_vm, vms), (self.cpi.delete_snapshot, snapshots), (self.cpi.delete_disk, disks)]
        if isinstance(self.cpi, NetworkMaker):
            deletions.append((self.cpi.delete_network, networks))
        for delete, cids in deletions:
            for cid in cids:
                try:
                    delete(cid)
                except CpiError as error:
                    failed.append(f"{cid}: {error}")
        return failed


@dataclasses.dataclass(frozen=True)
class Case:
    """One promise of the contract. `function` raises AssertionError, or any error, when it does not hold."""

    function: Callable[[Bench], None]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def promise(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]
