"""Reservations of one instance: kept, moved to another network, newly made, given up. Source: planning contract, section 6."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from director.diagnostics import Diagnostics, Where
from director.manifest.model import GroupNetwork, InstanceGroup
from director.plan.addresses import NetworkPool, Pools, SubnetPool, number_of, text_of
from director.plan.model import Reservation

ALREADY_RESERVED = 130008
NOT_STATIC = 130009
NO_MORE = 130011
NO_SUBNET = 130012
IS_RESERVED = 130013


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who reserves: `label` is `g/uuid (0)`; `held` are its present reservations; `fresh` when all automatic ones must be new: those of
    `spare` are, which a second machine of it has already."""

    id: str
    label: str
    az: str
    held: tuple[Reservation, ...] = ()
    fresh: bool = False
    spare: tuple[Reservation, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reserved:
    """`by_network` has a reservation per network of the group that could be reserved; `released` are those given up."""

    by_network: Mapping[str, Reservation]
    released: tuple[Reservation, ...]


class Reserver:
    """Makes the reservations of a group's instances, one after another, and notes what is wrong."""

    def __init__(self, pools: Pools, group: InstanceGroup, deployment: str, report: Diagnostics) -> None:
        self._pools = pools
        self._group = group
        self._deployment = deployment
        self._report = report
        self._where = Where(line=group.line, path=f"instance_groups/{group.name}/networks")

    def reserve(self, holder: Holder, static_ips: Mapping[str, str]) -> Reserved:
        """Reservations for each of the group's networks. `static_ips` are the addresses chosen by placement, by network name."""
        kept = self._keep(holder, static_ips)
        result: dict[str, Reservation] = {}
        for wanted in self._group.networks:
            reservation = kept.get(wanted.name) or self._new(holder, wanted, static_ips.get(wanted.name))
            if reservation is not None:
                result[wanted.name] = reservation
                if reservation.ip and reservation.kind != "cloud":
                    self._pools.taken.hold(number_of(reservation.ip), holder.id, self._label(holder))
        addresses = {item.ip for item in result.values() if item.ip}
        names = {item.network for item in result.values() if item.kind == "cloud"}
        released = tuple(
            item for item in holder.held if (item.network not in names if item.kind == "cloud" else item.ip not in addresses))
        return Reserved(result, released)

    def _keep(self, holder: Holder, static_ips: Mapping[str, str]) -> dict[str, Reservation]:
        kept: dict[str, Reservation] = {}
        left: list[Reservation] = []
        if holder.fresh:
            return kept
        for held in holder.held:
            wanted = next((item for item in self._group.networks if item.name == held.network), None)
            if wanted is not None and wanted.name not in kept and self._fits(holder, wanted, held, static_ips.get(wanted.name)):
                kept[wanted.name] = held
            else:
                left.append(held)
        for held in left:
            for wanted in self._group.networks if held.ip and held.kind != "cloud" else ():
                if wanted.name not in kept and self._fits(holder, wanted, held, static_ips.get(wanted.name)):
                    kept[wanted.name] = dataclasses.replace(held, network=wanted.name)
                    break
        return kept

    def _fits(self, holder: Holder, wanted: GroupNetwork, held: Reservation, static_ip: str | None) -> bool:
        pool = self._pools.network(wanted.name)
        if pool is None:
            return False
        kind = pool.definition.type
        if kind == "dynamic":
            return held.kind == "cloud" and held.network == wanted.name
        if kind == "vip":
            return held.kind == "vip" and (held.ip == static_ip if static_ip else _vip_subnet(pool, held.ip, holder.az))
        if held.kind not in ("static", "dynamic") or not held.ip or (held.kind == "static") != (static_ip is not None):
            return False
        number = number_of(held.ip)
        subnet = pool.subnet_of(number)
        if subnet is None or not subnet.serves(holder.az) or number in subnet.reserved:
            return False
        return held.ip == static_ip and number in subnet.static if static_ip else number not in subnet.static

    def _new(self, holder: Holder, wanted: GroupNetwork, static_ip: str | None) -> Reservation | None:
        pool = self._pools.network(wanted.name)
        if pool is None:
            self._report.add(
                f"Instance group '{self._group.name}' references an unknown network '{wanted.name}'", where=self._where, code=150001)
            return None
        if pool.definition.type == "dynamic":
            return Reservation(wanted.name, "", "cloud")
        if pool.definition.type == "vip":
            return self._new_vip(holder, pool, static_ip)
        if static_ip is not None:
            return self._new_static(holder, pool, static_ip)
        if wanted.static_ips is not None:
            return None  # placement has told why there is no address
        spare = next((item for item in holder.spare if item.network == wanted.name and self._fits(holder, wanted, item, None)), None)
        if spare is not None:
            return spare
        ip = pool.allocate(holder.az, self._pools.taken)
        if ip is None:
            self._exhausted(holder, pool, "manual")
            return None
        return Reservation(wanted.name, ip, "dynamic")

    def _new_static(self, holder: Holder, pool: NetworkPool, ip: str) -> Reservation | None:
        number, network = number_of(ip), pool.definition.name
        subnet = pool.subnet_of(number)
        problem = self._static_problem(holder, subnet, network, ip, number)
        if problem is None:
            return Reservation(network, ip, "static")
        text, code, hint = problem
        self._report.add(text, where=self._where, code=code, suggestion=hint)
        return None

    def _static_problem(self, holder: Holder, subnet: SubnetPool | None, network: str, ip: str, number: int) -> tuple[str, int, str] | None:
        if subnet is None:
            return f"Provided static IP '{ip}' does not belong to any subnet in network '{network}'", NO_SUBNET, ""
        if number in subnet.reserved:
            return (f"Failed to reserve IP '{ip}' for network '{network}': IP belongs to reserved range", IS_RESERVED,
                    "Choose another address, or take it out of 'reserved' in the cloud config.")
        other = self._pools.taken.other_holder(number, holder.id)
        if other is not None:
            return (f"Failed to reserve IP '{ip}' for instance '{holder.label}': already reserved by {other}", ALREADY_RESERVED,
                    "Choose another address, or free it first by deploying what holds it without it.")
        if number not in subnet.static:
            return (f"IP '{ip}' on network '{network}' does not belong to static pool", NOT_STATIC,
                    f"Add it to 'static' of a subnet of network '{network}' in the cloud config.")
        return None

    def _new_vip(self, holder: Holder, pool: NetworkPool, static_ip: str | None) -> Reservation | None:
        network = pool.definition.name
        if static_ip is not None:
            other = self._pools.taken.other_holder(number_of(static_ip), holder.id)
            if other is None:
                return Reservation(network, static_ip, "vip")
            self._report.add(
                f"Failed to reserve IP '{static_ip}' for instance '{holder.label}': already reserved by {other}",
                where=self._where, code=ALREADY_RESERVED)
            return None
        for subnet in pool.subnets:
            number = subnet.next_static(self._pools.taken) if subnet.serves(holder.az) else None
            if number is not None:
                return Reservation(network, text_of(number), "vip")
        self._exhausted(holder, pool, "vip")
        return None

    def _exhausted(self, holder: Holder, pool: NetworkPool, kind: str) -> None:
        self._report.add(
            f"Failed to reserve IP for '{holder.label}' for {kind} network '{pool.definition.name}': no more available",
            where=self._where, code=NO_MORE,
            suggestion="Give the network a larger range or another subnet for this AZ, or fewer reserved and static addresses.")

    def _label(self, holder: Holder) -> str:
        return f"instance '{self._group.name}/{holder.id}' from deployment '{self._deployment}'"


def vip_choices(group: InstanceGroup, pools: Pools, held: Sequence[Sequence[Reservation]]) -> list[dict[str, str]]:
    """Listed virtual addresses per instance, network -> address: it keeps its own while listed, others take what is left in order."""
    chosen: list[dict[str, str]] = [{} for _ in held]
    for network in group.networks:
        pool = pools.network(network.name)
        if pool is None or pool.definition.type != "vip" or not network.static_ips:
            continue
        left = dict.fromkeys(network.static_ips)
        for choice, reservations in zip(chosen, held, strict=True):
            own = next((item.ip for item in reservations if item.kind == "vip" and item.ip in left), None)
            if own is not None:
                choice[network.name] = own
                del left[own]
        rest = iter(left)
        for choice in chosen:
            if network.name not in choice:
                ip = next(rest, None)
                if ip is not None:
                    choice[network.name] = ip
    return chosen


def _vip_subnet(pool: NetworkPool, ip: str, az: str) -> bool:
    number = number_of(ip)
    return any(number in subnet.static and subnet.serves(az) for subnet in pool.subnets)
