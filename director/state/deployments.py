"""Deployments: what was last deployed with success, and which configs, releases and stemcells it uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from director import errors
from director.state import database, tables


@dataclasses.dataclass(frozen=True)
class DeploymentRow:
    """`manifest` is the text of the last *successful* deploy, None before the first (a failed first deploy leaves an empty deployment);
    `resolved` is a tree the executor stores beside it. `variable_set_id` is the set of that deploy. `links_serial` grows with each
    deploy that changed links. `succeeded` stays true once a deploy succeeded."""

    name: str
    manifest: str | None = dataclasses.field(default=None, repr=False)
    resolved: dict[str, Any] | None = dataclasses.field(default=None, repr=False)
    cloud_config_ids: tuple[int, ...] = ()
    runtime_config_ids: tuple[int, ...] = ()
    teams: tuple[str, ...] = ()
    succeeded: bool = False
    links_serial: int = 0
    variable_set_id: int | None = None
    created_at: float = 0.0


class DeploymentChanges(TypedDict, total=False):
    """What `update` may set."""

    manifest: str | None
    resolved: dict[str, Any] | None
    cloud_config_ids: tuple[int, ...]
    runtime_config_ids: tuple[int, ...]
    teams: tuple[str, ...]
    succeeded: bool
    links_serial: int
    variable_set_id: int | None


class Deployments(database.Repository):
    """Source: API contract, 6.1; planning contract, section 1."""

    def ensure(self, name: str, teams: tuple[str, ...] = ()) -> DeploymentRow:
        """The deployment, made empty when there is none. The API calls this before it makes the deploy's task."""
        with self._db.write():
            found = self.find(name)
            if found is None:
                found = DeploymentRow(name=name, teams=teams, created_at=self._db.clock())
                self._insert(tables.deployments, database.values_of(found))
            return found

    def find(self, name: str) -> DeploymentRow | None:
        return self._one(DeploymentRow, sa.select(tables.deployments).where(tables.deployments.c.name == name))

    def get(self, name: str) -> DeploymentRow:
        """Raises NotFoundError (70000)."""
        found = self.find(name)
        if found is None:
            raise errors.NotFoundError(f"Deployment '{name}' doesn't exist", code=70000)
        return found

    def all(self) -> list[DeploymentRow]:
        """Sorted by name."""
        return self._many(DeploymentRow, sa.select(tables.deployments).order_by(tables.deployments.c.name))

    def update(self, name: str, **changes: Unpack[DeploymentChanges]) -> None:
        """Raises NotFoundError (70000)."""
        if changes and not self._change(tables.deployments, tables.deployments.c.name == name, changes):
            raise errors.NotFoundError(f"Deployment '{name}' doesn't exist", code=70000)

    def delete(self, name: str) -> None:
        """Forget it with its variable sets, link providers and uses. Raises ConflictError while it has instances or VMs."""
        self._delete(tables.deployments, tables.deployments.c.name == name)

    def set_uses(self, name: str, releases: Iterable[tuple[str, str]], stemcells: Iterable[tuple[str, str]]) -> None:
        """Replace the (name, version) pairs of releases and stemcells that the deployment holds on to."""
        with self._db.write():
            for table, pairs in ((tables.deployment_releases, releases), (tables.deployment_stemcells, stemcells)):
                self._delete(table, table.c.deployment == name)
                for pair in sorted(set(pairs)):
                    self._insert(table, {"deployment": name, "name": pair[0], "version": pair[1]})

    def releases(self, name: str | None = None) -> list[tuple[str, str, str]]:
        """(deployment, release, version), sorted; of one deployment or of all."""
        return self._uses(tables.deployment_releases, name)

    def stemcells(self, name: str | None = None) -> list[tuple[str, str, str]]:
        """(deployment, stemcell name, version), sorted; of one deployment or of all."""
        return self._uses(tables.deployment_stemcells, name)

    def _uses(self, table: sa.Table, deployment: str | None) -> list[tuple[str, str, str]]:
        query = sa.select(table).order_by(table.c.deployment, table.c.name, table.c.version)
        if deployment is not None:
            query = query.where(table.c.deployment == deployment)
        with self._db.read() as connection:
            return [(row.deployment, row.name, row.version) for row in connection.execute(query)]
