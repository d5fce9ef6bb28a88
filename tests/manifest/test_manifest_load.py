"""YAML is read as Go's YAML 1.1 reads it, with a line for every path, and what is no YAML is told."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from director.errors import ManifestError
from director.manifest import load
from director.manifest.dump import dump, dump_ruby
from director.manifest.load import load_yaml
from director.manifest.numbers import number_text


@pytest.mark.parametrize(("text", "value"), [
    ("yes", True), ("No", False), ("on", True), ("OFF", False), ("y", True), ("n", False), ("true", True), ("tRue", "tRue"),
    ("010", 8), ("0o10", 8), ("08", 8), ("1_000", 1000), ("0x10", 16), ("0b11", 3), ("-0x10", -16), ("+3", 3), ("1e3", 1000),
    ("1e6", 1e6), ("-2.0", -2), (".0", 0),
    ("12:30", "12:30"), ("1.10", 1.1), ("1.0", 1), (".5", 0.5), ("~", None), ("", None), ("null", None), ("Null", None),
    ("2020-01-01", "2020-01-01"), ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"), ("'1'", "1"), ('"yes"', "yes"), ("1.2.3", "1.2.3"),
    ("-", "-"), ("+", "+"), (".", "."), ("-.inf", float("-inf")), ("1e400", "1e400"), ("18446744073709551615", 2**64 - 1),
    ("18446744073709551616", float(2**64)), ("!!str 1", "1"), ("!!int 5", 5), ("!!float 5", 5.0), ("!custom x", "x"), ("! 1", "1"),
    ("!!binary aGk=", "hi"), ("<<", "<<"), ("=", "="), ("0.", 0), ("0x_1F", 31), ("0b1_0", 2), ("._1", "._1"), ("1e-3", 0.001),
    ("1__0", 10), ("9" * 5000, "9" * 5000), ("0x" + "f" * 5000, "0x" + "f" * 5000), ("1" * 100, float("1" * 100)),
    ("0b" + "1" * 64, 2**64 - 1),
])  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    found = load_yaml(f"a: {text}", "f").tree["a"] if text != "-" else load_yaml("a: '-'", "f").tree["a"]
    assert found == value
    assert type(found) is type(value)


def test_only_the_first_document_is_read() -> None:
    assert load_yaml("a: 1\n---\nb: 2\n", "f").tree == {"a": 1}
    assert load_yaml("--- {a: 1}\n...\n--- [", "f").tree == {"a": 1}
    assert load_yaml("# nothing\n", "f").tree is None


def test_merge_keys_and_anchors() -> None:
    tree = load_yaml("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: {<<: [{p: 5}, *x]}\nd: &x {r: 1}\ne: *x\n", "f").tree
    assert tree["b"] == {"p": 1, "q": 3}
    assert tree["c"] == {"p": 5, "q": 2}
    assert tree["e"] == {"r": 1}
    assert load_yaml('"<<": 1', "f").tree == {"<<": 1}


def test_a_merge_overrides_what_stands_before_it_and_yields_to_what_comes_after() -> None:
    tree = load_yaml("x: &x {a: 1, b: 1, c: 1}\nz:\n  a: 0\n  <<: *x\n  b: 2\n", "f").tree
    assert tree["z"] == {"a": 1, "b": 2, "c": 1}
    with pytest.raises(ManifestError, match="Map merge requires map or sequence of maps"):
        load_yaml("x: &x 1\nz: {<<: *x}\n", "f")


@pytest.mark.parametrize(("text", "tree"), [
    ("\ufeffa: 1\n", {"a": 1}), ("a: 1\r\nb:\r\n- x\r\n- |\r\n  y\r\n  z\r\n", {"a": 1, "b": ["x", "y\nz\n"]}),
    ("a: 1\rb: 2\r", {"a": 1, "b": 2}), ("a:\t1\nb: [1,\t2]\n", {"a": 1, "b": [1, 2]}), ("y: 1\nn: 2\n", {True: 1, False: 2}),
    ("~: 1\n2: 3\n", {None: 1, 2: 3}), ("a: !!timestamp 2001-12-14\n", {"a": "2001-12-14"}), ("a: 2001-12-14t21:59:43.10-05:00", None),
    ("a: !!set {x, z}", {"a": {"x": None, "z": None}}), ("? a\n: 1\n", {"a": 1}), ('"a\\x41\\u00e9": "\\/"', {"aAé": "/"}),
    ("a: >-\n  x\n  y\n\n  z\n", {"a": "x y\nz"}), ("%YAML 1.1\n---\na: 1\n", {"a": 1}),
])  # fmt: skip
def test_forms_of_documents(text: str, tree: Any) -> None:
    assert load_yaml(text, "f").tree == (tree or {"a": "2001-12-14t21:59:43.10-05:00"})


def test_lines() -> None:
    document = load_yaml("a:\n- name: x\n  b: 1\n- name: z\n  c:\n\n    d: [1,\n      2]\n", "f.yml")
    assert document.line(()) == 1
    assert document.line(("a", 0, "b")) == 3
    assert document.line(("a", 1)) == 4
    assert document.line(("a", 1, "c", "d", 1)) == 8
    assert document.line(("a", 1, "none", "e")) == 4
    assert str(document.where(("a", 1, "c", "d"))) == "f.yml:7 a/z/c/d"


@pytest.mark.parametrize(("text", "message", "line"), [
    ("a: [", "Incorrect YAML structure", 1), ("a: 1\nb: 2\na: 3", "Key 'a' is given twice in one map, first on line 1", 3),
    ("a: &a [*a]", "value contains itself", 1), ("a: 1\nb: *c", "Unknown anchor 'c'", 2),
    ("a: {{ b }}", "map cannot be a key", 1), ("? [1]\n: 2", "list cannot be a key", 1), ("a: 1\nb: \x01", "does not allow", 2),
    ("<<: 3", "Map merge requires", 1), ("a: !!int x", "Cannot decode `x` as a !!int", 1), ("a:\tb: c", "Incorrect YAML structure", 1),
    ("[" * 500, "nested deeper", 1), ("{a: " * 500, "nested deeper", 1), ("a: \ud800", "surrogate", 1), ("%YAML 3\n---\na", "Incorrect", 1),
])  # fmt: skip
def test_what_is_no_yaml(text: str, message: str, line: int) -> None:
    with pytest.raises(ManifestError) as caught:
        load_yaml(text, "f.yml")
    (only,) = caught.value.diagnostics
    assert message in only.summary
    assert only.where is not None
    assert only.where.file == "f.yml"
    assert only.where.line == line


def test_anchors_that_explode_are_refused_at_once() -> None:
    levels = [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9) if level else 'lol'}]" for level in range(40)]
    started = time.process_time()
    with pytest.raises(ManifestError, match="excessive aliasing"):
        load_yaml("\n".join(levels), "f")
    assert time.process_time() - started < 1


def test_nesting_through_aliases_is_bounded() -> None:
    levels = ["x0: &x0 [1]"] + [f"x{level}: &x{level} [*x{level - 1}]" for level in range(1, 500)]
    with pytest.raises(ManifestError, match="nested deeper"):
        load_yaml("\n".join(levels), "f")


def test_the_parser_without_libyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x\n- 1\n- {b: yes}\n- |\n  t\nd: *x\n"
    fast = load_yaml(text, "f")
    monkeypatch.setattr(load.yaml, "__with_libyaml__", False)
    slow = load_yaml(text, "f")
    assert slow.tree == fast.tree
    assert slow.marks == fast.marks
    with pytest.raises(ManifestError, match="Incorrect YAML structure"):
        load_yaml("a: [", "f")


words = st.text(max_size=12) | st.sampled_from(
    ["yes", "1", "1.0", "2020-01-01", "12:30", "~", "", "<<", "a: b", "- x", "#", "|", "y", "=", "0x1f"]
)
words = words.filter(lambda text: not any(0xD800 <= ord(char) < 0xE000 for char in text))
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | floats | words
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=15)


def as_go_sends(tree: Any) -> Any:
    """Numbers without a fraction are integers after Go wrote them, where they are short."""
    if isinstance(tree, dict):
        return {key: as_go_sends(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [as_go_sends(value) for value in tree]
    return int(tree) if isinstance(tree, float) and "e" not in number_text(tree) and tree.is_integer() else tree


@settings(max_examples=150, deadline=None)
@given(trees)
def test_what_is_written_is_read_again(tree: Any) -> None:
    assert load_yaml(dump(tree), "f").tree == as_go_sends(tree)


class OtherReader(yaml.SafeLoader):
    """PyYAML's own, for which a plain date is a date, `=` an error and `1e3` a text."""


signs = st.sampled_from("0123456789abxoeE_.,:+-~=<%@`!&*#|>'\"? \t\r\n\x85\u2028\ufeff\u00e9\U0001f600\x00\x1b")
tricky = st.text(signs, max_size=8) | st.sampled_from([
    "1,000", ".1_0", "1e400", "+.inf", ":sym", "=", "0o17", "1:30:00", "2001-1-1 1:1:1", "1_0.5_0", "0b1_0", "---", "...", "? x", "NULL",
    "a\n", "\n a",
])  # fmt: skip
deep = st.recursive(tricky | scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(tricky, inner, max_size=3), max_leaves=8)


@settings(max_examples=200, deadline=None)
@given(deep)
def test_other_readers_read_the_same(tree: Any) -> None:
    text = dump(tree)
    assert load_yaml(text, "f").tree == as_go_sends(tree)
    assert yaml.load(text, Loader=OtherReader) == as_go_sends(tree)
    assert dump(tree) == text


def test_bytes_that_are_no_text() -> None:
    tree = load_yaml("a: !!binary gGE=\n", "f").tree
    assert load_yaml(dump(tree), "f").tree == tree
    assert yaml.safe_load(dump(tree)) == {"a": b"\x80a"}


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab:-?[]{}&*!|>'\"%#,\n \t<0.~"), max_size=40))
def test_any_text_is_read_or_told(text: str) -> None:
    with contextlib.suppress(ManifestError):
        load_yaml(text, "f")


@pytest.mark.parametrize(("value", "text"), [
    (1.0, "1"), (1.1, "1.1"), (1e6, "1e+06"), (123456.0, "123456"), (123456789.0, "1.23456789e+08"), (0.0001, "0.0001"), (0.00001, "1e-05"),
    (-2.5, "-2.5"), (0.0, "0"), (1e21, "1e+21"), (7, "7"),
])  # fmt: skip
def test_numbers_as_text(value: float, text: str) -> None:
    assert number_text(value) == text


def test_the_style_of_go() -> None:
    tree = {"b": ["y", "2020-01-01", None, {}, [], "x\ny\n"], "a10": 1, "a2": {"k": [1, [2]]}}
    assert dump(tree) == 'a2:\n  k:\n  - 1\n  - - 2\na10: 1\nb:\n- "y"\n- "2020-01-01"\n- null\n- {}\n- []\n- |\n  x\n  y\n'


def test_the_style_of_ruby() -> None:
    tree = {"p": "<redacted>", "t": "true", "v": "1.5", "e": "", "o": None, "l": [{"a": 1, "b": ["x"]}]}
    assert dump_ruby(tree) == "p: \"<redacted>\"\nt: 'true'\nv: '1.5'\ne: ''\no:\nl:\n- a: 1\n  b:\n  - x\n"
