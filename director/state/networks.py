"""Networks that the director made in clouds, their subnets, and who uses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_networks, _subnets, _users = tables.networks, tables.subnets, tables.deployment_networks


@dataclasses.dataclass(frozen=True)
class NetworkRow:
    """`orphaned_at` is set when no deployment uses it any more."""

    name: str
    type: str = "manual"
    created_at: float = 0.0
    orphaned_at: float | None = None


@dataclasses.dataclass(frozen=True)
class SubnetRow:
    """`wanted` is what the cloud config asked for, as written; the others are what the cloud made of it: `cloud_properties` only those
    that the cloud added or changed."""

    network: str
    name: str
    cid: str
    cpi: str
    wanted: dict[str, Any]
    range: str
    gateway: str
    reserved: tuple[str, ...]
    cloud_properties: dict[str, Any]


class Networks(database.Repository):
    """Source: planning contract, section 21; API contract, 6.10."""

    def ensure(self, name: str, type: str = "manual") -> NetworkRow:
        """The network, made when there is none of that name."""
        with self._db.write():
            found = self.find(name)
            if found is None:
                self._insert(_networks, {"name": name, "type": type, "created_at": self._db.clock(), "orphaned_at": None})
        return found or self.get(name)

    def find(self, name: str) -> NetworkRow | None:
        return self._one(NetworkRow, sa.select(_networks).where(_networks.c.name == name))

    def get(self, name: str) -> NetworkRow:
        """Raises NotFoundError (16012)."""
        found = self.find(name)
        if found is None:
            raise errors.NotFoundError(f"Network '{name}' doesn't exist", code=16012)
        return found

    def subnets(self, name: str | None = None) -> list[SubnetRow]:
        """By name: of one network, or of all."""
        chosen = sa.select(_subnets).order_by(_subnets.c.network, _subnets.c.name)
        return self._many(SubnetRow, chosen if name is None else chosen.where(_subnets.c.network == name))

    def add_subnet(self, subnet: SubnetRow) -> None:
        """Record what was just made. Raises ConflictError when it is recorded already."""
        self._insert(_subnets, database.values_of(subnet))

    def delete_subnet(self, network: str, name: str) -> None:
        self._delete(_subnets, (_subnets.c.network == network) & (_subnets.c.name == name))

    def use(self, deployment: str, names: Iterable[str]) -> None:
        """The deployment uses these too; none of them is orphaned any more."""
        with self._db.write():
            for name in sorted(set(names) - set(self.of(deployment))):
                self._insert(_users, {"deployment": deployment, "network": name})
                self._change(_networks, _networks.c.name == name, {"orphaned_at": None})

    def of(self, deployment: str) -> list[str]:
        """What the deployment uses, by name."""
        with self._db.read() as connection:
            query = sa.select(_users.c.network).where(_users.c.deployment == deployment).order_by(_users.c.network)
            return [str(row[0]) for row in connection.execute(query)]

    def keep_only(self, deployment: str, names: Iterable[str]) -> None:
        """The deployment uses only these from now on."""
        self._delete(_users, (_users.c.deployment == deployment) & _users.c.network.not_in(sorted(set(names))))

    def orphan_unused(self) -> list[str]:
        """Mark those that no deployment uses; answers the names of the new ones."""
        unused = _networks.c.orphaned_at.is_(None) & _networks.c.name.not_in(sa.select(_users.c.network))
        with self._db.write():
            names = [row.name for row in self._many(NetworkRow, sa.select(_networks).where(unused).order_by(_networks.c.name))]
            self._change(_networks, _networks.c.name.in_(names), {"orphaned_at": self._db.clock()})
        return names

    def orphans(self, *, older_than_seconds: float = 0.0) -> list[NetworkRow]:
        """Oldest first."""
        old = _networks.c.orphaned_at <= self._db.clock() - older_than_seconds
        return self._many(NetworkRow, sa.select(_networks).where(old).order_by(_networks.c.orphaned_at, _networks.c.name))

    def delete(self, name: str) -> None:
        """Forget a network that is gone."""
        self._delete(_networks, _networks.c.name == name)
