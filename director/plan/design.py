"""Wanted instances of a whole deployment. Source: planning contract, sections 2 to 6, 15, 19."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from director.diagnostics import Diagnostics
from director.errors import PlanError
from director.manifest.model import InstanceGroup
from director.plan import changes
from director.plan.addresses import Pools, number_of
from director.plan.addressing import addressing_of
from director.plan.existing import Existing, claim
from director.plan.identity import assign_indexes, bootstrap_of
from director.plan.jobs import Catalog, GroupJobs
from director.plan.links import link
from director.plan.model import Blueprint, InstanceSpec, NumericIds, ObservedInstance, ObservedSpare, PlacedInstance, Request, Reservation
from director.plan.names import InvalidLabel, canonical, group_key, link_key
from director.plan.place import Placement, Slot, place
from director.plan.reserve import Holder, Reserved, Reserver, vip_choices
from director.plan.settings import cloud_properties, default_network, group_env, network_settings
from director.plan.static_place import has_static_ips, place_static
from director.plan.wishes import Wishes, check

_IGNORED_DELETED = 190021
_BAD_NAME = 420001


def ids_wanted(request: Request) -> int:
    """How many `new_ids` are enough for the request, whatever is recorded."""
    return sum(group.instances for group in request.manifest.instance_groups)


def design(request: Request) -> Blueprint:
    """Place, number, address and specify every wanted instance; find what is obsolete. Raises PlanError with all that is wrong.

    Equal requests give equal blueprints. When `needs_ids` is not empty, assign the numbers and design again with them.
    """
    report = Diagnostics()
    blueprint = _Designing(request, report).run()
    if report.errors:
        raise PlanError.of(report.errors)
    return dataclasses.replace(blueprint, warnings=tuple(item.summary for item in report.warnings))


def number(ids: NumericIds, needs: Iterable[tuple[str, str]]) -> NumericIds:
    """The next numbers for what has none: what a store would give, for a preview that writes nothing."""
    kinds = {"az": dict(ids.azs), "network": dict(ids.networks), "group": dict(ids.groups), "instance": dict(ids.instances)}
    highest = {kind: max(numbers.values(), default=0) for kind, numbers in kinds.items()}
    for kind, key in needs:
        if key not in kinds[kind]:
            highest[kind] += 1
            kinds[kind][key] = highest[kind]
    return NumericIds(kinds["az"], kinds["network"], kinds["group"], kinds["instance"])


class _Designing:
    """One design; collects diagnostics and goes on as long as anything sensible can be said."""

    def __init__(self, request: Request, report: Diagnostics) -> None:
        self._request = request
        self._report = report
        self._manifest = request.manifest
        self._pools = Pools(request.cloud)
        self._wishes = Wishes(request.options)
        self._catalog = Catalog(request, report)
        self._new_ids = iter(request.new_ids)
        self._indexes: dict[str, set[int]] = {}
        for observed in request.observed:
            self._indexes.setdefault(observed.group, set()).add(observed.index)

    def run(self) -> Blueprint:
        groups, observed = self._manifest.instance_groups, self._request.observed
        self._check_names()
        check(self._manifest.name, groups, observed, self._request.options, self._report)
        claims = claim(groups, observed, self._report)
        self._check_removed(claims.removed)
        self._hold_addresses()
        shared = {group.name: self._catalog.group_jobs(group) for group in groups}
        self._catalog.check()
        placed: dict[str, list[PlacedInstance]] = {}
        obsolete, owner = list(claims.removed), {}
        for group in groups:
            placement = self._place(group, claims.by_group[group.name])
            placed[group.name] = list(self._instances(group, placement, shared[group.name]))
            obsolete.extend(placement.obsolete)
            owner.update({item.id: group.name for item in placement.obsolete})
        linked = link(self._request, shared, {name: [item.spec for item in items] for name, items in placed.items()}, self._report)
        instances = tuple(
            dataclasses.replace(item, spec=dataclasses.replace(item.spec, jobs=linked.jobs[name], link_groups=linked.link_groups[name]))
            for name, items in placed.items() for item in items)
        return Blueprint(
            self._request, instances, tuple(obsolete), linked.providers, self._needs(instances), variable_links=linked.variable_links,
            obsolete_owner=owner, consumed=linked.consumed)

    def _place(self, group: InstanceGroup, existing: Sequence[Existing]) -> Placement:
        if has_static_ips(group, self._pools):
            return place_static(group, existing, self._pools, self._report)
        seed = ""
        if self._manifest.features.randomize_az_placement:
            seed = "/".join((self._manifest.name, group.name, *self._request.new_ids[:1]))
        return place(group, existing, self._report, seed=seed)

    def _instances(self, group: InstanceGroup, placement: Placement, shared: GroupJobs) -> Iterator[PlacedInstance]:
        maker = _Maker(self._request, group, shared, self._pools, self._wishes, self._report)
        slots = placement.slots
        indexes = assign_indexes(slots, self._indexes.get(group.name, ()))
        bootstrap = bootstrap_of(slots, indexes)
        held = [slot.existing.observed.reservations if slot.existing else () for slot in slots]
        vips = vip_choices(group, self._pools, held)
        for position, (slot, index) in enumerate(zip(slots, indexes, strict=True)):
            identity = slot.existing.observed.id if slot.existing else self._new_id()
            yield maker.make(slot, identity, index, position == bootstrap, vips[position])

    def _new_id(self) -> str:
        identity = next(self._new_ids, None)
        if identity is None:
            raise ValueError(f"the request has too few new_ids: {ids_wanted(self._request)} are enough")
        return identity

    def _hold_addresses(self) -> None:
        for taken in self._request.taken:
            self._pools.taken.hold(number_of(taken.ip), "", taken.holder)
        for observed in self._request.observed:
            label = f"instance '{observed.group}/{observed.id}' from deployment '{observed.deployment}'"
            for reservation in (*observed.reservations, *(observed.spare.reservations if observed.spare else ())):
                if reservation.kind != "cloud" and reservation.ip:
                    self._pools.taken.hold(number_of(reservation.ip), observed.id, label)

    def _check_removed(self, removed: Iterable[ObservedInstance]) -> None:
        for name in dict.fromkeys(item.group for item in removed if item.ignored):
            self._report.add(
                f"You are trying to delete instance group '{name}', which contains ignored instance(s). Operation not allowed.",
                code=_IGNORED_DELETED, suggestion="Unignore its instances first.")

    def _check_names(self) -> None:
        networks = dict.fromkeys(item.name for group in self._manifest.instance_groups for item in group.networks)
        for name in (self._manifest.name, *(group.name for group in self._manifest.instance_groups), *networks):
            try:
                canonical(name)
            except InvalidLabel as error:
                self._report.add(str(error), code=_BAD_NAME, detail=f"'{name}' becomes part of DNS names.")
        if self._report.errors:
            # Every later step makes names.
            raise PlanError.of(self._report.errors)

    def _needs(self, instances: Sequence[PlacedInstance]) -> tuple[tuple[str, str], ...]:
        ids = self._request.ids
        wanted: dict[tuple[str, str], None] = {}
        for item in instances:
            spec = item.spec
            if spec.az and spec.az not in ids.azs:
                wanted["az", spec.az] = None
            wanted.update({("network", network.network): None for network in spec.networks if network.network not in ids.networks})
            keys = (group_key(spec.deployment, spec.group), *(link_key(spec.deployment, name) for name in spec.link_groups))
            wanted.update({("group", key): None for key in keys if key not in ids.groups})
            if spec.id not in ids.instances:
                wanted["instance", spec.id] = None
        return tuple(wanted)


class _Maker:
    """Makes the instances of one group; keeps what they share."""

    def __init__(
        self, request: Request, group: InstanceGroup, shared: GroupJobs, pools: Pools, wishes: Wishes, report: Diagnostics,
    ) -> None:
        self._request = request
        self._group = group
        self._shared = shared
        self._pools = pools
        self._wishes = wishes
        self._reserver = Reserver(pools, group, request.manifest.name, report)
        self._env = group_env(group.env, request.manifest.features)
        self._addressing = addressing_of(request)
        self._cloud_properties = {az: cloud_properties(request.cloud, group, az) for az in (*group.azs, "")}
        self._cpis = {az.name: az.cpi for az in request.cloud.azs}
        kinds = [pool.definition.type for item in group.networks if (pool := pools.network(item.name)) is not None]
        self._may_swap = (
            group.update.vm_strategy == "create-swap-delete" and "vip" not in kinds and not any(item.static_ips for item in group.networks))

    def make(self, slot: Slot, identity: str, index: int, bootstrap: bool, vips: Mapping[str, str]) -> PlacedInstance:
        """The instance of a slot: addresses reserved, settings and spec made; links come later."""
        observed = slot.existing.observed if slot.existing else None
        static_ips = {**slot.static_ips, **vips}
        spare = self._spare(slot, identity, index, bootstrap)
        holder = Holder(
            identity, f"{self._group.name}/{identity} ({index})", slot.az, observed.reservations if observed else (),
            spare=spare.reservations if spare else ())
        placed = self._placed(slot, identity, index, bootstrap, self._reserve(holder, observed, static_ips))
        if observed is None or not self._swaps(placed, observed, index):
            return placed
        if not _all_new(placed, observed):
            reserved = self._reserver.reserve(dataclasses.replace(holder, fresh=True), static_ips)
            placed = self._placed(slot, identity, index, bootstrap, dataclasses.replace(reserved, released=holder.held))
        taken = spare is not None and _of_ours(placed.reservations) == _of_ours(spare.reservations)
        return dataclasses.replace(placed, spare=spare.cid if spare and taken else "")

    def _spare(self, slot: Slot, identity: str, index: int, bootstrap: bool) -> ObservedSpare | None:
        """The spare machine of an instance, if it is as one made now would be. Source: planning contract, section 15."""
        spare = slot.existing.observed.spare if slot.existing else None
        if spare is None or not self._may_swap:
            return None
        reserved = Reserved({item.network: item for item in spare.reservations}, ())
        return spare if changes.makes_same_vm(self._placed(slot, identity, index, bootstrap, reserved).spec, spare.made) else None

    def _reserve(self, holder: Holder, observed: ObservedInstance | None, static_ips: Mapping[str, str]) -> Reserved:
        if observed is not None and observed.ignored:
            return Reserved({item.network: item for item in observed.reservations}, ())
        return self._reserver.reserve(holder, static_ips)

    def _swaps(self, placed: PlacedInstance, observed: ObservedInstance, index: int) -> bool:
        if not self._may_swap or observed.ignored or observed.vm is None or placed.spec.state != "started":
            return False
        if observed.vm.agent_state == "unresponsive" or not self._wishes.touched(self._group.name, observed.id, index):
            return False
        return self._wishes.recreate(self._group, observed, index) or any(changes.vm_reasons(placed, {}))

    def _placed(self, slot: Slot, identity: str, index: int, bootstrap: bool, reserved: Reserved) -> PlacedInstance:
        request, group, shared = self._request, self._group, self._shared
        deployment = request.manifest.name
        observed = slot.existing.observed if slot.existing else None
        seen = observed.vm.networks if observed and observed.vm else {}
        known = {item.network: seen[item.network] for item in reserved.by_network.values() if item.ip and item.network in seen}
        networks = network_settings(deployment, group, index, slot.az, request.domain, reserved.by_network, self._pools, known)
        chosen = default_network(networks)
        address = self._addressing.instance_address(group.name, identity, chosen) if chosen else ""
        properties = self._cloud_properties.get(slot.az)
        spec = InstanceSpec(
            deployment=deployment, group=group.name, index=index, id=identity, az=slot.az, bootstrap=bootstrap, lifecycle=group.lifecycle,
            stemcell_name=shared.stemcell.name, stemcell_version=shared.stemcell.version, stemcell_os=shared.stemcell.os,
            cpi=self._cpis.get(slot.az, ""), cloud_properties={} if properties is None else properties, env=self._env, networks=networks,
            address=address, disks=group.disks, jobs=(), packages=shared.packages, tags=request.manifest.tags, update=group.update,
            vm_resources=group.vm_resources,
            state=observed.state if observed and observed.ignored else self._wishes.state(
                group, identity, index, observed.state if observed else ""),
            dns_domain=request.domain, use_dns_addresses=self._addressing.use_dns, use_short_dns_addresses=self._addressing.use_short,
            use_link_dns_names=self._addressing.use_link_names, group_tags=group.tags, trusted_certs_sha1=request.trusted_certs_sha1)
        return PlacedInstance(
            spec, observed, tuple(reserved.by_network.values()), reserved.released, slot.existing.migrated_from if slot.existing else "")


def _of_ours(reservations: Iterable[Reservation]) -> set[Reservation]:
    """Without what the cloud chooses."""
    return {item for item in reservations if item.kind != "cloud"}


def _all_new(placed: PlacedInstance, observed: ObservedInstance) -> bool:
    held = {item.ip for item in observed.reservations if item.kind != "cloud"}
    return all(item.kind == "cloud" or item.ip not in held for item in placed.reservations)
