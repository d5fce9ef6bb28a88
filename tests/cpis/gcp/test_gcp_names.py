"""Names, labels and tags: rows 15, 16 and 34 of the table of mistakes, and the rules of the CPI contract, section 8.1."""

from __future__ import annotations

import re
import uuid

import pytest

from cpis.gcp import names

_LABEL = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_VALUE = re.compile(r"[-_a-z0-9]{0,63}")


@pytest.mark.parametrize("token", ["vm-0a1b", "conformance-" + "0" * 40, "a"])
def test_a_token_that_is_a_name_is_the_name(token: str) -> None:
    assert names.name_of("vm", token) == token


@pytest.mark.parametrize("token", ["0-starts-with-a-digit", "ends-with-", "-", "x" * 64, "Ünusual", "with_underscore"])
def test_other_tokens_get_a_name_that_is_always_the_same(token: str) -> None:
    name = names.name_of("vm", token)
    assert re.fullmatch(r"vm-[0-9a-f-]{36}", name)
    assert name == names.name_of("vm", token) != names.name_of("vm", token + "x")


def test_a_request_id_is_new_each_time() -> None:
    """Google answers the same one for an hour with the first operation, also when its machine has been deleted."""
    assert names.request_id() != names.request_id()
    assert uuid.UUID(names.request_id()).int


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("name", "web/0", {"name": "web-0"}),
    ("instance_group", "a_b:c", {"instance-group": "a_b-c"}),
    ("Deployment", "CF", {"deployment": "cf"}),
    ("9lives", "x", {"n9lives": "x"}),
    ("long", "x" * 300, {"long": "x" * 61}),
    ("k" * 100, "x", {"k" * 61: "x"}),
    ("empty", "", {}),
    ("null", None, {}),
    ("!!!", "x", {}),
    ("odd", "ü", {}),
    ("created_at", "2026-11-27T13:00:00Z", {"created-at": "2026-11-27t13-00-00z"}),
    ("caisson-token", "stolen", {}),
    ("director", "another", {}),
])
def test_metadata_as_labels(key: str, value: str | None, expected: dict[str, str]) -> None:
    assert names.cleaned({key: value}) == expected


def test_too_many_labels_leave_out_the_least() -> None:
    metadata = {**{f"tag{number}": "x" for number in range(100)}, "deployment": "d", "index": "0", "id": "i", "name": "n"}
    labels = names.labels_of("director-1", "vm-1", metadata, {f"own{number}": "y" for number in range(30)}, {"caisson-shape": "s"})
    assert len(labels) <= 64
    assert {"director", "caisson-token", "caisson-shape", "deployment", "index", "id", "name"} <= set(labels)
    assert all(_LABEL.fullmatch(key) and _VALUE.fullmatch(value) for key, value in labels.items())


def test_the_mark_of_the_director_is_that_of_the_config() -> None:
    assert names.labels_of("Mine/1", "vm-1", {"director": "somebody"})["director"] == "mine-1"


def test_replacing_keeps_what_others_have_set() -> None:
    first = names.labels_of("d", "vm-1", {"a": "1", "b": "2"}, {"team": "platform"}, {"caisson-shape": "s"})
    second = names.replaced({**first, "billing": "x"}, {"b": "3", "c": "4"})
    assert names.metadata_of(second) == {"b": "3", "c": "4", "billing": "x", "team": "platform", "director": "d"}
    assert second["caisson-token"] == "vm-1"
    assert second["caisson-shape"] == "s"
    assert names.metadata_of(names.replaced(second, {})) == {"billing": "x", "team": "platform", "director": "d"}


def test_replacing_many_keys_forgets_none_of_them() -> None:
    many = {f"k{number}": "x" for number in range(40)}
    labels = names.replaced(names.labels_of("d", "vm-1", many), {"only": "1"})
    assert names.metadata_of(labels) == {"only": "1", "director": "d"}


def test_network_tags_are_cleaned_and_each_there_once() -> None:
    assert names.network_tags(["web", "web"], ["Foo_Bar", "9x", "", "-"], ["d-" + "x" * 80]) == ["web", "foo-bar", "n9x", "d-" + "x" * 61]
    assert len(names.network_tags([f"t{number}" for number in range(100)])) == 64
