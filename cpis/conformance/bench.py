"""What a case of the suite gets, and how what it made is taken away again."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping
from typing import TypeVar

from cpis.contract import Cpi, CpiError, DiskRequest, Found, Login, Network, NetworkMaker, Properties, Vm, VmRequest

NetworksOf = Callable[[int], tuple[Network, ...]]
T = TypeVar("T")


class NotApplicable(Exception):
    """A case that does not apply to this cloud or site; the text says why."""


@dataclasses.dataclass(frozen=True)
class OtherZone:
    """A second availability zone: the names of the first (`here`) and of this one (`there`), and how machines get there."""

    here: str
    there: str
    vm_properties: Properties
    networks: NetworksOf


@dataclasses.dataclass(frozen=True)
class Site:
    """What the suite must know of the cloud it runs against.

    `networks(n)` are the networks of the n-th machine (from 0 to `machines` - 1), with addresses that are free. `wait_until_up(vm)`
    returns when the machine answers, for clouds with real machines; `on_machine(vm, command)` answers the output of a shell command
    run as root there. `place` are those of `vm_properties` that say where, not how large (zones), `disk_properties` put disks there
    too; `disk_mib` is a size this cloud has exactly.

    What a cloud or account has not is None, and the cases that need it are reported as skipped: `dynamic`, `several` and `vip` are
    networks like `networks` (one whose address the cloud chooses; two or more; one with a floating address besides), `other_zone` is
    another availability zone, `user_data_limit` the bytes of user data that this cloud takes, `again()` makes another CPI for the same
    cloud as a new director's process would, `unreachable()` one whose cloud does not answer.

    `skips` names cases that do not apply for another reason, with the reason: a limit of the cloud, or of what plays it.
    """

    networks: NetworksOf
    login: Login
    vm_properties: Properties = dataclasses.field(default_factory=dict)
    stemcell_properties: Properties = dataclasses.field(default_factory=dict)
    image_path: str = ""
    place: Properties = dataclasses.field(default_factory=dict)
    disk_mib: int = 1024
    disk_properties: Properties = dataclasses.field(default_factory=dict)
    machines: int = 20
    wait_until_up: Callable[[Vm], None] | None = None
    on_machine: Callable[[Vm, str], str] | None = None
    dynamic: NetworksOf | None = None
    several: NetworksOf | None = None
    vip: NetworksOf | None = None
    other_zone: OtherZone | None = None
    user_data_limit: int | None = None
    again: Callable[[], Cpi] | None = None
    unreachable: Callable[[], Cpi] | None = None
    skips: Mapping[str, str] = dataclasses.field(default_factory=dict)


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

    def vm(self, number: int = 0, **changes: object) -> Vm:
        vm = self.cpi.create_vm(self.request(number, **changes))
        self._vms.append(vm.cid)
        return vm

    def disk_request(self, size_mib: int = 0, vm_cid: str = "") -> DiskRequest:
        return DiskRequest(
            self.token(), size_mib or self.site.disk_mib, self.site.disk_properties, vm_cid, metadata={"director": "conformance"})

    def disk(self, size_mib: int = 0, vm_cid: str = "") -> str:
        """A disk; `vm_cid` is the machine it is meant for, as the director says it."""
        disk = self.cpi.create_disk(self.disk_request(size_mib, vm_cid))
        self._disks.append(disk)
        return disk

    def wait_until_up(self, vm: Vm) -> None:
        """Until the machine answers, where machines are real."""
        if self.site.wait_until_up:
            self.site.wait_until_up(vm)

    def clean(self, *, look_again: bool = True) -> list[str]:
        """Delete everything; answers what could not be, and with `look_again` what is still found afterwards."""
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
        stemcells = dict.fromkeys(item.cid for item in found if item.kind == "stemcell")
        disks = dict.fromkeys([*self._disks, *(item.cid for item in found if item.kind == "disk")])
        deletions: list[tuple[Callable[[str], object], dict[str, None]]] = [
            (self.cpi.delete_vm, vms), (self.cpi.delete_snapshot, snapshots), (self.cpi.delete_disk, disks),
            (self.cpi.delete_stemcell, stemcells)]
        if isinstance(self.cpi, NetworkMaker):
            deletions.append((self.cpi.delete_network, networks))
        for delete, cids in deletions:
            for cid in cids:
                try:
                    delete(cid)
                except CpiError as error:
                    failed.append(f"{cid}: {error}")
        return [*failed, *(self._left() if look_again else ())]

    def _left(self) -> list[str]:
        """What still carries one of our tokens: parts of machines too (network cards, addresses), which no method deletes by itself."""
        left = []
        for token in self._tokens:
            try:
                left += [f"{item.kind} {item.cid}" for item in self.cpi.find(token)]
            except CpiError as error:
                left.append(f"find({token}): {error}")
        return left


@dataclasses.dataclass(frozen=True)
class Case:
    """One promise of the contract. `function` raises AssertionError, or any error, when it does not hold, and NotApplicable when it says
    nothing about this site."""

    function: Callable[[Bench], None]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def promise(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


def raises(kinds: type[CpiError] | tuple[type[CpiError], ...], call: Callable[[], object]) -> CpiError:
    """The error of one of these kinds that the call ends with. Raises AssertionError when it answers."""
    try:
        answer = call()
    except kinds as error:
        return error
    raise AssertionError(f"answered {answer!r} where an error belongs")


def needed(value: T | None, what: str) -> T:
    """A part of the site, or NotApplicable."""
    if value is None:
        raise NotApplicable(f"this site has no {what}")
    return value
