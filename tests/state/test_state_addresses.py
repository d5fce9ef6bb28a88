"""An address is reserved at most once over all deployments and orphaned VMs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from director import errors
from director.state import Store
from director.state.addresses import AddressRow
from director.state.instances import InstanceRow

ONE, TWO = "11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000"


def people(store: Store) -> Store:
    for deployment, instance in (("d", ONE), ("e", TWO)):
        store.deployments.ensure(deployment)
        store.instances.add(InstanceRow(instance, deployment, "web", 0))
    return store


def test_error_names_every_taken_address_and_its_holder(store: Store) -> None:
    people(store)
    store.addresses.reserve([AddressRow(f"10.0.0.{n}", "a", "dynamic", "e", TWO) for n in (1, 2)])
    with pytest.raises(errors.ConflictError) as caught:
        store.addresses.reserve([AddressRow(f"10.0.0.{n}", "a", "static", "d", ONE) for n in (1, 2, 3)])
    assert caught.value.code == 130008
    assert caught.value.message.splitlines() == [
        f"Failed to reserve IP '10.0.0.{n}' for instance 'web/{ONE} (0)': already reserved by instance 'web/{TWO}' from deployment 'e'"
        for n in (1, 2)]
    assert store.addresses.of("d") == [], "all or none"


def test_reserving_again_is_no_error_and_may_move_the_network(store: Store) -> None:
    people(store)
    for network in ("a", "b"):
        store.addresses.reserve([AddressRow("10.0.0.1", network, "dynamic", "d", ONE)])
    assert [(row.ip, row.network) for row in store.addresses.of_instance(ONE)] == [("10.0.0.1", "b")]


def test_what_clouds_choose_is_noted_and_reserves_nothing(store: Store) -> None:
    people(store)
    for _ in range(2):
        store.addresses.reserve([AddressRow("10.0.0.1", "a", "cloud", "d", ONE)])
    store.addresses.reserve([AddressRow("10.0.0.1", "b", "cloud", "e", TWO), AddressRow("10.0.0.1", "c", "static", "e", TWO)])
    assert len(store.addresses.of("d")) == 1
    assert [item.network for item in store.addresses.taken("d")] == ["c"]


def test_others_addresses_are_not_released(store: Store) -> None:
    people(store)
    store.addresses.reserve([AddressRow("10.0.0.1", "a", "dynamic", "e", TWO)])
    assert store.addresses.release(ONE, ["10.0.0.1"]) == 0
    assert store.addresses.release(TWO, ["10.0.0.1"]) == 1


def test_compiling_machines_hold_theirs_by_purpose(store: Store) -> None:
    people(store)
    store.addresses.reserve([AddressRow("10.0.0.9", "a", "dynamic", "d", purpose="compilation")])
    with pytest.raises(errors.ConflictError, match="already reserved by compilation from deployment 'd'"):
        store.addresses.reserve([AddressRow("10.0.0.9", "a", "dynamic", "d", ONE)])
    assert [item.holder for item in store.addresses.taken("d")] == ["compilation from deployment 'd'"]
    assert store.addresses.release_purpose("d", "compilation") == 1


step = strategies.tuples(strategies.booleans(), strategies.sampled_from([("d", ONE), ("e", TWO)]), strategies.integers(1, 4))


@settings(max_examples=30, deadline=None)
@given(strategies.lists(step, max_size=12))
def test_never_two_holders(empty_database: Path, steps: list[tuple[bool, tuple[str, str], int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(shutil.copy(empty_database, folder)) as store:
        people(store)
        holder: dict[str, str] = {}
        for take, (deployment, instance), number in steps:
            ip = f"10.0.0.{number}"
            if not take:
                store.addresses.release(instance, [ip])
                holder = {key: value for key, value in holder.items() if (key, value) != (ip, instance)}
            elif holder.setdefault(ip, instance) == instance:
                store.addresses.reserve([AddressRow(ip, "a", "static", deployment, instance)])
            else:
                with pytest.raises(errors.ConflictError):
                    store.addresses.reserve([AddressRow(ip, "a", "static", deployment, instance)])
        rows = store.addresses.of("d") + store.addresses.of("e")
        assert {row.ip: row.instance_id for row in rows} == holder
        assert len(rows) == len(holder)
