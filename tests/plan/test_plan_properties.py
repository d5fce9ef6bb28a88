"""What holds for every plan, whatever the manifest."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import again, applied, cloud, group, job, m, planned, ref, release, request, subnet

from director.errors import PlanError
from director.plan.model import Action, Plan, Request, TakenAddress
from director.plan.waves import canaries_of, parallel_of
from director.release.model import LinkSpec, PropertySpec

AZS = ("z1", "z2", "z3")
RELEASE = release(
    job("app", properties=(PropertySpec("port", 80, True),)),
    job("db", provides=(LinkSpec("db", "sql", ("port",)),), properties=(PropertySpec("port", 5432, True),)),
    job("client", consumes=(LinkSpec("db", "sql", optional=True),)))
CLOUD = cloud(
    m.NetworkDefinition(
        "default", subnets=(subnet("10.0.0.0/25", "z1", "z2"), subnet("10.0.1.0/25", "z3", static=("10.0.1.20-10.0.1.60",)))),
    m.NetworkDefinition("extra", subnets=(subnet("10.2.0.0/24", *AZS),)),
    m.NetworkDefinition("bare", subnets=(subnet("10.3.0.0/24"),)),
    azs=AZS, vm_types=(m.NamedProperties("small", {"size": 1}), m.NamedProperties("large", {"size": 2})))
FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def groups(draw: st.DrawFn) -> tuple[m.InstanceGroup, ...]:
    """Up to four groups; at most one provides the link, so that it resolves."""
    made = []
    for position, name in enumerate(draw(st.lists(st.sampled_from(("web", "db", "job", "cron")), unique=True, max_size=4))):
        azs = draw(st.sampled_from(((), ("z1",), ("z2", "z1"), AZS, ("z3",))))
        networks: tuple[m.GroupNetwork, ...] = (m.GroupNetwork("default" if azs else "bare", default=("dns", "gateway")),)
        if azs and draw(st.booleans()):
            networks += (m.GroupNetwork("extra"),)
        jobs: tuple[m.JobRef, ...] = (ref("app", properties={"port": draw(st.integers(1, 3))}),)
        jobs += (ref("db"),) if position == 0 else (ref("client"),)
        made.append(group(
            name, draw(st.integers(0, 7)), azs=azs, networks=networks, jobs=jobs, vm_type=draw(st.sampled_from(("small", "large"))),
            # By name, so that it never changes: instances whose disk goes are balanced anew by the deploy after.
            disks=(m.DiskRef("", 100),) if name in ("db", "job") else (),
            update=m.UpdatePolicy(
                canaries=draw(st.sampled_from(("0", "1", "3", "50%"))), max_in_flight=draw(st.sampled_from(("1", "2", "40%", "100%"))),
                serial=draw(st.booleans()), vm_strategy=draw(st.sampled_from(("delete-create", "create-swap-delete"))))))
    return tuple(made)


def _first(made: tuple[m.InstanceGroup, ...], **more: Any) -> Request:
    return request(*made, cloud_config=CLOUD, releases=(RELEASE,), **more)


def _next(before: Request, made: tuple[m.InstanceGroup, ...]) -> Request:
    return again(before, manifest=dataclasses.replace(before.manifest, instance_groups=made))


@given(groups())
@FAST
def test_a_plan_after_a_deploy_is_empty(made: tuple[m.InstanceGroup, ...]) -> None:
    plan = planned(again(_first(made)))
    assert plan.is_empty
    assert not plan.runs


@given(groups(), groups())
@FAST
def test_a_plan_after_a_change_is_empty(before: tuple[m.InstanceGroup, ...], after: tuple[m.InstanceGroup, ...]) -> None:
    second = _next(_first(before), after)
    observed, ids = applied(second)
    plan = planned(dataclasses.replace(second, observed=observed, ids=ids))
    assert plan.is_empty, [(change.label, change.reasons) for change in plan.changes if change.reasons]


@given(groups(), st.data())
@FAST
def test_groups_that_are_written_as_before_are_not_touched(made: tuple[m.InstanceGroup, ...], data: st.DataObject) -> None:
    """The link has no properties that change, so a change of one group reaches the others only through instances of the provider."""
    if len(made) < 2:
        return
    changed = data.draw(st.integers(1, len(made) - 1))
    after = tuple(
        dataclasses.replace(item, instances=item.instances + 1, vm_type="other") if position == changed else item
        for position, item in enumerate(made))
    plan = planned(_next(_first(made), after))
    assert {change.group for change in plan.changes if change.action is not Action.KEEP} <= {made[changed].name}


@given(groups(), groups())
@FAST
def test_no_address_is_given_twice(before: tuple[m.InstanceGroup, ...], after: tuple[m.InstanceGroup, ...]) -> None:
    plan = planned(_next(_first(before), after))
    given_now = [item.ip for change in plan.changes if change.spec for item in change.reservations]
    assert len(given_now) == len(set(given_now))
    # What is released stays with its machine until that is gone: nobody else may have it in the same deploy.
    for change in plan.changes:
        others = {item.ip for other in plan.changes if other.id != change.id and other.spec for item in other.reservations}
        assert not others & {item.ip for item in change.released}


@given(groups(), groups())
@FAST
def test_waves_hold_each_changed_instance_once_and_obey_max_in_flight(
    before: tuple[m.InstanceGroup, ...], after: tuple[m.InstanceGroup, ...],
) -> None:
    plan = planned(_next(_first(before), after))
    policies = {item.name: item.update for item in after}
    seen: list[str] = []
    for run in plan.runs:
        assert len(run) == 1 or not any(item.serial for item in run)
        for item in run:
            seen += [*item.deletions, *(one for wave in item.waves for one in wave.instances)]
            sizes: dict[str, int] = {}
            for wave in item.waves:
                sizes[wave.az] = sizes.get(wave.az, 0) + len(wave.instances)
            for position, wave in enumerate(item.waves):
                assert wave.parallel == parallel_of(policies[item.name].max_in_flight, sizes[wave.az])
                assert not wave.canary or position == 0
                assert not wave.canary or len(wave.instances) == canaries_of(policies[item.name].canaries, sizes[wave.az])
    removed = {change.id for change in plan.changes if change.group in plan.removed_groups}
    assert sorted(seen) == sorted(change.id for change in plan.changes if change.action is not Action.KEEP and change.id not in removed)


@given(groups(), groups(), st.randoms(use_true_random=False))
@FAST
def test_the_order_of_unrelated_parts_does_not_count(
    before: tuple[m.InstanceGroup, ...], after: tuple[m.InstanceGroup, ...], dice: random.Random,
) -> None:
    second = _next(_first(before), after)
    shuffled = dataclasses.replace(
        second, observed=_shuffled(second.observed, dice), releases=_shuffled(second.releases, dice),
        cloud=dataclasses.replace(
            second.cloud, networks=_shuffled(second.cloud.networks, dice), vm_types=_shuffled(second.cloud.vm_types, dice),
            azs=_shuffled(second.cloud.azs, dice)))
    assert _recorded(planned(second)) == _recorded(planned(shuffled))


@given(groups(), st.randoms(use_true_random=False))
@FAST
def test_reordered_jobs_networks_and_groups_change_nothing(made: tuple[m.InstanceGroup, ...], dice: random.Random) -> None:
    after = tuple(
        dataclasses.replace(item, jobs=_shuffled(item.jobs, dice), networks=_shuffled(item.networks, dice), azs=_shuffled(item.azs, dice))
        for item in _shuffled(made, dice))
    assert planned(_next(_first(made), after)).is_empty


@given(groups(), st.integers(0, 40))
@FAST
def test_taken_addresses_are_left_alone(made: tuple[m.InstanceGroup, ...], first: int) -> None:
    taken = tuple(TakenAddress("other", f"10.0.0.{first + offset}", "somebody") for offset in range(10))
    try:
        plan = planned(_first(made, taken=taken))
    except PlanError:
        return
    assert not {item.ip for change in plan.changes for item in change.reservations} & {item.ip for item in taken}


def _shuffled(items: tuple[Any, ...], dice: random.Random) -> tuple[Any, ...]:
    return tuple(dice.sample(items, len(items)))


def _recorded(plan: Plan) -> dict[str, tuple[Action, str, tuple[str, ...]]]:
    """What happens to what is recorded; new uuids are drawn in order and may differ."""
    return {
        change.id: (change.action, change.az, tuple(reason.kind for reason in change.reasons if reason.kind != "configuration"))
        for change in plan.changes if change.observed is not None}
