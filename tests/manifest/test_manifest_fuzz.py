"""Wrong types everywhere: a diagnostic, never a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_cases import RELEASES, STEMCELLS, Base, cases

from director.errors import ManifestError
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.configs import deploy_flags, parse_cpi_config, parse_resurrection_configs
from director.manifest.diff import diff
from director.manifest.dump import dump
from director.manifest.late import interpolate_for_director
from director.manifest.load import Document, load_yaml
from director.manifest.parse import parse_manifest

RICH = {
    "features": {"use_dns_addresses": True}, "tags": {"a": 1}, "properties": {"a": 1},
    "addons": [{"name": "a", "jobs": [{"name": "other", "release": "nginx", "properties": {}}], "properties": {}, "include": {
        "stemcell": [{"os": "x"}], "deployments": [], "jobs": [{"name": "a", "release": "b"}], "instance_groups": ["web"],
        "networks": ["default"], "teams": ["t"], "azs": ["z1"], "lifecycle": "service"}, "exclude": {}}],
}  # fmt: skip
RICH_GROUP = {
    "name": "rich", "lifecycle": "errand", "instances": 1, "azs": ["z1"], "vm_resources": {"cpu": 1, "ram": 1, "ephemeral_disk_size": 1},
    "vm_extensions": ["lb"], "stemcell": "default", "env": {"bosh": {}}, "tags": {}, "state": "started",
    "instance_states": {"0": "stopped"},
    "networks": [{"name": "default", "static_ips": ["10.0.0.12"], "default": ["dns", "gateway"], "nic_group": 1}, {"name": "public"}],
    "persistent_disks": [{"name": "d", "type": "1GB"}], "update": {"serial": False}, "migrated_from": [{"name": "old", "az": "z1"}],
    "properties": {}, "jobs": [{"name": "nginx", "release": "nginx", "properties": {}, "consumes": {"l": {"from": "x"}},
                                "provides": {"l": "nil"},
                                "custom_provider_definitions": [{"name": "c", "type": "t", "properties": ["p"]}]}],
}  # fmt: skip
odd = st.sampled_from(
    [
        None,
        True,
        1,
        -1,
        1.5,
        "",
        "x",
        "((x))",
        "nil",
        [],
        [[]],
        [None],
        [1],
        ["x"],
        [{}],
        {},
        {"a": None},
        {1: 2},
        {None: {}},
        10**30,
        "1-2",
        "\n",
    ]
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    made = dict(tree) if isinstance(tree, dict) else list(tree)
    made[path[0]] = put(tree[path[0]], path[1:], value)
    return made


def whole() -> dict[str, Any]:
    base = cases("base")
    manifest = {**base["manifest"], **RICH}
    manifest["instance_groups"] = [*manifest["instance_groups"], RICH_GROUP]
    runtime = {"releases": [{"name": "syslog", "version": "1"}], "tags": {}, "variables": [{"name": "v", "type": "certificate",
               "options": {},
               "consumes": {"common_name": {"from": "l"}}, "update": {"strategy": "on-deploy"}}],
               "addons": [{"name": "a", "jobs": [{"name": "syslog", "release": "syslog"}]}]}  # fmt: skip
    return {"manifest": manifest, "cloud": base["cloud"], "runtime": runtime}


WHOLE = whole()
PLACES = [path for path in places(WHOLE) if len(path) > 0]


def test_the_whole_is_right(base: Base) -> None:
    manifest = parse_manifest(
        Document(WHOLE["manifest"]), base.cloud(), runtime_configs=[Document(WHOLE["runtime"])], releases=RELEASES, stemcells=STEMCELLS
    )
    assert [group.name for group in manifest.instance_groups] == ["web", "db", "rich"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), odd), min_size=1, max_size=3))
def test_wrong_types_are_told(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    tree: Any = WHOLE
    for path, value in changes:
        with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change took the place away
            tree = put(tree, path, value)
    documents = {name: Document(tree[name], f"{name}.yml") for name in WHOLE}
    with contextlib.suppress(ManifestError):
        cloud = parse_cloud_config([documents["cloud"]])
        parse_manifest(documents["manifest"], cloud, runtime_configs=[documents["runtime"]], releases=RELEASES, stemcells=STEMCELLS)
    with contextlib.suppress(ManifestError):
        interpolate_for_director(documents["manifest"], {}.__getitem__)
    diff([Document(WHOLE["manifest"])], [documents["manifest"], documents["cloud"]], redact=True)


@settings(max_examples=100, deadline=None)
@given(odd, odd, odd)
def test_other_configs(top: Any, list_: Any, item: Any) -> None:
    for tree in (top, {"cpis": list_, "rules": list_, "flags": list_}, {"cpis": [item], "rules": [item], "flags": [item], "include": item}):
        parse_resurrection_configs([Document(tree)])
        with contextlib.suppress(ManifestError):
            parse_cpi_config([Document(tree)])
        with contextlib.suppress(ManifestError):
            deploy_flags(Document(tree), "x")


@pytest.mark.parametrize("text", ["[" * 150 + "]" * 150, "{b: " * 150 + "1" + "}" * 150])
def test_deep_values(base: Base, text: str) -> None:
    tree = {**WHOLE["manifest"], "properties": {"p": load_yaml(text, "t").tree}}
    document = interpolate_for_director(load_yaml(dump(tree), "m"), {}.__getitem__)
    assert parse_manifest(document, base.cloud(), releases=RELEASES, stemcells=STEMCELLS)


@pytest.mark.parametrize("path", [
    "/update/canaries", "/update/max_in_flight", "/update/canary_watch_time", "/update/update_watch_time",
    "/instance_groups/0/networks/0/nic_group?",
])  # fmt: skip
def test_numbers_of_thousands_of_digits(base: Base, path: str) -> None:
    with pytest.raises(ManifestError):
        base.manifest([{"type": "replace", "path": path, "value": "9" * 5000}])
