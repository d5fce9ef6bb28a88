"""Where machines and disks go: what fits, what is drawn, what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cpis.conformance.clouds.vsphere import VsphereStandIn
from cpis.contract import Invalid, NoCapacity, Quota, VmRequest
from cpis.vsphere import VsphereCpi
from cpis.vsphere.address import Address
from cpis.vsphere.config import Pattern, Place
from cpis.vsphere.inventory import Cluster, Datastore, Inventory, Snapshot
from cpis.vsphere.placement import Placement
from cpis.vsphere.session import Session
from tests.cpis.vsphere.tools import intercepted, passed, with_properties

pytestmark = pytest.mark.walk

STORES = tuple(Datastore(name, f"ref-{name}", None, name != "broken", pod) for name, pod in (
    ("ssd-1", ""), ("ssd-2", ""), ("pod-a", "pods"), ("broken", "")))
EVERYWHERE = tuple(store.ref for store in STORES)
CLUSTERS = (
    Cluster("c1", "c1", "cluster-1", "pool-1", EVERYWHERE, (), (), {"rp": "rp-ref", "outer/rp2": "rp2-ref"}),
    Cluster("c2", "c2", "cluster-2", "pool-2", ("ref-ssd-2",), (), (), {}))


class Scripted(Placement):
    """Free space and memory as the test says, MiB."""

    def __init__(self, space: dict[str, int], memory: dict[str, int]) -> None:
        inventory = Inventory(Session(Address("vcenter.invalid"), ("u", "p")), "dc")
        inventory._read_at = float("inf")
        inventory._snapshot = Snapshot("dc", "folder", CLUSTERS, STORES, ())
        super().__init__(inventory._session, inventory)
        self._space, self._memory = space, memory

    def _free(self, clusters: Any) -> tuple[dict[Any, int], dict[Any, int]]:
        return {f"ref-{name}": mib for name, mib in self._space.items()}, self._memory


ROOMY = {"ssd-1": 100_000, "ssd-2": 100_000, "pod-a": 100_000}
PLACES = (Place("c1"), Place("c2"))


def spots(placement: Placement, token: str = "vm-1", **changes: Any) -> list[Any]:
    asked = {"ram_mib": 1024, "disk_mib": 10_000, **changes}
    pattern = asked.pop("pattern", Pattern("^ssd"))
    return placement.spots(token, asked.pop("places", PLACES), pattern, **asked)


def test_the_same_request_goes_to_the_same_place_and_many_spread() -> None:
    placement = Scripted(ROOMY, {"pool-1": 8192, "pool-2": 8192})
    assert spots(placement) == spots(placement)
    first = [spots(placement, f"vm-{number}")[0] for number in range(60)]
    assert {spot.cluster.name for spot in first} == {"c1", "c2"}
    assert {spot.datastore.name for spot in first} == {"ssd-1", "ssd-2"}
    assert all(spot.datastore.ref in spot.cluster.datastores for spot in first)


def test_every_cluster_that_fits_is_tried() -> None:
    assert {spot.cluster.name for spot in spots(Scripted(ROOMY, {"pool-1": 8192, "pool-2": 8192}))} == {"c1", "c2"}


@pytest.mark.parametrize(("memory", "wanted"), [
    ({"pool-1": 512, "pool-2": 8192}, ["c2"]), ({"pool-1": 8192, "pool-2": 512}, ["c1"]), ({"pool-2": 512}, ["c1"])])
def test_memory_decides(memory: dict[str, int], wanted: list[str]) -> None:
    """A cluster that does not tell its memory is not left out for it."""
    assert [spot.cluster.name for spot in spots(Scripted(ROOMY, memory))] == wanted


def test_space_decides() -> None:
    placement = Scripted({"ssd-1": 5_000, "ssd-2": 100_000}, {})
    assert {spot.datastore.name for number in range(20) for spot in spots(placement, f"vm-{number}")} == {"ssd-2"}


def test_no_memory_anywhere() -> None:
    with pytest.raises(NoCapacity, match="c1 has 512 MiB of memory left; c2 has 256 MiB") as caught:
        spots(Scripted(ROOMY, {"pool-1": 512, "pool-2": 256}))
    assert caught.value.temporary


def test_no_space_anywhere() -> None:
    with pytest.raises(Quota, match="no datastore has 11024 MiB left; ssd-2 has most, 3000 MiB") as caught:
        spots(Scripted({"ssd-1": 2_000, "ssd-2": 3_000}, {}))
    assert (caught.value.limit, caught.value.used) == ("3000", "10000")


def test_a_datastore_in_maintenance_is_no_candidate() -> None:
    with pytest.raises(Invalid, match="no usable datastore"):
        spots(Scripted({**ROOMY, "broken": 100_000}, {}), pattern=Pattern("^broken"))


@pytest.mark.parametrize("pattern", [Pattern(pods="^pods"), Pattern(pod_names=("pods",)), Pattern("^none", "^pods")])
def test_datastore_clusters(pattern: Pattern) -> None:
    assert [spot.datastore.name for spot in spots(Scripted(ROOMY, {}), pattern=pattern)] == ["pod-a"]


def test_only_what_a_storage_policy_allows() -> None:
    class Ref(str):
        @property
        def _moId(self) -> str:
            return str(self)

    placement = Scripted(ROOMY, {})
    stores = tuple(dataclasses.replace(store, ref=Ref(store.ref)) for store in STORES)
    placement._inventory._snapshot = Snapshot("dc", "folder", CLUSTERS, stores, ())
    assert {spot.datastore.name for spot in spots(placement, compatible=["ref-ssd-1"])} == {"ssd-1"}
    with pytest.raises(Invalid, match="and the storage policy"):
        spots(placement, compatible=[""])


def test_a_machine_goes_where_its_disks_are_reached() -> None:
    """Row 31."""
    placement = Scripted(ROOMY, {})
    assert [spot.cluster.name for spot in spots(placement, must_reach=[STORES[0]])] == ["c1"]
    with pytest.raises(Invalid, match="disks are on ssd-1, which no cluster reaches of c2"):
        spots(placement, places=(Place("c2"),), must_reach=[STORES[0]])


@pytest.mark.parametrize(("name", "pool"), [("", "pool-1"), ("rp", "rp-ref"), ("rp2", "rp2-ref"), ("outer/rp2", "rp2-ref")])
def test_resource_pools_by_name_and_path(name: str, pool: str) -> None:
    assert spots(Scripted(ROOMY, {}), places=(Place("c1", name),))[0].pool == pool


def test_names_that_are_there_twice() -> None:
    """Row 30."""
    placement = Scripted(ROOMY, {})
    twins = tuple(dataclasses.replace(CLUSTERS[0], path=f"{folder}/c1") for folder in ("a", "b"))
    placement._inventory._snapshot = Snapshot("dc", "folder", twins, STORES, ())
    placement._inventory._read = lambda: placement._inventory._snapshot  # type: ignore[method-assign, return-value, assignment]
    with pytest.raises(Invalid, match="2 clusters are called 'c1': a/c1, b/c1"):
        spots(placement, places=(Place("c1"),))
    assert spots(placement, places=(Place("b/c1"),))[0].cluster.path == "b/c1"


# On the simulator


def test_a_datastore_cluster_of_a_vcenter(vcenter: VsphereStandIn, request_: VmRequest) -> None:
    cpi = VsphereCpi(vcenter.config)
    folder = cpi.session.content.searchIndex.FindByInventoryPath("DC0/datastore")
    store = next(store for store in cpi._inventory.now().datastores if store.name == "LocalDS_1")
    pod = folder.CreateStoragePod("fast")
    pod.MoveIntoFolder_Task([store.ref])
    try:
        cpi._inventory.forget()
        (found,) = [store for store in cpi._inventory.now().datastores if store.pod == "fast"]
        assert found.name == "LocalDS_1"
        with intercepted(cpi, "CloneVM_Task", passed) as clones:
            cpi.create_vm(with_properties(request_, datastores=[{"clusters": [{"fast": {}}]}]))
        assert clones[-1][2].location.datastore._moId == found.ref._moId
        # The simulator serves no files of datastores in a cluster, so that no disk can be made there.
        assert cpi._placement.store("disk-1", Pattern(pods="^fast$"), disk_mib=64).name == "LocalDS_1"
        cpi.delete_vm(request_.token)
    finally:
        folder.MoveIntoFolder_Task([store.ref])
        cpi.close()
