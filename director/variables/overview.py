"""What there is of variables, in which version, who uses which, and when certificates end. Reads the state only, no secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from director.state import Store
from director.state.variables import VariableRow


@dataclasses.dataclass(frozen=True)
class Use:
    """A version that a deployment has: `current` in its last successful deploy, `instances` (`GROUP/UUID (INDEX)`) are those that have
    this version and not the deployment's current one."""

    deployment: str
    id: str
    current: bool
    instances: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Version:
    """One version with its uses; `latest` when it is the newest. `ca` is the name of what signed it, '' for none."""

    row: VariableRow
    latest: bool
    ca: str
    uses: tuple[Use, ...]


@dataclasses.dataclass(frozen=True)
class Info:
    """A variable: its versions, newest first."""

    name: str
    versions: tuple[Version, ...]

    @property
    def newest(self) -> Version:
        return self.versions[0]

    @property
    def uses(self) -> tuple[Use, ...]:
        return tuple(use for version in self.versions for use in version.uses)


def overview(store: Store, deployment: str = "") -> list[Info]:
    """All variables, or those that a deployment uses, by name."""
    rows = store.variables.all()
    names = {row.id: row.name for row in rows}
    uses = _uses(store)
    by_name: dict[str, list[VariableRow]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    found = [
        Info(name, tuple(
            Version(row, row is versions[-1], names.get(row.signed_by, ""), uses.get(row.id, ())) for row in reversed(versions)))
        for name, versions in by_name.items()]
    return [info for info in found if not deployment or any(use.deployment == deployment for use in info.uses)]


def in_use(store: Store, deployment: str = "") -> list[Version]:
    """Versions that are used, by name, newest first; of one deployment or of all."""
    return [
        version for info in overview(store, deployment) for version in info.versions
        if any(not deployment or use.deployment == deployment for use in version.uses)]


def _uses(store: Store) -> dict[str, tuple[Use, ...]]:
    """Version id -> uses."""
    current = {row.name: row.variable_set_id for row in store.deployments.all()}
    labels = _labels(store, current)
    made: dict[str, dict[str, Use]] = {}
    for pin in store.variables.all_pinned():
        is_current, instances = pin.set_id == current.get(pin.deployment), labels.get(pin.set_id, ())
        if is_current or instances:
            known = made.setdefault(pin.variable_id, {}).get(pin.deployment, Use(pin.deployment, pin.variable_id, current=False))
            made[pin.variable_id][pin.deployment] = dataclasses.replace(
                known, current=known.current or is_current, instances=(*known.instances, *instances))
    return {
        id: tuple(dataclasses.replace(use, instances=() if use.current else use.instances) for _, use in sorted(by_deployment.items()))
        for id, by_deployment in made.items()}


def _labels(store: Store, current: Mapping[str, int | None]) -> dict[int, tuple[str, ...]]:
    """Set -> labels of the instances that have it although it is not their deployment's."""
    found: dict[int, tuple[str, ...]] = {}
    for row in store.instances.all():
        if row.variable_set_id is not None and row.variable_set_id != current.get(row.deployment):
            found[row.variable_set_id] = (*found.get(row.variable_set_id, ()), row.label)
    return found
