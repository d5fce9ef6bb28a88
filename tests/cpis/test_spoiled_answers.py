"""Each CPI while one field of an answer is missing, empty or of another type: a sample of all such answers, on each stand-in.

OpenStack's is in tests/cpis/openstack/test_openstack_fault_suite.py, on the fake of its services.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpis.conformance.__main__ import standing_in, try_faults
from cpis.conformance.spoiled import WAYS, fields, spoil, sweep
from cpis.conformance.standin import Skipped
from tests.cpis.test_clouds_faults import told

# One in so many of the trials: what takes each stand-in some ten seconds.
SAMPLES = {"aws": 150, "azure": 60, "gcp": 40, "vsphere": 300}
XML = b'<r xmlns="urn:x"><set><item><id>i-1</id><empty/></item><item><id>i-2</id></item></set></r>'


@pytest.mark.walk
@pytest.mark.parametrize("name", SAMPLES)
def test_spoiled_answers_end_right_and_leak_nothing(name: str, tmp_path: Path) -> None:
    try:
        with standing_in(name, tmp_path) as stand_in:
            trials = try_faults(stand_in, tmp_path, SAMPLES[name], sweep)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert len(trials) >= 15
    assert not told(trials)


def test_each_field_of_a_tree_is_spoiled_in_each_way() -> None:
    body = json.dumps({"a": {"b": "x"}, "c": [{"d": 1}, {"d": 2}], "e": None}).encode()
    assert fields(body) == [("a",), ("a", "b"), ("c",), ("c", 0), ("c", 0, "d"), ("e",)]
    assert [json.loads(spoil(body, ("a", "b"), way))["a"] for way in WAYS] == [{}, {"b": None}, {"b": 7}, {"b": ["x"]}]
    assert [json.loads(spoil(body, ("c",), way)).get("c", "gone") for way in WAYS] == [
        "gone", None, {"0": {"d": 1}, "1": {"d": 2}}, [[{"d": 1}, {"d": 2}]]]
    assert json.loads(spoil(body, ("c", 0, "d"), "of another type"))["c"][0] == {"d": "<1>"}
    assert spoil(body, ("a", "nothing", "there"), "missing") == body


def test_each_field_of_a_document_is_spoiled_in_its_place() -> None:
    first = ("r 0", "set 0", "item 0")
    assert fields(XML) == [("r 0", "set 0"), first, (*first, "id 0"), (*first, "empty 0"), ("r 0", "set 0", "item 1"),
                           ("r 0", "set 0", "item 1", "id 0")]
    assert spoil(XML, (*first, "id 0"), "missing") == XML.replace(b"<id>i-1</id>", b"")
    assert spoil(XML, (*first, "id 0"), "empty") == XML.replace(b"<id>i-1</id>", b"<id></id>")
    assert spoil(XML, (*first, "id 0"), "of another type") == XML.replace(b"i-1", b"<x>7</x>")
    assert spoil(XML, (*first, "id 0"), "in a list") == XML.replace(b"<id>i-1</id>", b"<id>i-1</id><id>i-1</id>")
    assert spoil(XML, (*first, "empty 0"), "missing") == XML.replace(b"<empty/>", b"")
    assert spoil(XML, ("r 0", "set 0"), "of another type") == b'<r xmlns="urn:x"><set>text</set></r>'


@pytest.mark.parametrize("body", [b"", b"plain words", b"{half", b"<half>", b"[]", b"{}"])
def test_what_is_no_answer_has_no_fields(body: bytes) -> None:
    assert fields(body) == []
    assert spoil(body, ("a",), "missing") == body
