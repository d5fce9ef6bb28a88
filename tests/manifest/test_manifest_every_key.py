"""Every key of every section: a wrong type, null, absence and too small a number are told with code, line and path."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from manifest_cases import RELEASES, STEMCELLS, cases

from director.diagnostics import Diagnostic
from director.errors import ManifestError
from director.manifest import config_check, schema
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.dump import dump
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest

DATA = cases("every_key")
WRONG: dict[str, Any] = {
    "String": [["a"], {"a": 1}, None, True], "Integer": ["2", 1.5, True, None], "Boolean": ["true", 1, None], "Hash": [["a"], "a", None],
    "Array": [{"a": 1}, "a", None], "Array of String": [{"a": 1}, "a", None],
}
# What the reference reads without a type, or answers in its own words; `...` stands for lists and maps. None: right.
OTHERWISE = {
    ("instance_group", "jobs", None): 40001,
    ("variable", "update", None): 40000, ("variable", "update", "a"): 40000, ("variable", "update", ...): 40000,
    ("variable", "name", True): None, ("variable", "name", ...): 540004, ("variable", "consumes", None): None,
}


def keys() -> Iterator[tuple[str, schema.Key]]:
    for name in schema.sections():
        for key in schema.section(name).keys.values():
            yield name, key


def told(document: str, tree: Any) -> tuple[Diagnostic, ...]:
    """All that is said of the documents, one of them changed."""
    trees = {**DATA["documents"], document: tree}
    loaded = {name: load_yaml(dump(item), f"{name}.yml") for name, item in trees.items()}
    if document in ("cpi_config", "resurrection_config", "deploy_config"):
        return config_check.problems(document.removesuffix("_config"), [loaded[document]])
    try:
        cloud = parse_cloud_config([loaded["cloud_config"]])
        parse_manifest(
            loaded["manifest"], cloud, runtime_configs=[loaded["runtime_config"]], releases=RELEASES, stemcells=STEMCELLS)
    except ManifestError as error:
        return error.diagnostics
    return ()


def changed(section: str, key: str, value: Any) -> tuple[str, Any, str]:
    """The document's name, its tree with the key set (or, for `...`, removed), and the path at which errors are to be told."""
    place = DATA["places"][section]
    tree = copy.deepcopy(DATA["documents"][place["document"]])
    node = tree
    for step in place["path"]:
        node = node[step]
    if value is ...:
        node.pop(key, None)
    else:
        node[key] = value
    return place["document"], tree, key


def test_the_documents_are_right_and_every_section_has_its_place() -> None:
    assert sorted(DATA["places"]) == schema.sections()
    for name, tree in DATA["documents"].items():
        assert told(name, tree) == (), name


@pytest.mark.parametrize(("section", "key"), list(keys()), ids=lambda item: item if isinstance(item, str) else item.name)
def test_values_of_wrong_types(section: str, key: schema.Key) -> None:
    for value in WRONG.get(key.type, ()):
        document, tree, word = changed(section, key.name, value)
        found = told(document, tree)
        simple = ... if isinstance(value, (list, dict)) else value
        code = OTHERWISE.get((section, key.name, simple), DATA["places"][section].get("code", 40000))
        if code is None:
            assert found == ()
            continue
        fitting = [item for item in found if item.code == code and item.where and item.where.line and _names(item, word)]
        assert fitting, f"{section}.{key.name}: {value!r} gives {[(item.code, item.sentence) for item in found]}"


def _names(item: Diagnostic, word: str) -> bool:
    return f"'{word}'" in item.summary or bool(item.where and word in item.where.path) or f"{word} key" in item.summary


@pytest.mark.parametrize(("section", "key"), [item for item in keys() if item[1].required], ids=lambda item: getattr(item, "name", item))
def test_what_is_required(section: str, key: schema.Key) -> None:
    document, tree, word = changed(section, key.name, ...)
    code = {"stemcells": 190019}.get(word, 560000 if section == "variable" else 40001)
    found = [item for item in told(document, tree) if item.code == code and word in item.summary and (item.where or section == "manifest")]
    assert found, f"{section}.{key.name} absent gives {[item.sentence for item in told(document, tree)]}"


@pytest.mark.parametrize(("section", "key"), [item for item in keys() if item[1].minimum], ids=lambda item: getattr(item, "name", item))
def test_what_is_too_small(section: str, key: schema.Key) -> None:
    assert key.minimum is not None
    document, tree, _ = changed(section, key.name, key.minimum - 1)
    assert f"'{key.name}' value ({key.minimum - 1}) should be greater than {key.minimum}" in [item.summary for item in told(document, tree)]


@pytest.mark.parametrize("section", schema.sections())
def test_a_key_that_nobody_reads(section: str) -> None:
    document, tree, _ = changed(section, "zzzz", "x")
    (found,) = [item for item in told(document, tree) if "'zzzz'" in item.summary]
    assert found.where
    assert found.where.line
    assert "Known keys: " in found.suggestion
