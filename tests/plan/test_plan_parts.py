"""The planner's smaller parts: watch times, spreading, properties, settings, names, compilations."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import STEMCELL, cloud, designed, group, job, m, ref, release, request, subnet

from director.diagnostics import Diagnostics, Where
from director.errors import PlanError
from director.manifest.model import Features, WatchTime
from director.plan.addresses import Intervals, Taken, interval_of, number_of, text_of
from director.plan.bind import bind
from director.plan.names import InvalidLabel, canonical, encode_group_query, encode_short_query
from director.plan.settings import group_env, vm_env, vm_metadata
from director.plan.static_spread import spread
from director.plan.watch import watch_schedule
from director.plan.waves import canaries_of, parallel_of, size_of
from director.release.model import PropertySpec


@pytest.mark.parametrize(("minimum", "maximum", "sleeps"), [
    (5000, 5000, [5.0]), (1000, 30000, [1.0] + [3.2222] * 9), (1000, 5000, [1.0] * 5), (0, 500, [0.0]),
    (30000, 1200000, [30.0] + [15.0] * 78)])
def test_watch_schedules(minimum: int, maximum: int, sleeps: list[float]) -> None:
    assert [round(value, 4) for value in watch_schedule(WatchTime(minimum, maximum))] == sleeps


@pytest.mark.parametrize(("text", "count", "size"), [
    ("10%", 5, 0), ("50%", 5, 2), ("200%", 3, 3), ("7", 3, 7), ("+3", 9, 3), ("50%\n", 4, 2)])
def test_sizes(text: str, count: int, size: int) -> None:
    assert size_of(text, count) == size


def test_sizes_at_their_edges() -> None:
    assert (parallel_of("10%", 2), parallel_of("-1", 5), canaries_of("-1", 5), canaries_of("9", 5)) == (1, 1, 0, 5)
    with pytest.raises(PlanError, match="cannot be calculated"):
        size_of("abc", 3)


def test_addresses_of_one_network_are_spread_to_the_emptier_az() -> None:
    assert spread([[("a", "b"), ("a",), ("a", "b"), ("b",)]], {"a": 1}) == [["b", "a", "a", "b"]]


def test_networks_get_equal_counts_where_that_is_possible() -> None:
    first, second = spread([[("a", "b")] * 3, [("b",), ("a", "b"), ("b",)]], {}) or ([], [])
    assert sorted(first) == sorted(second)
    assert spread([[("a",), ("a",)], [("a",), ("b",)]], {}) is None
    many = spread([[("a", "b", "c")] * 60, [("a", "b")] * 40 + [("c",)] * 20], {})
    assert many is not None
    assert {az: many[0].count(az) for az in "abc"} == {"a": 20, "b": 20, "c": 20}


def test_intervals() -> None:
    held = Intervals([(5, 9), (1, 2), (3, 3), (20, 30)])
    assert [held.end_of(number) for number in (0, 1, 3, 4, 7, 19, 30, 31)] == [None, 3, 3, None, 9, None, 30, None]
    assert held.end_of(17, 4) == 30
    assert list(Intervals([(1, 2), (7, 7)]).numbers()) == [1, 2, 7]


def test_texts_of_addresses() -> None:
    assert [text_of(number) for number in interval_of("10.0.0.8 - 10.0.0.9")] == ["10.0.0.8", "10.0.0.9"]
    assert [text_of(number) for number in interval_of("10.0.0.0/30")] == ["10.0.0.0", "10.0.0.3"]
    assert text_of(number_of("fd00::1")) == "fd00::1"
    assert number_of("::1") != number_of("0.0.0.1")


def test_the_holder_of_an_address_is_told_to_others_only() -> None:
    taken = Taken()
    taken.hold(1, "me", "instance 'a'")
    taken.hold(1, "you", "instance 'b'")
    assert (taken.other_holder(1, "me"), taken.other_holder(1, "you"), taken.other_holder(2, "me")) == (None, "instance 'a'", None)


def test_ipv6_and_blocks() -> None:
    six = cloud(m.NetworkDefinition("default", subnets=(m.Subnet("fd00::/64", "fd00::1"),)))
    settings = designed(request(group(instances=2), cloud_config=six)).instances[1].spec.networks[0]
    assert (settings.ip, settings.prefix_length) == ("fd00::3", 64)
    blocks = cloud(m.NetworkDefinition("default", subnets=(subnet("10.0.0.0/24", prefix=28, reserved=("10.0.0.20",)),)))
    placed = designed(request(group(instances=2), cloud_config=blocks)).instances
    assert [item.reservations[0].ip for item in placed] == ["10.0.0.32", "10.0.0.48"]


def _bound(given: dict[str, Any], *specs: PropertySpec) -> tuple[dict[str, Any], list[str]]:
    report = Diagnostics()
    return bind(job(properties=specs), given, report, Where()), [item.summary for item in report.errors]


def test_properties_are_bound() -> None:
    specs = (PropertySpec("a.b", 5, True), PropertySpec("c"), PropertySpec("t", {"z": 1, "y": [{"b": 1, "a": 2}]}, True))
    bound, _ = _bound({"a": {"b": None, "x": 1}, "unknown": 1}, *specs)
    assert bound == {"a": {"b": 5}, "c": None, "t": {"y": [{"b": 1, "a": 2}], "z": 1}}
    assert list(bound["t"]) == ["y", "z"]
    assert _bound({"a": {"b": False}}, *specs)[0]["a"] == {"b": False}


@pytest.mark.parametrize(("value", "kind"), [("text", "String"), (3, "Integer"), ([], "Array"), (False, "FalseClass"), (1.5, "Float")])
def test_a_property_that_should_be_a_map(value: Any, kind: str) -> None:
    assert _bound({"a": value}, PropertySpec("a.b"))[1] == [f"Property 'a.b' expects a hash, but received '{kind}'"]


def test_all_property_errors_are_told() -> None:
    made = release(job("app", properties=(PropertySpec("a.b"), PropertySpec("c.d"))))
    with pytest.raises(PlanError) as caught:
        designed(request(group(jobs=(ref("app", properties={"a": 1, "c": 2}),)), releases=(made,)))
    assert len(caught.value.diagnostics) == 2


def test_cloud_properties_are_merged_shallowly_in_order() -> None:
    config = cloud(
        m.NetworkDefinition("default", subnets=(subnet("10.0.0.0/24", "z1"),)),
        vm_types=(m.NamedProperties("small", {"tags": {"a": 1}, "x": 1, "az": "type"}),),
        vm_extensions=(m.NamedProperties("one", {"tags": {"b": 2}}), m.NamedProperties("two", {"y": 2})))
    zone = m.Az("z1", "cpi-a", {"az": "zone", "zone": 1})
    config = m.CloudConfig(config.networks, config.compilation, (zone,), config.vm_types, config.vm_extensions)
    spec = designed(request(group(azs=("z1",), vm_type="small", vm_extensions=("one", "two")), cloud_config=config)).instances[0].spec
    assert spec.cloud_properties == {"tags": {"b": 2}, "x": 1, "az": "type", "zone": 1, "y": 2}
    assert spec.cpi == "cpi-a"


def test_env_gets_tmpfs_only_where_nothing_is_written() -> None:
    assert group_env({"a": 1}, Features()) == {"a": 1}
    assert group_env({"bosh": {"job_dir": {"tmpfs": False}}}, Features(use_tmpfs_config=True)) == {
        "bosh": {"job_dir": {"tmpfs": False}, "agent": {"settings": {"tmpfs": True}}}}


def test_what_a_machine_is_told_of_its_group_and_tags() -> None:
    made = request(group("My_Web", tags={"own": "group", "both": 1}), tags={"both": 0, "name": "mine"}, name="Dep")
    spec = designed(made).instances[0].spec
    bosh = vm_env(spec, "Boss")["bosh"]
    assert bosh["group"] == "boss-dep-my-web"
    assert bosh["groups"] == ["boss", "dep", "my-web", "boss-dep", "dep-my-web", "boss-dep-my-web"]
    assert bosh["tags"] == {"both": 1, "name": "mine", "own": "group"}
    metadata = vm_metadata(spec, "Boss", "2026-01-01T00:00:00Z", creating=False)
    assert metadata["name"] == f"My_Web/{spec.id}"
    assert metadata["both"] == "0"
    assert "own" not in metadata


def test_the_addressable_network_gives_the_address() -> None:
    networks = (m.GroupNetwork("a", default=("dns", "gateway")), m.GroupNetwork("b", default=("addressable",)))
    config = cloud(m.NetworkDefinition("a", subnets=(subnet("10.0.0.0/24"),)), m.NetworkDefinition("b", subnets=(subnet("10.1.0.0/24"),)))
    spec = designed(request(group(networks=networks), cloud_config=config)).instances[0].spec
    assert spec.address == "10.1.0.2"
    assert [(item.network, item.default, item.netmask, item.dns_record_name) for item in spec.networks] == [
        ("a", ("dns", "gateway"), "255.255.255.0", "0.web.a.dep.bosh"), ("b", ("addressable",), "255.255.255.0", "0.web.b.dep.bosh")]


def test_names() -> None:
    assert canonical("My_Group.1") == "my-group1"
    with pytest.raises(InvalidLabel):
        canonical("_x")
    assert encode_group_query("web", "default", "cf", "bosh") == "q-s0.web.default.cf.bosh"
    assert encode_group_query("web", "default", "cf", "bosh", az_ids=(1, 2), status="healthy") == "q-a1a2s3.web.default.cf.bosh"
    assert encode_short_query(7, 3, "bosh", az_ids=(1,), status="healthy", initial_health_check="synchronous") == "q-a1n3s3y1.q-g7.bosh"
    assert encode_short_query(1, 3, "bosh", instance_num=42) == "q-m42n3s0.q-g1.bosh"


def test_names_without_a_canonical_form_are_all_told() -> None:
    with pytest.raises(PlanError) as caught:
        designed(request(group("-a"), group("b-"), name="ok"))
    assert [item.code for item in caught.value.diagnostics] == [420001, 420001]


def test_unknown_things_are_told_all_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        designed(request(group(jobs=(ref("ap"), ref("x", release="rell")), stemcell="q"), group("b", networks=(m.GroupNetwork("nope"),))))
    assert {item.code for item in caught.value.diagnostics} == {140005, 140029, 140002, 150001}
    assert any(item.suggestion == "Did you mean 'app'?" for item in caught.value.diagnostics)
    assert STEMCELL.os == "debian"
