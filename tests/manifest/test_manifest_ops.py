"""Operations do what the reference does, fail with its words, and leave the document alone."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_cases import cases

from director.errors import ManifestError
from director.manifest.dump import dump
from director.manifest.ops import apply_ops, parse_ops


@pytest.mark.parametrize("case", cases("ops"), ids=lambda case: case["what"])
def test_an_operation(case: dict[str, Any]) -> None:
    row = {"type": "replace", **{key: case[key] for key in ("type", "path", "value", "absent") if key in case}}
    document = case["doc"]
    before = copy.deepcopy(document)
    if "error" in case:
        with pytest.raises(ManifestError) as caught:
            apply_ops(document, parse_ops(dump([row]), "ops.yml"))
        assert case["error"] in str(caught.value)
        assert "ops.yml" in str(caught.value)
    else:
        assert apply_ops(document, parse_ops(dump([row]), "ops.yml")) == case["result"]
    assert document == before


def test_all_that_is_wrong_in_a_file_is_told_with_its_line() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_ops("- type: replace\n  path: /a\n- type: remov\n  path: /b\n- {type: test}\n", "o.yml")
    assert [item.where.line for item in caught.value.diagnostics if item.where] == [1, 3, 5]
    assert "Did you mean 'remove'?" in str(caught.value)


def test_a_failure_names_the_operation_and_what_is_near() -> None:
    with pytest.raises(
        ManifestError, match=r"Error 'operation \[0\] in o.yml failed': Expected to find a map key 'instance_group'"
    ) as caught:
        apply_ops({"instance_groups": []}, parse_ops("- {type: remove, path: /instance_group}", "o.yml"))
    assert "Did you mean 'instance_groups'?" in str(caught.value)


def test_an_empty_file_has_no_operations() -> None:
    assert parse_ops("---\n", "o.yml") == []


def test_a_path_without_end_is_refused() -> None:
    with pytest.raises(ManifestError, match="at most 100 elements"):
        parse_ops(f"- {{type: replace, value: 1, path: '{'/a?' * 5000}'}}", "o.yml")


words = st.text(st.sampled_from("abcxyz/~:=?-0"), min_size=1, max_size=5)
scalars = st.none() | st.booleans() | st.integers(-5, 5) | words
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12)


def plain_key(word: str) -> str:
    return word.replace("~", "~0").replace("/", "~1").replace(":", "~7")


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text("abcxyz/~:", min_size=1, max_size=4), trees, max_size=4), st.text("mo", min_size=1, max_size=4), trees)
def test_what_is_set_can_be_removed_again(tree: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        return
    path = f"/{plain_key(key)}"
    made = apply_ops(tree, parse_ops(dump([{"type": "replace", "path": f"{path}?", "value": value}]), "o"))
    assert made == {**tree, key: value}
    again = apply_ops(made, parse_ops(dump([{"type": "remove", "path": path}, {"type": "remove", "path": f"{path}?"}]), "o"))
    assert again == tree


@settings(max_examples=100, deadline=None)
@given(st.lists(trees, min_size=1, max_size=5), st.integers(0, 4), st.sampled_from(["before", "after"]))
def test_what_is_inserted_can_be_removed_again(items: list[Any], index: int, side: str) -> None:
    at = index % len(items)
    made = apply_ops(items, parse_ops(dump([{"type": "replace", "path": f"/{at}:{side}", "value": "new"}]), "o"))
    place = at if side == "before" else at + 1
    assert made[place] == "new"
    assert apply_ops(made, parse_ops(dump([{"type": "remove", "path": f"/{place}"}]), "o")) == items


@settings(max_examples=200, deadline=None)
@given(trees, st.text(st.sampled_from("ab/:?=-~0123nextprv"), max_size=12), trees)
def test_any_path_gives_a_document_or_a_diagnostic(tree: Any, path: str, value: Any) -> None:
    for kind in ("replace", "remove", "test"):
        with contextlib.suppress(ManifestError):
            apply_ops(tree, parse_ops(dump([{"type": kind, "path": path, "value": value}]), "o"))
