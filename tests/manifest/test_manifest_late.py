"""What the director replaces before it reads a manifest, and what stays for later."""

from __future__ import annotations

from typing import Any

import pytest

from director.errors import ManifestError
from director.manifest.late import interpolate_for_director, late_placeholders, placeholders, resolve, variables_of
from director.manifest.load import load_yaml

MANIFEST = """
name: ((dep))
properties: {a: ((late1))}
instance_groups:
- name: ((group))
  env: {bosh: {password: ((late2))}}
  properties: {p: ((late3))}
  jobs:
  - name: j
    properties: {p: ((late4.cert))}
    consumes: {l: {from: ((early)), properties: {x: ((late5))}}}
  - name: ((early))
addons:
- {name: a, properties: ((late6)), jobs: [{name: x, properties: {y: ((/late/7))}, consumes: {l: {properties: ((!late8))}}}]}
variables: [{name: v, type: certificate, options: {common_name: ((domain))}}]
tags: {t: ((early)), "((early))": "x((early))"}
"""


def no_values(name: str) -> Any:
    raise KeyError(name)


def test_early_parts_are_replaced_late_parts_stay() -> None:
    values = {"dep": "d", "group": "g", "early": "e", "domain": "x.org"}
    document = interpolate_for_director(load_yaml(MANIFEST, "m.yml"), values.__getitem__)
    assert document.tree["name"] == "d"
    assert document.tree["instance_groups"][0]["name"] == "g"
    assert document.tree["instance_groups"][0]["jobs"][0]["consumes"]["l"] == {"from": "e", "properties": {"x": "((late5))"}}
    assert document.tree["tags"] == {"t": "e", "e": "xe"}
    assert document.tree["variables"][0]["options"] == {"common_name": "x.org"}
    assert late_placeholders(document) == {*(f"late{number}" for number in (1, 2, 3, 4, 5, 6, 8)), "/late/7"}
    assert placeholders(document.tree) == late_placeholders(document)
    assert variables_of(document) == ["v"]
    assert document.line(("tags",)) == 16


def test_all_missing_names_are_told_with_their_places() -> None:
    with pytest.raises(ManifestError) as caught:
        interpolate_for_director(load_yaml(MANIFEST, "m.yml"), no_values)
    assert [(item.code, item.where.line) for item in caught.value.diagnostics if item.where] == [
        (540002, 2),
        (540002, 5),
        (540002, 11),
        (540002, 15),
    ]
    assert "- Failed to find variable 'domain' from config server" in str(caught.value)


def test_the_shown_name_comes_from_the_lookup() -> None:
    def absolute(name: str) -> Any:
        raise KeyError(f"/director/cf/{name}")

    with pytest.raises(ManifestError, match="Failed to find variable '/director/cf/x'"):
        resolve("((x))", absolute)


@pytest.mark.parametrize(("name", "message"), [
    ("x + 1", "must only contain alphanumeric"), ("a/", "must not end with a forward slash"), ("a//b", "two consecutive forward slashes"),
    ("a.b/c", "Must not contain dots before the last slash"), ("/a/.b", "Must not have segment starting with a dot"),
    ("a.", "Must not end name with a dot"), ("a..b", "Must not contain consecutive dots"), ("a!", "contains invalid character '!'"),
    ("!", "contains invalid character '!'"), ("!!a", "contains invalid character '!'"),
])  # fmt: skip
def test_row_22_names_that_are_wrong(name: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        resolve({"p": f"echo $(({name}))"}, {}.__getitem__)
    assert message in str(caught.value)
    assert caught.value.code == 540004


def test_wrong_names_in_late_parts_are_told_early() -> None:
    with pytest.raises(ManifestError, match="must only contain alphanumeric"):
        interpolate_for_director(load_yaml("name: a\nproperties: {x: ((a b))}", "m.yml"), no_values)


@pytest.mark.parametrize(("tree", "result"), [
    ("((m.k))", 5), ("((m))", {"k": 5}), ("a ((s)) ((m.k))", "a t 5"), ("((!s))", "t"),
    ({"((s))": ["((s))"]}, {"t": ["t"]}), ({"x((s))": 1}, {"x((s))": 1}),
])  # fmt: skip
def test_values_keep_their_types(tree: Any, result: Any) -> None:
    assert resolve(tree, {"m": {"k": 5}, "s": "t"}.__getitem__) == result


@pytest.mark.parametrize(("tree", "message", "code"), [
    ("a ((m))", "Can not replace '((m))' in 'a ((m))'. The value should be a String or an Integer.", 540007),
    ("((m.x))", "Expected parent 'm' hash to have key 'x'", 540001), ("((s.x))", "Expected parent 's' to be a hash", 540001),
])  # fmt: skip
def test_values_that_do_not_fit(tree: Any, message: str, code: int) -> None:
    with pytest.raises(ManifestError) as caught:
        resolve({"a": tree}, {"m": {"k": 5}, "s": "t"}.__getitem__)
    assert message in str(caught.value)
    assert caught.value.code == code


def test_each_name_is_looked_up_once() -> None:
    asked = []

    def lookup(name: str) -> Any:
        asked.append(name)
        return {"a": 1}

    resolve(["((x.a))", "((x))", "p((x.a))"], lookup)
    assert asked == ["x"]


def test_cloud_configs_want_absolute_names() -> None:
    with pytest.raises(ManifestError) as caught:
        interpolate_for_director(
            load_yaml("azs: ((zones))\nvm_types: [{name: a, cloud_properties: {x: ((type))}}]", "c.yml"), no_values, "cloud"
        )
    assert "must be be switched to use absolute paths: 'type', 'zones'" in str(caught.value)
    document = interpolate_for_director(
        load_yaml("azs: ((/zones))\nvm_types: [{name: a, cloud_properties: {x: ((/type))}}]", "c.yml"),
        {"/zones": [{"name": "z"}]}.__getitem__,
        "cloud",
    )
    assert document.tree == {"azs": [{"name": "z"}], "vm_types": [{"name": "a", "cloud_properties": {"x": "((/type))"}}]}
