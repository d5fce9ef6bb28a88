"""What was asked of single instances: wanted state, restart, recreate, selection. Source: planning contract, section 18."""

from __future__ import annotations

from collections.abc import Iterable

from director.diagnostics import Diagnostics, Where, did_you_mean
from director.manifest.model import InstanceGroup
from director.plan.model import ObservedInstance, Options

STARTED = "started"
_REQUESTS = ("restart", "recreate")
_UNKNOWN_INSTANCE = 70001
_IGNORED_STATE = 140021


class Wishes:
    """Answers for each instance of a deployment what the operator wants of it, beyond what the manifest says of its group."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._selected = frozenset(options.selected)

    def selected(self, group: str, instance_id: str, index: int) -> bool:
        """Whether the options count for it; without a selection they count for all."""
        return not self._selected or bool(self._selected & {group, f"{group}/{instance_id}", f"{group}/{index}"})

    def touched(self, group: str, instance_id: str, index: int) -> bool:
        """False for what `skip_unselected` leaves alone."""
        return not self._options.skip_unselected or self.selected(group, instance_id, index)

    def request(self, group: InstanceGroup, instance_id: str, index: int) -> str:
        """The state asked for now: started, stopped, detached, restart, recreate, or '' when nothing was asked."""
        explicit = group.instance_states.get(instance_id) or group.instance_states.get(str(index)) or group.state
        if not explicit and self.selected(group.name, instance_id, index):
            # A deploy may ask to recreate everything, which wakes nobody; only an operation of its own asks to restart.
            explicit = "recreate" if self._selected and self._options.recreate else "restart" if self._options.restart else ""
        return explicit

    def state(self, group: InstanceGroup, instance_id: str, index: int, recorded: str) -> str:
        """The state to be in afterwards. A stop persists until something else is asked."""
        asked = self.request(group, instance_id, index)
        return STARTED if asked in _REQUESTS else asked or recorded or STARTED

    def restart(self, group: InstanceGroup, instance_id: str, index: int) -> bool:
        return self.request(group, instance_id, index) == "restart" and instance_id not in self._options.ended

    def recreate(self, group: InstanceGroup, observed: ObservedInstance, index: int) -> bool:
        """Asked for, and old enough when an age was given."""
        asked = self.request(group, observed.id, index) == "recreate"
        if not asked and not (self._options.recreate and self.selected(group.name, observed.id, index)):
            return False
        limit, made = self._options.recreate_created_before, observed.vm.created_at if observed.vm else None
        if self._own(made):
            return False
        return limit is None or observed.dirty or made is None or made < limit

    def renew(self, group: InstanceGroup, observed: ObservedInstance, index: int) -> bool:
        """Whether its persistent disks are to be replaced."""
        if not self._options.recreate_persistent_disks or not self.selected(group.name, observed.id, index):
            return False
        return any(not self._own(disk.created_at) for disk in observed.disks)

    def _own(self, made: float | None) -> bool:
        """Made by this operation, before its director died."""
        return made is not None and self._options.began is not None and made >= self._options.began


def check(
    deployment: str, groups: Iterable[InstanceGroup], observed: Iterable[ObservedInstance], options: Options, report: Diagnostics,
) -> None:
    """Requests that name instances that do not exist, or ignored ones."""
    by_name: dict[str, dict[str, ObservedInstance]] = {}
    for instance in observed:
        names = by_name.setdefault(instance.group, {})
        names[instance.id] = names[str(instance.index)] = instance
    known = {group.name: group for group in groups}
    for text in options.selected:
        name, _, identity = text.partition("/")
        if name not in known and name not in by_name:
            report.add(f"'{deployment}/{text}' doesn't exist", code=_UNKNOWN_INSTANCE, suggestion=did_you_mean(name, known))
        elif identity:
            _check_one(deployment, name, identity, by_name, options.recreate or options.restart, report, None)
    for group in known.values():
        where = Where(line=group.line, path=f"instance_groups/{group.name}")
        for identity, state in group.instance_states.items():
            found = by_name.get(group.name, {}).get(identity)
            _check_one(deployment, group.name, identity, by_name, found is not None and state != found.state, report, where)


def _check_one(
    deployment: str, group: str, identity: str, by_name: dict[str, dict[str, ObservedInstance]], changes: bool, report: Diagnostics,
    where: Where | None,
) -> None:
    found = by_name.get(group, {}).get(identity)
    if found is None:
        report.add(f"'{deployment}/{group}/{identity}' doesn't exist", where=where, code=_UNKNOWN_INSTANCE)
    elif found.ignored and changes:
        report.add(
            f"You are trying to change the state of the ignored instance '{group}/{found.id}'. This operation is not allowed."
            " You need to unignore it first.", where=where, code=_IGNORED_STATE)
