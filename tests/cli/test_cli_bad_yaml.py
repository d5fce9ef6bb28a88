"""Whatever stands in manifests, ops files and variables files: `int` answers or tells, and never shows a traceback."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from cli_world import Cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from director.manifest.load import MAX_DEPTH, load_yaml
from director.manifest.pointer import MAX_TOKENS

texts = st.sampled_from([
    "", "a", "((a))", "((a.b.0))", "x((a))y", "(( a ))", "((!a))", "~", "yes", "1e3", "/a", "/a/b?/-", "/a/name=x?/0:prev", "/", "a/b",
    "/a:after", "replace", "remove", "test", "name", "type", "path", "value", "absent", "variables", "options", "ca", "password",
    "certificate", "<<", "é\n",
])  # fmt: skip
scalars = st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | texts
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12)
ops = st.lists(
    st.fixed_dictionaries({}, optional={"type": texts | trees, "path": texts | trees, "value": trees, "absent": trees}) | trees, max_size=4
)
definitions = st.fixed_dictionaries(
    {}, optional={"name": texts | trees, "type": texts | trees, "options": trees | st.dictionaries(texts, trees)}
)
documents = trees | st.fixed_dictionaries({"variables": trees | st.lists(definitions | trees, max_size=4)}, optional={"a": trees})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents, ops | trees, trees | st.dictionaries(texts, trees), texts)
def test_any_documents(offline: Cli, document: Any, operations: Any, values: Any, path: str) -> None:
    files = [offline.file(name, json.dumps(tree)) for name, tree in (("m.yml", document), ("o.yml", operations), ("v.yml", values))]
    for more in ([], ["--path", path], ["--var-errs", "--var-errs-unused", "-v", f"a={json.dumps(values)}"]):
        result = offline("int", files[0], "-o", files[1], "-l", files[2], *more)
        assert result.code in (0, 1)
        assert bool(result.err) == (result.code == 1)
        assert "Traceback" not in result.err
        if result.code == 0 and not more:
            load_yaml(result.out, "again")


signs = st.text(st.sampled_from("ab:-?[]{}&*!|>'\"%#,\n \t<0.~()/"), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(signs, signs, signs)
def test_any_texts(offline: Cli, document: str, operations: str, values: str) -> None:
    files = [offline.file(name, text) for name, text in (("m.yml", document), ("o.yml", operations), ("v.yml", values))]
    result = offline("int", files[0], "-o", files[1], "-l", files[2], "--vars-env", "NOTHING")
    assert result.code in (0, 1)


def nested(depth: int, leaf: str = "1") -> str:
    return "[" * depth + leaf + "]" * depth


def test_the_deepest_that_is_allowed(offline: Cli) -> None:
    """A document at its limit, made deeper by operations at theirs, with values at theirs."""
    manifest = offline.file("m.yml", f"deep: {nested(MAX_DEPTH - 1, '((v))')}\nvariables: []\n")
    path = "/x?" + "/a" * (MAX_TOKENS - 1)
    operations = f"- {{type: replace, path: '{path}', value: {nested(MAX_DEPTH - 2, '((v))')}}}\n"
    values = offline.file("v.yml", f"v: {nested(MAX_DEPTH - 1)}\n")
    result = offline.ok("int", manifest, "-o", offline.file("o.yml", operations), "-l", values)
    assert result.out.count("1") == 2
    assert offline.ok("int", manifest, "-l", values, "--path", "/deep" + "/0" * (MAX_TOKENS - 1)).out


@pytest.mark.parametrize(("text", "told"), [
    (nested(MAX_DEPTH + 1), "nested deeper than"), ("[" * 300_000, "nest"), ("{a: " * 5_000, "nested deeper than"), ("- " * 5_000, "nest"),
    ("\n".join([f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 'lol'}]" for n in range(30)]), "excessive aliasing"),
    ("\n".join(["x0: &x0 {a: 1}", *(f"x{n}: &x{n} {{a: *x{n - 1}}}" for n in range(1, 400))]), "nested deeper than"),
    ("a: &a {b: *a}", "contains itself"), ("a: &a\n  <<: *a\n", "contains itself"), ("a: *b", "Unknown anchor"),
])  # fmt: skip
def test_documents_that_would_fill_the_memory(offline: Cli, text: str, told: str) -> None:
    bad, good = offline.file("bad.yml", text), offline.file("good.yml", "a: 1\n")
    for arguments in ((bad,), (good, "-o", bad), (good, "-l", bad), (good, "--vars-store", bad), (good, "-v", f"x={text}")):
        if len(arguments[-1]) < 100_000:
            result = offline("int", *arguments)
            assert result.code == 1
            assert told in result.err
    assert pathlib.Path(bad).read_text() == text
