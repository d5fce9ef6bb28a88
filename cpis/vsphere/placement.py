"""Where machines and disks go: clusters with memory left, datastores with space left.

Among those that fit, the choice is weighted by what is free and drawn from the token: the same request goes to the same place, and many at
once spread. Source: CPI contract, sections 2 (`create_disk`) and 10.4 (power-on).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pyVmomi import vim

from cpis.contract import Invalid, NoCapacity, Quota
from cpis.vsphere.config import Pattern, Place
from cpis.vsphere.inventory import Cluster, Datastore, Inventory, Start, collect
from cpis.vsphere.session import Session

_HEADROOM_MIB = 1024
_MIB = 1024 * 1024
Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Spot:
    """A place for a machine: cluster, resource pool, datastore."""

    place: Place
    cluster: Cluster
    pool: Any
    datastore: Datastore


class Placement:
    """Looks at what is free, in one request for all candidates."""

    def __init__(self, session: Session, inventory: Inventory) -> None:
        self._session = session
        self._inventory = inventory

    def spots(
        self, token: str, places: Sequence[Place], pattern: Pattern, *, ram_mib: int, disk_mib: int, must_reach: Sequence[Datastore] = (),
        compatible: Iterable[str] | None = None,
    ) -> list[Spot]:
        """Where the machine may go, the best first, one for each cluster.

        `must_reach` are datastores of its persistent disks; `compatible` the ids of datastores that a storage policy allows. Raises Invalid
        when a name is wrong or no datastore is right, NoCapacity when no cluster has the memory, Quota when no datastore has the space.
        """
        clusters = [(place, self._inventory.cluster(place.cluster)) for place in places]
        reachable = [(place, cluster) for place, cluster in clusters if all(disk.ref in cluster.datastores for disk in must_reach)]
        if not reachable:
            disks = ", ".join(disk.name for disk in must_reach)
            raise Invalid(f"the machine's disks are on {disks}, which no cluster reaches of {', '.join(c.name for _, c in clusters)}")
        candidates = {cluster.name: self._candidates(cluster, pattern, compatible) for _, cluster in reachable}
        if not any(candidates.values()):
            there = ", ".join(store.name for store in self._inventory.now().datastores)
            self._inventory.forget()  # the next call looks anew
            raise Invalid(
                f"no usable datastore of {', '.join(candidates)} matches {pattern}" + (" and the storage policy" if compatible else ""),
                suggestion=f"there are: {there or 'none'}")
        free_mib, free_ram = self._free(cluster for _, cluster in reachable)
        result = []
        short: list[str] = []
        for place, cluster in reachable:
            ram = free_ram.get(cluster.root_pool)
            if ram is not None and ram < ram_mib:
                short.append(f"{cluster.name} has {ram} MiB of memory left")
                continue
            fitting = {store: mib for store in candidates[cluster.name] if (mib := free_mib.get(store.ref, 0)) >= disk_mib + _HEADROOM_MIB}
            if fitting:
                result.append((Spot(place, cluster, self._pool(place, cluster), _draw(token + cluster.name, fitting)), ram or 1))
        if result:
            return [spot for spot, _ in _shuffled(token, result)]
        if short:
            raise NoCapacity(f"no cluster has {ram_mib} MiB of memory left: {'; '.join(short)}", limit=str(ram_mib))
        raise _no_space(disk_mib, {store.name: free_mib.get(store.ref, 0) for stores in candidates.values() for store in stores})

    def store(self, token: str, pattern: Pattern, *, disk_mib: int, reached_by: Cluster | None = None) -> Datastore:
        """A datastore for a disk, one that the cluster reaches. Raises Invalid, Quota."""
        clusters = [reached_by] if reached_by else self._inventory.now().clusters
        candidates = list({store.ref: store for cluster in clusters for store in self._candidates(cluster, pattern, None)}.values())
        if not candidates:
            where = f" of {reached_by.name}" if reached_by else ""
            raise Invalid(
                f"no usable datastore{where} matches {pattern}",
                suggestion=f"there are: {', '.join(store.name for store in self._inventory.now().datastores)}")
        free, _ = self._free(clusters)
        fitting = {store: mib for store in candidates if (mib := free.get(store.ref, 0)) >= disk_mib + _HEADROOM_MIB}
        if not fitting:
            raise _no_space(disk_mib, {store.name: free.get(store.ref, 0) for store in candidates})
        return _draw(token, fitting)

    def _candidates(self, cluster: Cluster, pattern: Pattern, compatible: Iterable[str] | None) -> list[Datastore]:
        allowed = None if compatible is None else set(compatible)
        return [
            store for store in self._inventory.now().datastores
            if store.usable and store.ref in cluster.datastores and pattern.takes(store.name, store.pod)
            and (allowed is None or store.ref._moId in allowed)
        ]

    def _free(self, clusters: Iterable[Cluster]) -> tuple[dict[Any, int], dict[Any, int]]:
        """Free MiB by datastore, and free MiB of memory by root resource pool as far as vCenter tells it."""
        known = list(clusters)
        refs = dict.fromkeys([*(store for cluster in known for store in cluster.datastores), *(cluster.root_pool for cluster in known)])
        facts = collect(
            self._session, [Start(ref) for ref in refs],
            {vim.Datastore: ["summary.freeSpace"], vim.ResourcePool: ["runtime.memory.maxUsage", "runtime.memory.overallUsage"]})
        space = {ref: int(found["summary.freeSpace"]) // _MIB for ref, found in facts.items() if "summary.freeSpace" in found}
        memory = {
            ref: (int(found["runtime.memory.maxUsage"]) - int(found.get("runtime.memory.overallUsage") or 0)) // _MIB
            for ref, found in facts.items() if found.get("runtime.memory.maxUsage")
        }
        return space, memory

    def _pool(self, place: Place, cluster: Cluster) -> Any:
        if not place.pool:
            return cluster.root_pool
        found = [pool for path, pool in cluster.pools.items() if place.pool.strip("/") in (path, path.rpartition("/")[2])]
        if len(found) != 1:
            raise Invalid(
                f"{'no' if not found else 'more than one'} resource pool of {cluster.name} is called '{place.pool}'",
                suggestion=f"there are: {', '.join(sorted(cluster.pools)) or 'none'}")
        return found[0]


def _no_space(disk_mib: int, free: dict[str, int]) -> Quota:
    most = max(free, key=lambda name: free[name])
    return Quota(
        f"no datastore has {disk_mib + _HEADROOM_MIB} MiB left; {most} has most, {free[most]} MiB",
        limit=str(free[most]), used=str(disk_mib), suggestion="Make room, or let more datastores match `datastore_pattern`.")


def _draw(seed: str, weights: dict[Item, int]) -> Item:
    return random.Random(seed).choices(list(weights), [max(1, weight) for weight in weights.values()])[0]


def _shuffled(seed: str, weighted: Sequence[tuple[Item, int]]) -> list[tuple[Item, int]]:
    """All of them, the heavier probably sooner."""
    draw = random.Random(seed)
    return sorted(weighted, key=lambda pair: -(draw.random() ** (1.0 / max(1, pair[1]))))
