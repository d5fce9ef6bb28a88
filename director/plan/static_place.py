"""Instances over AZs when addresses are static. Source: planning contract, section 4."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from director.diagnostics import Diagnostics, Where
from director.manifest.model import GroupNetwork, InstanceGroup
from director.plan.addresses import NetworkPool, Pools, SubnetPool, number_of, text_of
from director.plan.existing import Existing
from director.plan.place import IGNORED_CHANGED, Placement, Slot, check_ignored, place
from director.plan.static_spread import spread

_NO_SUBNET = 150002
_NOT_IN_AZS = 150007
_NO_AZS = 140016
_CANNOT_DISTRIBUTE = 130010
_UNSATISFIED = "Failed to distribute static IPs to satisfy existing instance reservations"


def has_static_ips(group: InstanceGroup, pools: Pools) -> bool:
    """Whether any network of the group that is not a VIP network lists static addresses."""
    return any(True for _ in _static_networks(group, pools))


def place_static(group: InstanceGroup, existing: Sequence[Existing], pools: Pools, report: Diagnostics) -> Placement:
    """Choose AZs by addresses. `existing` comes in index order. After an error the placement is that without static addresses."""
    errors = len(report.errors)
    networks = _read(group, pools, report)
    check_ignored(group, existing, report)
    if networks is not None:
        _check_ignored_ips(group, existing, networks, report)
        if len(report.errors) == errors:
            placing = _Placing(group, networks, report)
            placement = placing.run(existing)
            if len(report.errors) == errors:
                return placement
    return place(group, [item for item in existing if not item.observed.ignored], Diagnostics())


@dataclasses.dataclass(eq=False)
class _Entry:
    """A listed address. `azs` shrinks to one when its AZ is decided."""

    number: int
    subnet: SubnetPool
    azs: tuple[str, ...]
    claimed: bool = False

    @property
    def ip(self) -> str:
        return text_of(self.number)


class _Network:
    """The listed addresses of one network, in listed order."""

    def __init__(self, wanted: GroupNetwork, entries: Sequence[_Entry]) -> None:
        self.name = wanted.name
        self.nic_group = wanted.nic_group
        self.entries = {entry.number: entry for entry in entries}
        self._by_az: dict[str, deque[_Entry]] = {}
        for entry in entries:
            for az in entry.azs:
                self._by_az.setdefault(az, deque()).append(entry)

    def left(self) -> list[_Entry]:
        return [entry for entry in self.entries.values() if not entry.claimed]

    def next_in(self, az: str, accept: Callable[[_Entry], bool] = lambda entry: True) -> _Entry | None:
        """The next address nobody has in that AZ, or None."""
        queue = self._by_az.get(az, deque())
        while queue and (queue[0].claimed or az not in queue[0].azs):
            queue.popleft()
        return next((entry for entry in queue if not entry.claimed and az in entry.azs and accept(entry)), None)


def _static_networks(group: InstanceGroup, pools: Pools) -> Iterable[tuple[GroupNetwork, NetworkPool]]:
    for network in group.networks:
        pool = pools.network(network.name)
        if network.static_ips is not None and pool is not None and pool.definition.type != "vip":
            yield network, pool


def _read(group: InstanceGroup, pools: Pools, report: Diagnostics) -> list[_Network] | None:
    networks: list[_Network] = []
    failed = False
    where = Where(line=group.line, path=f"instance_groups/{group.name}/networks")
    for wanted, pool in _static_networks(group, pools):
        entries = []
        for ip in wanted.static_ips or ():
            number = number_of(ip)
            subnet = pool.subnet_of(number)
            if subnet is None or number not in subnet.static:
                failed = True
                report.add(
                    f"Instance group '{group.name}' with network '{wanted.name}' declares static ip '{text_of(number)}/32', which belongs"
                    " to no subnet", where=where, code=_NO_SUBNET,
                    suggestion=f"Add it to 'static' of a subnet of network '{wanted.name}', or choose an address listed there.")
                continue
            azs = tuple(az for az in subnet.subnet.azs if az in group.azs) if subnet.azs and group.azs else group.azs or ("",)
            if subnet.azs and not group.azs:
                failed = True
                report.add(f"Instance group '{group.name}' subnets declare availability zones and the instance group does not",
                           where=where, code=_NO_AZS, suggestion="Give the instance group 'azs'.")
                break
            if not azs:
                failed = True
                report.add(f"Instance group '{group.name}' declares static ip '{text_of(number)}' which does not belong to any of the"
                           " instance group's availability zones.", where=where, code=_NOT_IN_AZS)
            entries.append(_Entry(number, subnet, azs))
        networks.append(_Network(wanted, entries))
    return None if failed else networks


def _check_ignored_ips(group: InstanceGroup, existing: Iterable[Existing], networks: Iterable[_Network], report: Diagnostics) -> None:
    listed = {number for network in networks for number in network.entries}
    held = (item for one in existing if one.observed.ignored for item in one.observed.reservations if item.kind not in ("cloud", "vip"))
    if any(number_of(item.ip) not in listed for item in held):
        report.add(
            f"In instance group '{group.name}', an attempt was made to remove a static ip that is used by an ignored instance. This"
            " operation is not allowed.", where=Where(line=group.line, path=f"instance_groups/{group.name}"), code=IGNORED_CHANGED)


class _Placing:
    """One placement; claims addresses as it goes."""

    def __init__(self, group: InstanceGroup, networks: Sequence[_Network], report: Diagnostics) -> None:
        self._group = group
        self._networks = networks
        self._report = report
        self._where = Where(line=group.line, path=f"instance_groups/{group.name}/networks")
        self._chosen: dict[str, tuple[Existing, dict[str, _Entry]]] = {}

    def run(self, existing: Sequence[Existing]) -> Placement:
        without = self._keep_holders(existing)
        self._complete_holders()
        self._keep_others(without)
        slots = [
            Slot(item, item.az, {name: entry.ip for name, entry in self._chosen[item.observed.id][1].items()})
            for item in existing if item.observed.id in self._chosen]
        obsolete = tuple(item.observed for item in existing if item.observed.id not in self._chosen)
        count = self._group.instances - len(slots)
        if count and not self._fix_azs():
            return Placement(tuple(slots), obsolete)
        return Placement((*slots, *self._new(count)), obsolete)

    def _keep_holders(self, existing: Sequence[Existing]) -> list[Existing]:
        """First pass: who holds a listed address keeps it, ignored instances first. The answer are those who hold none."""
        without = []
        for item in sorted(existing, key=lambda one: not one.observed.ignored):
            held = self._held(item)
            if not held:
                without.append(item)
                continue
            for entry in held.values():
                entry.claimed = True
                if item.az not in entry.azs:
                    self._fail(f"Existing instance '{item.observed.group}/{item.observed.index}' is using IP '{entry.ip}/32' in"
                               f" availability zone '{item.az}'")
                entry.azs = (item.az,)
            if len(self._chosen) < self._group.instances:
                self._chosen[item.observed.id] = (item, held)
        return sorted(without, key=lambda one: one.key)

    def _held(self, item: Existing) -> dict[str, _Entry]:
        numbers = [number_of(one.ip) for one in item.observed.reservations if one.ip and one.kind not in ("cloud", "vip")]
        held = {}
        for network in self._networks:
            entry = next((network.entries[number] for number in numbers if number in network.entries), None)
            if entry is not None and not entry.claimed:
                held[network.name] = entry
        return held

    def _complete_holders(self) -> None:
        for item, held in self._chosen.values():
            for network in self._networks:
                if network.name not in held:
                    entry = self._next(network, item.az, held)
                    if entry is None:
                        self._fail(_UNSATISFIED)
                        return
                    self._claim(held, network, entry, item.az)

    def _keep_others(self, without: Iterable[Existing]) -> None:
        for item in without:
            if len(self._chosen) >= self._group.instances:
                return
            held = self._in_az(item.az)
            if held is not None:
                self._chosen[item.observed.id] = (item, held)

    def _in_az(self, az: str) -> dict[str, _Entry] | None:
        """One address of each network in that AZ, claimed; None, and nothing claimed, when a network has none."""
        held: dict[str, _Entry] = {}
        for network in self._networks:
            entry = self._next(network, az, held)
            if entry is None:
                for one in held.values():
                    one.claimed = False
                return None
            held[network.name] = entry
            entry.claimed = True
        for entry in held.values():
            entry.azs = (az,)
        return held

    def _fix_azs(self) -> bool:
        """Decide the AZ of every address left, so that all networks have the same number in each AZ."""
        left = [network.left() for network in self._networks]
        counts = Counter(item.az for item, _ in self._chosen.values())
        fixed = spread([[entry.azs for entry in entries] for entries in left], counts)
        if fixed is None:
            self._fail(f"Failed to evenly distribute static IPs between zones for instance group '{self._group.name}'", _NO_SUBNET)
            return False
        for entries, azs in zip(left, fixed, strict=True):
            for entry, az in zip(entries, azs, strict=True):
                entry.azs = (az,)
        return True

    def _new(self, count: int) -> list[Slot]:
        slots: list[Slot] = []
        for entry in self._networks[0].left()[:count]:
            az = entry.azs[0]
            held: dict[str, _Entry] = {}
            self._claim(held, self._networks[0], entry, az)
            for network in self._networks[1:]:
                other = self._next(network, az, held)
                if other is None:
                    self._fail(self._lacking(network, az))
                    return slots
                self._claim(held, network, other, az)
            slots.append(Slot(None, az, {name: one.ip for name, one in held.items()}))
        if len(slots) < count:
            self._fail(_UNSATISFIED)
        return slots

    def _next(self, network: _Network, az: str, held: Mapping[str, _Entry]) -> _Entry | None:
        """Networks of one NIC group must be on subnets with the same cloud properties."""
        peers = [held[one.name].subnet.subnet.cloud_properties for one in self._networks
                 if one.nic_group is not None and one.nic_group == network.nic_group and one.name in held]
        if not peers:
            return network.next_in(az)
        return network.next_in(az, lambda entry: entry.subnet.subnet.cloud_properties == peers[0])

    def _lacking(self, network: _Network, az: str) -> str:
        if network.nic_group is None or network.next_in(az) is None:
            return _UNSATISFIED
        zone = f" in availability zone '{az}'" if az else ""
        return f"Failed to find a static IP for network '{network.name}' on a matching subnet in nic_group '{network.nic_group}'{zone}"

    @staticmethod
    def _claim(held: dict[str, _Entry], network: _Network, entry: _Entry, az: str) -> None:
        held[network.name] = entry
        entry.claimed = True
        entry.azs = (az,)

    def _fail(self, text: str, code: int = _CANNOT_DISTRIBUTE) -> None:
        self._report.add(text, where=self._where, code=code)
