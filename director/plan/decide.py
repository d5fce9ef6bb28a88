"""What will be done to each instance, and why; then in which order. Source: planning contract, sections 7, 8, 15, 17, 19."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from director.diagnostics import Diagnostic
from director.errors import PlanError
from director.manifest.model import InstanceGroup
from director.plan import changes
from director.plan.model import Action, Blueprint, Change, ObservedInstance, Options, PlacedInstance, Plan, Reason
from director.plan.packages import compilations
from director.plan.waves import group_plans
from director.plan.wishes import Wishes

_TIMED_OUT = 450002
_IGNORED = "You have ignored instances. They will not be changed."


def decide(
    blueprint: Blueprint, configuration_hashes: Mapping[str, str], *, resolved: changes.Digest | None = None,
    compiled: Container[str] | None = None,
) -> Plan:
    """The plan for a blueprint.

    `configuration_hashes` maps instance ids to hashes of rendered templates; an instance that was not rendered (errand groups) has
    none. `resolved` gives digests of trees after their variables were filled in, without it rotated variables go unseen in cloud
    properties. `compiled` holds keys of compiled packages; without it the plan lists no compilations.
    Raises PlanError when agents do not respond and `fix` is not set, or when a size cannot be calculated.
    """
    request = blueprint.request
    deciding = _Deciding(blueprint, configuration_hashes, resolved)
    deciding.check_agents()
    by_group: dict[str, list[Change]] = {group.name: [] for group in request.manifest.instance_groups}
    removed: list[Change] = []
    for observed in blueprint.obsolete:
        if deciding.wishes.touched(observed.group, observed.id, observed.index):
            owner = blueprint.obsolete_owner.get(observed.id)
            change = Change(
                Action.DELETE, observed.group, observed.id, observed.index, observed.az, (deciding.obsolete(observed, owner),), None,
                observed, released=observed.reservations)
            (by_group[owner] if owner else removed).append(change)
    for placed in blueprint.instances:
        if placed.observed is not None or deciding.touched(placed):
            by_group[placed.spec.group].append(deciding.change(placed))
    all_changes = (*removed, *(change for items in by_group.values() for change in items))
    ignored = any(item.ignored for item in request.observed)
    return Plan(
        request.manifest.name, all_changes, tuple(dict.fromkeys(change.group for change in removed)),
        group_plans(request.manifest.instance_groups, by_group, first_deploy=request.first_deploy, options=request.options),
        (*blueprint.warnings, *((_IGNORED,) if ignored else ()), *_left_over(all_changes)),
        () if compiled is None else compilations(blueprint, compiled))


class _Deciding:
    """One decision; holds what all instances share."""

    def __init__(self, blueprint: Blueprint, hashes: Mapping[str, str], resolved: changes.Digest | None) -> None:
        self._blueprint = blueprint
        self._options: Options = blueprint.request.options
        self._hashes = hashes
        self._resolved = resolved
        self._groups: dict[str, InstanceGroup] = {group.name: group for group in blueprint.request.manifest.instance_groups}
        self._awake_errands = _awake_errands(blueprint)
        self._known_digests: dict[tuple[str, str, tuple[int, ...]], dict[str, str]] = {}
        self.wishes = Wishes(self._options)

    def check_agents(self) -> None:
        """An agent that does not respond ends a deploy, unless it may be fixed by recreating its machine."""
        silent = [
            placed for placed in self._blueprint.instances if placed.observed and placed.observed.vm and not placed.observed.ignored
            and placed.observed.vm.agent_state == "unresponsive" and self.touched(placed)]
        if silent and not self._options.fix:
            raise PlanError.of(
                Diagnostic(
                    f"{placed.spec.label}: the agent does not respond", code=_TIMED_OUT,
                    detail=f"{_silence(placed)}\nIts state is unknown, so nothing can be changed on it safely.".strip(),
                    suggestion="Deploy with --fix to replace machines that do not respond, or look at the machine itself.")
                for placed in silent)

    def change(self, placed: PlacedInstance) -> Change:
        spec, observed = placed.spec, placed.observed
        base = Change(
            Action.KEEP, spec.group, spec.id, spec.index, spec.az, (), spec, observed, placed.reservations, placed.released,
            self._hashes.get(spec.id, ""), migrated_from=placed.migrated_from)
        if observed is not None and observed.ignored:
            return dataclasses.replace(base, reservations=observed.reservations, released=(), frozen=True)
        if observed is not None and not self.touched(placed):
            return dataclasses.replace(base, reservations=observed.reservations, released=(), frozen=True)
        base = dataclasses.replace(base, resolved=self._digests(placed))
        if spec.lifecycle == "errand" and spec.group not in self._awake_errands:
            return base
        if observed is None or observed.vm is None:
            return self._without_vm(base, placed)
        return self._with_vm(base, placed, tuple(self._reasons(placed, base.resolved)))

    def _without_vm(self, base: Change, placed: PlacedInstance) -> Change:
        if placed.spec.state == "detached":
            return base
        if placed.observed is None:
            reason = Reason("new", "a new instance", line=self._line(placed))
        else:
            moves = placed.observed.state != placed.spec.state
            reason = Reason("state", "has no machine", *((placed.observed.state, placed.spec.state) if moves else ()))
        return dataclasses.replace(base, action=Action.CREATE, reasons=(reason,), disk_change=self._disk_changes(placed, base.resolved))

    def _with_vm(self, base: Change, placed: PlacedInstance, reasons: tuple[Reason, ...]) -> Change:
        if not reasons:
            return base
        replaces = any(reason.kind in changes.RECREATING for reason in reasons)
        disk = any(reason.kind in ("persistent_disk", "recreate_persistent_disks") for reason in reasons)
        change = dataclasses.replace(base, reasons=reasons, disk_change=disk)
        if placed.spec.state != "started":
            return self._not_started(change, placed)
        if replaces:
            swaps = self._hot_swap(placed)
            return dataclasses.replace(change, action=Action.RECREATE, hot_swap=swaps, spare=self._spare(placed) if swaps else "")
        return dataclasses.replace(change, action=Action.METADATA if changes.is_minimal(reasons) else Action.UPDATE)

    def _not_started(self, change: Change, placed: PlacedInstance) -> Change:
        """A stopped instance keeps its machine: what replaces the machine waits until it is started."""
        held = {(item.network, item.ip) for item in change.reservations}
        kept = tuple(item for item in change.released if (item.network, item.ip) not in held)
        if placed.spec.state == "detached":
            return dataclasses.replace(change, action=Action.STOP, disk_change=False)
        change = dataclasses.replace(change, reservations=(*change.reservations, *kept), released=())
        if change.has("state"):
            return dataclasses.replace(change, action=Action.STOP, disk_change=False)
        now = [reason for reason in change.reasons if reason.kind not in changes.RECREATING]
        if not now:
            return dataclasses.replace(change, disk_change=False)
        return dataclasses.replace(change, action=Action.METADATA if changes.is_minimal(now) else Action.UPDATE)

    def _reasons(self, placed: PlacedInstance, digests: Mapping[str, str]) -> Iterator[Reason]:
        """All that is different, in the order of the change list."""
        spec, observed = placed.spec, placed.observed
        assert observed is not None
        assert observed.vm is not None
        group, applied, line = self._groups[spec.group], observed.applied, self._line(placed)
        if spec.lifecycle == "errand":
            yield Reason("errand", "machines of an errand are updated on every deploy")
        if observed.dirty:
            yield Reason("dirty", "its last update did not complete")
        if self.wishes.restart(group, spec.id, spec.index):
            yield Reason("restart", "a restart was asked for")
        silent = observed.vm.agent_state == "unresponsive"
        if silent or self.wishes.recreate(group, observed, spec.index):
            yield Reason("recreate", "the agent does not respond" if silent else "its machine was asked to be recreated")
        if self.wishes.renew(group, observed, spec.index):
            yield Reason("recreate_persistent_disks", "its persistent disk was asked to be recreated")
        yield from changes.vm_reasons(placed, digests, line)
        found: Sequence[Reason | None] = (
            changes.packages_reason(spec, applied, line),
            changes.disk_reason(spec, digests.get("disks", ""), observed, line),
            changes.configuration_reason(spec, self._hashes.get(spec.id, ""), applied, line) if "jobs" in applied else None,
            changes.job_reason(spec, applied, line),
            changes.state_reason(spec.state, observed) if spec.lifecycle != "errand" else None,
            changes.dns_reason(spec, applied),
            changes.trusted_certs_reason(spec, applied),
            changes.tags_reason(spec, applied, line),
        )
        yield from (reason for reason in found if reason is not None)
        if "jobs" not in applied and not observed.dirty:
            yield Reason("dirty", "nothing is recorded of what was installed on it")

    def _disk_changes(self, placed: PlacedInstance, digests: Mapping[str, str]) -> bool:
        if placed.observed is None:
            return bool(placed.spec.disks)
        differs = changes.disk_reason(placed.spec, digests.get("disks", ""), placed.observed)
        return self._options.recreate_persistent_disks or differs is not None

    def _hot_swap(self, placed: PlacedInstance) -> bool:
        """The design gave it new addresses throughout, which is what a second machine needs."""
        assert placed.observed is not None
        assert placed.observed.vm is not None
        if self._groups[placed.spec.group].update.vm_strategy != "create-swap-delete" or placed.observed.vm.agent_state == "unresponsive":
            return False
        held = {item.ip for item in placed.observed.reservations if item.kind != "cloud"}
        return all(item.kind == "cloud" or (item.kind == "dynamic" and item.ip not in held) for item in placed.reservations)

    def _spare(self, placed: PlacedInstance) -> str:
        """The spare machine that is taken: variables may have new values since it was made."""
        spare = placed.observed.spare if placed.observed else None
        if spare is None or placed.spare != spare.cid:
            return ""
        return spare.cid if changes.makes_same_vm(placed.spec, spare.made, self._digests(placed)) else ""

    def _digests(self, placed: PlacedInstance) -> dict[str, str]:
        """The same for all instances of a group, an AZ and the same subnets, so made once for them."""
        spec = placed.spec
        key = (spec.group, spec.az, tuple(id(item.cloud_properties) for item in spec.networks))
        if key not in self._known_digests:
            self._known_digests[key] = changes.resolved_digests(spec, self._resolved)
        return self._known_digests[key]

    def touched(self, placed: PlacedInstance) -> bool:
        """Whether this operation is about the instance at all."""
        return self.wishes.touched(placed.spec.group, placed.spec.id, placed.spec.index)

    def obsolete(self, observed: ObservedInstance, owner: str | None) -> Reason:
        """Why nothing wants the instance any more."""
        if owner is None:
            return Reason("obsolete", "its instance group is not in the manifest")
        group = self._groups[owner]
        if observed.az not in group.azs and (observed.az or group.azs):
            zones = ", ".join(group.azs) or "none"
            return Reason("obsolete", f"'{observed.az or 'no AZ'}' is not among the AZs of instance group '{owner}' ({zones})",
                          line=group.line, paths=("azs",))
        return Reason("obsolete", f"instance group '{owner}' wants no more than {group.instances} instances", line=group.line)

    def _line(self, placed: PlacedInstance) -> int | None:
        return self._groups[placed.spec.group].line


def _left_over(changes_made: Iterable[Change]) -> Iterator[str]:
    """Spare machines that are not taken. Source: planning contract, section 15."""
    for change in changes_made:
        spare = change.observed.spare if change.observed and not change.frozen else None
        if spare is not None and spare.cid != change.spare:
            yield f"The spare machine '{spare.cid}' of {change.label}, left by an interrupted create-swap-delete, is not needed and goes."


def _silence(placed: PlacedInstance) -> str:
    return placed.observed.vm.silence if placed.observed and placed.observed.vm else ""


def _awake_errands(blueprint: Blueprint) -> frozenset[str]:
    """Errand groups that have a machine now, or whose machines are wanted."""
    alive: Iterable[str] = (
        placed.spec.group for placed in blueprint.instances if placed.spec.lifecycle == "errand" and placed.observed and placed.observed.vm)
    return frozenset((*alive, *blueprint.request.options.errand_groups))
