"""Interpolation as the reference's command does it, the rules one by one. The recorded answers are in tests/cli."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from director.errors import ManifestError, UsageError
from director.manifest.dump import dump
from director.manifest.interpolate import Chain, Values, interpolate, parse_var, parse_var_file, parse_vars_env, parse_vars_file
from director.manifest.load import Document, load_yaml


def given_values(**values: Any) -> Values:
    return Values.of(values)


@pytest.mark.parametrize(("tree", "values", "result"), [
    ("((n))", {"n": {"a": [1]}}, {"a": [1]}), ("(( n ))", {"n": 1}, 1), ("((!n))", {"n": None}, None),
    ("x-(( n ))", {"n": 1}, "x-(( n ))"), ("x-((n))-((!n))", {"n": 1}, "x-1-1"), ("$((x + 1))", {"x": 1}, "$((x + 1))"),
    ({"((k))": 1, "b": ["((k))"]}, {"k": "a"}, {"a": 1, "b": ["a"]}), ("((a.b.0))", {"a": {"b": ["z"]}}, "z"),
    ("((a.0))", {"a": {"0": "z"}}, "z"), ("((n))", {"n": "((m))", "m": 1}, "((m))"),
    ("((none))", {}, "((none))"), ("((ñandú))", {"ñandú": 1}, 1),
    ("((/a/b))", {"/a/b": 1}, 1), ("((a.b))", {"a.b": 1}, 1), ("((a))", {"a.b": 1}, {"b": 1}),
])  # fmt: skip
def test_a_placeholder(tree: Any, values: dict[str, Any], result: Any) -> None:
    assert interpolate({"x": tree}, Values.of(values)) == {"x": result}


@pytest.mark.parametrize(("tree", "values", "message"), [
    ("x((n))", {"n": {"a": 1}}, "Invalid type 'map\\[interface {}\\]interface {}' for variable 'n'"), ("x((n))", {"n": 1.5}, "'float64'"),
    ("x((n))", {"n": True}, "'bool'"), ("((a.b))", {"a": {"c": 1}}, "Finding variable 'a.b': Expected to find a map key 'b' for path '/b'"),
    ("((a.b.c))", {"a": {"b": 1}}, "path '/b/c' but found 'int'"), ({"((k))": 1}, {"k": [1]}, "usable as a key"),
])  # fmt: skip
def test_a_value_that_does_not_fit(tree: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        interpolate(tree, Values.of(values))


@pytest.mark.parametrize(("text", "value"), [
    ("n=01", 1), ('n="01"', "01"), ("n='x'", "x"), ("n=a: b", {"a": "b"}), ("n=x=y", "x=y"), ("n=~", None), ("n=2020-01-01", "2020-01-01"),
])  # fmt: skip
def test_row_31_values_of_the_command_line(text: str, value: Any) -> None:
    assert parse_var(text) == ("n", value)


@pytest.mark.parametrize("text", ["n", "=x", "n="])
def test_values_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="Expected var"):
        parse_var(text)
    with pytest.raises(UsageError, match="Expected var"):
        parse_var_file(text)


class Store:
    """A store that generates a value from a definition, and shows what it was asked."""

    generates = True

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.asked: dict[str, Any] = {}

    def find(self, name: str, definition: Mapping[str, Any] | None) -> tuple[bool, Any]:
        if name not in self.values and definition is not None:
            self.asked[name] = definition
            self.values[name] = f"made {definition['type']}"
        return name in self.values, self.values.get(name)

    def names(self) -> Iterable[str]:
        return ()

    def expect(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        self.expected = [item["name"] for item in definitions]


def test_row_32_precedence() -> None:
    values = Values.of(parse_vars_env("P", {"P_n": "0", "P_e": "[1]"}), parse_vars_file("n: 1\nf: 2\n", "f.yml"), dict([parse_var("n=2")]))
    tree = {"n": "((n))", "f": "((f))", "e": "((e))", "s": "((s))"}
    assert interpolate(tree, Chain([values, Store(n=3, s=4)])) == {"n": 2, "f": 2, "e": [1], "s": 4}


def test_row_34_definitions_with_a_value_are_taken_out() -> None:
    store = Store()
    tree = {
        "variables": [{"name": "p", "type": "password"}, {"name": "c", "type": "certificate", "options": {"common_name": "((p)).x"}}],
        "a": "((p))",
    }
    assert interpolate(tree, store) == {"variables": [], "a": "made password"}
    assert store.asked["c"]["options"] == {"common_name": "made password.x"}
    assert interpolate(tree, Values({})) == tree


def test_variables_that_need_each_other_in_a_circle() -> None:
    tree = {"variables": [{"name": name, "type": "certificate", "options": {"ca": f"(({other}))"}} for name, other in ("ab", "bc", "ca")]}
    with pytest.raises(ManifestError, match=r"Detected recursion \(a -> b -> c -> a\)"):
        interpolate(tree, Store())


def test_names_without_value_and_values_without_use_are_told_together() -> None:
    with pytest.raises(ManifestError) as caught:
        interpolate({"a": "((b)) ((a.x))"}, given_values(z=1, y=2), expect_all_keys=True, expect_all_used=True)
    summaries = [item.summary for item in caught.value.diagnostics]
    assert summaries == ["Expected to find variables:\n  a\n  b", "Expected to use variables:\n  y\n  z"]


def test_what_is_missing_is_told_with_its_place() -> None:
    document = load_yaml("a: 1\nlist:\n- name: x\n  b: pre-((b))\n", "m.yml")
    with pytest.raises(ManifestError, match=r"b \(m.yml:4 list/x/b\)"):
        interpolate(document.tree, given_values(), expect_all_keys=True, document=document)
    with pytest.raises(ManifestError) as caught:
        interpolate(document.tree, given_values(b=[1]), document=document)
    assert str(caught.value.diagnostics[0].where) == "m.yml:4 list/x/b"


def test_a_definition_whose_options_lack_a_value_is_left_as_it_is() -> None:
    tree = {"variables": [{"name": "c", "type": "certificate", "options": {"common_name": "((x))"}}], "a": "((c))"}
    store = Store()
    assert interpolate(tree, store) == tree
    assert store.asked == {}
    with pytest.raises(ManifestError) as caught:
        interpolate(tree, store, expect_all_keys=True)
    assert caught.value.diagnostics[0].summary == "Expected to find variables:\n  x"


def test_a_given_value_needs_no_options() -> None:
    tree = {"variables": [{"name": "c", "type": "certificate", "options": {"common_name": "((x))"}}, {"name": "u"}], "a": "((c))((u))"}
    assert interpolate(tree, given_values(c="C", u="U")) == {"variables": [], "a": "CU"}


def test_many_placeholders_in_one_text_take_one_pass() -> None:
    text = "((x))" * 50_000 + "".join(f"((y{number}))" for number in range(20_000))
    document = Document({"a": text}, "m.yml")
    with pytest.raises(ManifestError, match="y19999"):
        interpolate(document.tree, given_values(x=1), expect_all_keys=True, document=document)
    assert interpolate({"a": "((a))((b))"}, given_values(a="((b))", b=2)) == {"a": "((b))2"}


def test_a_signer_that_is_listed_later_is_made_first() -> None:
    tree = {"variables": [{"name": "leaf", "type": "certificate", "options": {"ca": "root"}}, {"name": "root", "type": "certificate"}]}
    store = Store()
    interpolate(tree, Chain([given_values(other=1), store]))
    assert list(store.asked) == ["root", "leaf"]


def test_a_store_is_told_what_it_will_be_asked_for() -> None:
    tree = {"variables": [{"name": "a", "type": "rsa"}, {"name": "b", "type": "rsa"}, {"name": "c"}]}
    store = Store()
    interpolate(tree, Chain([given_values(b=1), store]))
    assert store.expected == ["a"]


def test_the_same_name_twice_is_refused_before_anything_is_made() -> None:
    document = load_yaml("variables:\n- {name: a, type: password}\n- {name: b, type: password}\n- {name: b, type: rsa}\n", "m.yml")
    store = Store()
    with pytest.raises(ManifestError, match="duplicate names, eg: 'b'") as caught:
        interpolate(document.tree, store, document=document)
    assert caught.value.diagnostics[0].where == document.where(("variables", 1))
    assert store.asked == {}
    assert interpolate(document.tree, given_values(c=1)) == document.tree


@pytest.mark.parametrize("options", [[1], "x", 3])
def test_options_that_are_no_map(options: Any) -> None:
    with pytest.raises(ManifestError, match="options of variable with name 'a' is not a Hash"):
        interpolate({"variables": [{"name": "a", "type": "password", "options": options}]}, Store())


def test_a_path_comes_last() -> None:
    tree = {"list": [{"name": "((n))", "v": "((v))"}]}
    assert interpolate(tree, given_values(n="x", v=[1]), path="/list/name=x/v") == [1]
    with pytest.raises(ManifestError, match="Expected to find a map key 'w'"):
        interpolate(tree, given_values(n="x"), path="/list/name=x/w")


words = st.text(st.sampled_from("abc"), min_size=1, max_size=3)
scalars = st.none() | st.booleans() | st.integers(-5, 5) | words | st.builds("x((%s))y".__mod__, words) | st.builds("((%s))".__mod__, words)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12)
plain = st.dictionaries(words, st.integers(0, 9) | st.text("pqr", max_size=3), max_size=5)


@settings(max_examples=100, deadline=None)
@given(trees, plain)
def test_a_second_time_changes_nothing(tree: Any, values: dict[str, Any]) -> None:
    once = interpolate({"x": tree}, Values(values))
    assert interpolate(once, Values(values)) == once


@settings(max_examples=100, deadline=None)
@given(trees, plain, plain)
def test_values_may_come_in_two_rounds(tree: Any, first: dict[str, Any], second: dict[str, Any]) -> None:
    together = interpolate({"x": tree}, Values({**second, **first}))
    assert interpolate(interpolate({"x": tree}, Values(first)), Values(second)) == together


@settings(max_examples=50, deadline=None)
@given(trees)
def test_without_values_the_same_object_comes_back(tree: Any) -> None:
    assert interpolate(tree, Values({})) is tree


def backwards(tree: Any) -> Any:
    """The same with the keys of all maps the other way round."""
    if isinstance(tree, dict):
        return {key: backwards(tree[key]) for key in reversed(tree)}
    return [backwards(item) for item in tree] if isinstance(tree, list) else tree


@settings(max_examples=60, deadline=None)
@given(trees, plain)
def test_neither_comments_nor_the_order_of_keys_matter(tree: Any, values: dict[str, Any]) -> None:
    text = dump({"x": tree}, sort_keys=False)
    written = "# above\n" + dump({"x": backwards(tree)}, sort_keys=False) + "# below\n"
    first, second = (interpolate(load_yaml(item, "f").tree, Values(values)) for item in (text, written))
    assert dump(first) == dump(second)
