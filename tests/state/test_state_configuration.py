"""Configs, variables and their sets, links, numeric ids, DNS versions."""

from __future__ import annotations

import pytest
from state_world import Clock

from director import errors
from director.plan import model as plan_model
from director.state import Store
from director.state.configs import ConfigMoved
from director.state.instances import InstanceRow
from director.state.variables import VariableRow
from director.state.vms import VmRow


def test_no_configs_is_an_empty_list(store: Store) -> None:
    assert store.configs.select(type="deploy", limit=1) == []  # API contract, row 15


def test_same_content_makes_no_new_version(store: Store) -> None:
    first = store.configs.save("cloud", "", "a: 1")
    assert store.configs.save("cloud", "default", "a: 1").id == first.id  # row 16
    second = store.configs.save("cloud", "default", "a: 2")
    assert second.id > first.id
    assert store.configs.save("cloud", "default", "a: 1").id > second.id, "back to older content is a new version"


def test_update_of_what_moved_on_is_refused(store: Store) -> None:
    made = store.configs.save("cloud", "default", "a: 1", expected_latest_id="0")
    with pytest.raises(ConfigMoved) as caught:
        store.configs.save("cloud", "default", "a: 2", expected_latest_id="0")  # row 18
    assert (caught.value.latest_id, caught.value.expected_latest_id) == (made.id, "0")


def test_order_limit_and_current(store: Store) -> None:
    for name in ("b", "default", "a"):
        for content in ("1", "2", "3"):
            store.configs.save("runtime", name, content)
    store.configs.save("cloud", "z", "1")
    assert [(item.type, item.name) for item in store.configs.select()] == [
        ("cloud", "z"), ("runtime", "default"), ("runtime", "a"), ("runtime", "b")]
    two = store.configs.select(type="runtime", name="a", limit=2)
    assert [(item.content, item.current) for item in two] == [("3", True), ("2", False)]
    assert len(store.configs.select(type="runtime", limit=None)) == 9


def test_delete_hides_all_versions_by_name_and_one_by_id(store: Store) -> None:
    first, second = store.configs.save("cloud", "default", "1"), store.configs.save("cloud", "default", "2")
    assert store.configs.delete_version(second.id)
    assert not store.configs.delete_version(second.id)
    latest = store.configs.latest("cloud")
    assert latest is not None
    assert (latest.id, latest.current) == (first.id, True)
    assert store.configs.delete("cloud", "default") == 1
    assert store.configs.delete("cloud", "default") == 0  # row 19
    with pytest.raises(errors.NotFoundError, match=f"Config {first.id} not found"):
        store.configs.get(first.id)
    assert store.configs.with_ids([first.id, second.id])[second.id].content == "2", "deployments hold on to what they used"  # row 21
    assert store.configs.save("cloud", "default", "2").id > second.id, "ids are never given twice"


def test_variable_versions_and_pins(store: Store) -> None:
    store.deployments.ensure("d")
    for version in ("v1", "v2"):
        store.variables.add(VariableRow(version, "/c/d/a", "password", b"sealed"))
    assert [row.id for row in store.variables.versions("/c/d/a")] == ["v2", "v1"]
    assert store.variables.latest_of(["/c/d/a", "/none"])["/c/d/a"].id == "v2"
    chosen = store.variables.begin_set("d")
    store.variables.pin(chosen.id, {"/c/d/a": "v1"})
    store.variables.pin(chosen.id, {"/c/d/a": "v2"})
    assert store.variables.pins(chosen.id) == {"/c/d/a": "v1"}, "a pinned name keeps its version"
    store.variables.repin(chosen.id, {"/c/d/a": "v2"})
    assert store.variables.pins(chosen.id) == {"/c/d/a": "v2"}
    assert store.variables.deployments_with("/c/d/a") == []
    store.variables.mark_deployed(chosen.id)
    assert store.variables.deployments_with("/c/d/a") == [("d", "v2")]
    other = store.variables.begin_set("d")
    deployed = store.variables.last_deployed_set("d")
    assert deployed is not None
    assert deployed.id == chosen.id
    assert store.variables.forget_sets("d", keep=[chosen.id]) == 1
    assert [item.id for item in store.variables.sets("d")] == [chosen.id]
    assert store.variables.begin_set("d").id > other.id


def test_versions_stay_while_they_are_newest_pinned_or_a_signer(store: Store) -> None:
    store.deployments.ensure("d")
    for number, name, signed_by in ((1, "/ca", ""), (2, "/leaf", "v1"), (3, "/ca", ""), (4, "/ca", ""), (5, "/pw", ""), (6, "/pw", ""),
                                    (7, "/pw", "")):
        store.variables.add(VariableRow(f"v{number}", name, "certificate", b"sealed", signed_by=signed_by))
    pinned = store.variables.begin_set("d")
    store.variables.pin(pinned.id, {"/pw": "v5"})
    assert [(row.deployment, row.name, row.variable_id) for row in store.variables.pinned(["/pw", "/ca"])] == [("d", "/pw", "v5")]
    assert store.variables.forget_unused() == 2
    assert [row.id for row in store.variables.all()] == ["v1", "v4", "v2", "v5", "v7"]
    store.variables.forget_sets("d", keep=[])
    assert store.variables.forget_unused() == 1
    assert store.variables.all_pinned() == []


def test_repr_of_a_variable_tells_no_content(store: Store) -> None:
    assert "sealed-bytes" not in repr(store.variables.add(VariableRow("v", "/a", "password", b"sealed-bytes")))


def test_only_shared_links_are_seen_by_others(store: Store) -> None:
    for name in ("d", "e"):
        store.deployments.ensure(name)
        store.links.replace(name, [
            plan_model.Provider("web", "web", "http", "http", "http", shared=True, content={"port": 80}),
            plan_model.Provider("web", "web", "db", "db", "mysql", shared=False, content={})])
    assert [(item.deployment, item.name) for item in store.links.shared(excluding="d")] == [("e", "http")]
    store.links.replace("e", [])
    assert store.links.shared(excluding="d") == ()
    assert [item.name for item in store.links.of("d")] == ["http", "db"]


def test_numbers_are_small_stable_and_per_kind(store: Store) -> None:
    given = store.ids.assign([("az", "z1"), ("az", "z2"), ("group", "web")])
    assert given == {("az", "z1"): 1, ("az", "z2"): 2, ("group", "web"): 1}
    assert store.ids.assign([("az", "z3"), ("az", "z1"), ("az", "z3")]) == {("az", "z3"): 3, ("az", "z1"): 1}
    assert store.ids.all().azs == {"z1": 1, "z2": 2, "z3": 3}


def test_dns_versions_only_grow_and_are_seen_when_published(store: Store, clock: Clock) -> None:
    first = store.dns.begin("digest-1")
    assert store.dns.latest() is None
    store.dns.publish(first.version, "blob-1", "sha256:aa")
    store.dns.delete(first.version)
    assert store.dns.begin("digest-2").version > first.version, "also over deleted ones"
    clock.now += 7200
    numbers = [store.dns.begin("x").version for _ in range(12)]
    assert [row.version for row in store.dns.expired(keep=10)] == [first.version + 1], "young ones stay, however many"
    clock.now += 7200
    assert [row.version for row in store.dns.expired(keep=11)] == [numbers[0], first.version + 1]


def test_machines_that_are_behind(store: Store) -> None:
    store.deployments.ensure("d")
    for index in range(3):
        store.instances.add(InstanceRow(f"i{index}", "d", "web", index))
    for index in range(2):
        store.vms.add(VmRow(f"vm{index}", f"t{index}", "d", "a", instance_id=f"i{index}", active=True))
    store.dns.acknowledge("i0", 5)
    store.dns.acknowledge("i0", 4)
    assert store.dns.behind(5) == ["i1"], "an instance without machine waits for nothing; a late answer takes nothing back"
    store.dns.forget_acknowledgement("i0")
    assert store.dns.behind(1) == ["i0", "i1"]
