"""The second machine of a create-swap-delete that did not come to be used: taken if it is as wanted. Planning contract, section 15."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from worlds import again, cloud, group, m, planned, request, subnet

from director.plan.changes import orphans_vm, record_vm
from director.plan.model import Action, Change, ObservedSpare, ObservedVm, Plan, Request, Reservation

SWAP = m.UpdatePolicy(vm_strategy="create-swap-delete")
CLOUD = cloud(m.NetworkDefinition("default", subnets=(subnet("10.0.0.0/28", "z1"),)), azs=("z1",), vm_types=(
    m.NamedProperties("small", {"size": 1}), m.NamedProperties("large", {"size": 2}), m.NamedProperties("secret", {"key": "((key))"})))


def web(vm_type: str = "small", **more: Any) -> m.InstanceGroup:
    return group("web", 1, azs=("z1",), vm_type=vm_type, update=more.pop("update", SWAP), **more)


def first(*groups: m.InstanceGroup) -> Request:
    return request(*groups, cloud_config=CLOUD)


def changed(before: Request, *groups: m.InstanceGroup) -> Request:
    return again(before, manifest=dataclasses.replace(before.manifest, instance_groups=groups))


def with_spare(made: Request, plan: Plan) -> Request:
    """The deploy of that plan failed after its new machines were made."""
    change = one(plan)
    spare = ObservedSpare("spare-1", json.loads(json.dumps(record_vm(change))), change.reservations)
    return dataclasses.replace(made, observed=tuple(dataclasses.replace(item, spare=spare) for item in made.observed))


def one(plan: Plan) -> Change:
    return next(change for change in plan.changes if change.group == "web")


def digests(value: str) -> Any:
    return lambda tree: json.dumps(tree, sort_keys=True).replace("((key))", value)


def test_it_is_taken_with_its_addresses_when_a_new_one_would_be_the_same() -> None:
    made = changed(first(web()), web("large"))
    plan = planned(made)
    assert (one(plan).action, one(plan).hot_swap, one(plan).spare) == (Action.RECREATE, True, "")
    second = planned(with_spare(made, plan))
    assert one(second).spare == "spare-1"
    assert one(second).reservations == one(plan).reservations
    assert one(second).released == one(plan).released
    assert second.warnings == ()


def test_another_wish_makes_another_machine_on_other_addresses() -> None:
    before = first(web())
    made = changed(before, web("large"))
    spare = with_spare(made, planned(made))
    other = dataclasses.replace(
        spare, manifest=dataclasses.replace(spare.manifest, instance_groups=(web("large", env={"persistent_disk_fs": "xfs"}),)))
    plan = planned(other)
    assert (one(plan).hot_swap, one(plan).spare) == (True, "")
    held = {item.ip for item in one(planned(made)).reservations}
    assert not {item.ip for item in one(plan).reservations} & held, "those of the spare machine stay with it until it is gone"
    assert ["'spare-1'" in warning for warning in plan.warnings] == [True]


def test_nothing_to_swap_leaves_it_to_the_clean_up() -> None:
    before = first(web())
    made = changed(before, web("large"))
    spare = with_spare(made, planned(made))
    back = dataclasses.replace(spare, manifest=before.manifest)
    plan = planned(back)
    assert plan.is_empty
    assert ["is not needed and goes" in warning for warning in plan.warnings] == [True]


def test_a_strategy_that_was_taken_back_does_not_take_it() -> None:
    made = changed(first(web()), web("large"))
    spare = with_spare(made, planned(made))
    plain = dataclasses.replace(
        spare, manifest=dataclasses.replace(spare.manifest, instance_groups=(web("large", update=m.UpdatePolicy()),)))
    plan = planned(plain)
    assert (one(plan).action, one(plan).hot_swap, one(plan).spare) == (Action.RECREATE, False, "")


def test_values_of_variables_count() -> None:
    made = changed(first(web()), web("secret"))
    plan = planned(made, resolved=digests("old"))
    spare = with_spare(made, plan)
    assert one(planned(spare, resolved=digests("old"))).spare == "spare-1"
    assert one(planned(spare, resolved=digests("new"))).spare == ""


def test_its_addresses_are_nobody_elses() -> None:
    made = changed(first(web()), web("large"))
    spare = with_spare(made, planned(made))
    more = dataclasses.replace(
        spare, manifest=dataclasses.replace(spare.manifest, instance_groups=(web("large"), group("other", 3, azs=("z1",)))))
    plan = planned(more)
    given = [item.ip for change in plan.changes for item in change.reservations]
    assert len(given) == len(set(given)) == 4


def test_whose_machines_are_orphaned_when_they_are_deleted() -> None:
    (seen,) = again(first(web())).observed
    assert orphans_vm(seen)
    assert not orphans_vm(again(first(web(update=m.UpdatePolicy()))).observed[0])
    assert not orphans_vm(dataclasses.replace(seen, vm=ObservedVm("vm", "unresponsive")))
    assert not orphans_vm(dataclasses.replace(seen, vm=None))
    assert not orphans_vm(dataclasses.replace(seen, reservations=(Reservation("default", "10.0.0.5", "static"),)))
