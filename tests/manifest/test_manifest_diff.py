"""Differences between manifests, in the reference's lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_cases import cases

from director.manifest import diff
from director.manifest.load import Document

GLYPHS = {"added": "+ ", "removed": "- ", None: "  "}


@pytest.mark.parametrize("case", cases("diffs"), ids=lambda case: case["what"])
def test_a_difference(case: dict[str, Any]) -> None:
    lines = diff.diff([Document(case["old"])], [Document(case["new"])], case.get("redact", True))
    shown = "".join(f"{GLYPHS[state]}{text}".rstrip() + "\n" for text, state in lines)
    assert shown == "".join(line.rstrip() + "\n" for line in case["lines"].splitlines())


def test_configs_are_joined_with_the_manifest() -> None:
    manifest, cloud = Document({"name": "a", "addons": [{"name": "x"}]}), Document({"azs": [{"name": "z1"}]})
    old = [manifest, cloud, Document({"azs": [{"name": "z2"}]})]
    new = [manifest, cloud, Document({"addons": [{"name": "other"}]})]
    assert diff.diff(old, new, True) == [
        ("azs:", None), ("- name: z2", "removed"), ("", None), ("addons:", None), ("- name: other", "added"),
    ]  # fmt: skip


def test_a_first_deploy_is_all_added() -> None:
    assert {state for _, state in diff.diff([], [Document({"name": "a", "update": {"canaries": 1}})], True)} == {"added", None}


words = st.text("abc", min_size=1, max_size=2)
trees = st.recursive(
    st.none() | st.integers(0, 3) | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)
maps = st.dictionaries(words | st.sampled_from(["name", "properties"]), trees, max_size=4)


@settings(max_examples=100, deadline=None)
@given(maps, maps)
def test_properties_of_differences(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert diff.diff_trees(old, old) == []
    for text, state in diff.diff_trees(old, new, redact=True):
        assert "\n" not in text
        assert state in GLYPHS
