"""How far the machines are with a rotation. Reads the state only, no secrets.

An instance has the variables of the set it was last updated with. Of one whose update was not completed nobody knows, so it counts with
its set and with all later ones of its deployment. Machines made later (recreated, resurrected) get the deployment's last set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from director.state import Store
from director.state.instances import InstanceRow
from director.state.rotations import RotationRow
from director.variables.rotation import OVER, Family, Stages


@dataclasses.dataclass(frozen=True)
class Behind:
    """Who is not there yet: an instance (`GROUP/UUID (INDEX)`), or a whole deployment when `instance` is ''. `stage` is where it is,
    `why` why it is not further (a sentence's end, may be '')."""

    deployment: str
    instance: str
    stage: int
    why: str = ""

    def __str__(self) -> str:
        who = f"{self.deployment}: {self.instance}" if self.instance else f"deployment '{self.deployment}'"
        return f"{who} is at stage {self.stage}" + (f": {self.why}" if self.why else "")


def behind(store: Store, rotation: RotationRow, stage: int | None = None) -> list[Behind]:
    """Those whose stage is not `stage` (that of the rotation)."""
    wanted = rotation.stage if stage is None else stage
    return [item for item in _users(store, rotation) if item.stage != wanted]


def hindering(store: Store, rotation: RotationRow, target: int) -> list[Behind]:
    """Those who could meet certificates they do not trust, or show some that others do not, if others went to `target`."""
    return [item for item in _users(store, rotation) if abs(item.stage - target) > 1]


def deployments_with(store: Store, names: Iterable[str]) -> list[str]:
    """Deployments of which any set has any of the names, sorted."""
    return sorted({row.deployment for row in store.variables.pinned(names)})


def close_finished(store: Store) -> list[str]:
    """Forget rotations whose last step is on all machines; their names."""
    over = [row.name for row in store.rotations.all() if row.stage == OVER and not behind(store, row)]
    for name in over:
        store.rotations.delete(name)
    return over


def _users(store: Store, rotation: RotationRow) -> Iterator[Behind]:
    sets = _stages_of_sets(store, rotation)
    by_deployment: dict[str, dict[int, tuple[int, ...]]] = {}
    for set_id, (deployment, stages) in sets.items():
        by_deployment.setdefault(deployment, {})[set_id] = stages
    for deployment, known in sorted(by_deployment.items()):
        row = store.deployments.get(deployment)
        current = row.variable_set_id
        if current in known:
            yield from (Behind(deployment, "", stage, _not_newest(store, current, rotation)) for stage in known[current])
        running = {vm.instance_id for vm in store.vms.of(deployment) if vm.active}
        for instance in store.instances.of(deployment):
            if instance.id in running:
                yield from _of_instance(instance, known, current)


def _of_instance(instance: InstanceRow, known: Mapping[int, tuple[int, ...]], current: int | None) -> Iterator[Behind]:
    """At each stage that it may be at; those of the deployment's own set are told by the deployment."""
    own = instance.variable_set_id
    may_have = {own} if own is not None else set()
    if instance.dirty:
        may_have |= {set_id for set_id in known if own is None or set_id > own}
    why = "its last update was not completed" if instance.dirty else "it is ignored" if instance.ignored else "it was not updated since"
    told = {stage for set_id in may_have - ({current} if not instance.dirty else set()) for stage in known.get(set_id, ())}
    yield from (Behind(instance.deployment, instance.label, stage, why) for stage in sorted(told))


def _not_newest(store: Store, set_id: int, rotation: RotationRow) -> str:
    made = next((item.created_at for item in store.variables.sets_with_ids([set_id])), 0.0)
    if made <= rotation.changed_at:
        return "it was not deployed since"
    return "it was deployed since; variables with `update: {strategy: on-stemcell-change}` need --force-latest-variables"


def _stages_of_sets(store: Store, rotation: RotationRow) -> dict[int, tuple[str, tuple[int, ...]]]:
    """Set -> its deployment and the stages of what it has of the rotation's family (mostly one)."""
    stage_of = Stages(store, rotation.versions)
    names = Family(store).below(rotation.name)
    found: dict[int, tuple[str, set[int]]] = {}
    for pin in store.variables.pinned(names):
        found.setdefault(pin.set_id, (pin.deployment, set()))[1].add(stage_of(pin.variable_id))
    return {set_id: (deployment, tuple(sorted(stages))) for set_id, (deployment, stages) in found.items()}
