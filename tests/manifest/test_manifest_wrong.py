"""Everything that can be wrong in a manifest, a cloud config or a runtime config is told, with its code and its place."""

from __future__ import annotations

from typing import Any

import pytest
from manifest_cases import Base, cases, changed

from director.diagnostics import Diagnostic
from director.errors import ManifestError
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest


@pytest.mark.parametrize("case", cases("wrong"), ids=lambda case: case["what"])
def test_wrong_input_is_told(base: Base, case: dict[str, Any]) -> None:
    with pytest.raises(ManifestError) as caught:
        base.manifest(case.get("ops", ()), cloud_ops=case.get("cloud_ops", ()), runtime=case.get("runtime", ()))
    assert [item for item in caught.value.diagnostics if _fits(item, case)], str(caught.value)
    if case["what"] != "no name":
        assert all(item.where and item.where.file and item.where.line for item in caught.value.diagnostics), str(caught.value)


def _fits(item: Diagnostic, case: dict[str, Any]) -> bool:
    return case.get("text", "") in item.summary and case.get("hint", "") in item.suggestion and case.get("code", item.code) == item.code


@pytest.mark.parametrize(("text", "message"), [
    ("", "Manifest should not be empty"), ("- a", "Manifest should be a hash"), ("x", "Manifest should be a hash"),
    ("instance_groups: []", "must have a 'name' key"),
])  # fmt: skip
def test_what_is_no_manifest(base: Base, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_manifest(load_yaml(text, "m.yml"), base.cloud())


def test_the_base_is_right(base: Base) -> None:
    assert base.manifest().warnings == ()


def test_all_errors_are_told_at_once(base: Base) -> None:
    group = {"name": "g", "instances": "1", "vm_type": "no", "stemcell": "no", "azs": ["z9"], "networks": [{"name": "no"}],
             "jobs": [{"name": "no", "release": "no"}]}  # fmt: skip
    groups = [{**group, "name": f"g{index}"} for index in range(34)]
    with pytest.raises(ManifestError) as caught:
        base.manifest([{"type": "replace", "path": "/instance_groups", "value": groups}])
    assert len(caught.value.diagnostics) == 34 * 6


def test_a_place_names_file_line_and_path(base: Base) -> None:
    document = load_yaml("name: x\nupdate:\n  canaries: 1\n  max_in_flight: 1\n  canary_watch_time: 1\n  update_watch_time: x\n"
                         "releases: []\nstemcells: [{alias: a, os: b, version: 1}]\n", "my.yml")  # fmt: skip
    with pytest.raises(ManifestError) as caught:
        parse_manifest(document, base.cloud())
    (only,) = caught.value.diagnostics
    assert str(only.where) == "my.yml:6 update/update_watch_time"


def test_a_key_that_is_like_none_is_only_a_warning(base: Base) -> None:
    manifest = base.manifest([{"type": "replace", "path": "/meta?", "value": {"a": 1}}])
    assert [item.summary for item in manifest.warnings] == ["Unknown key 'meta' in manifest is ignored"]


def test_row_36_two_cloud_configs_with_compilation(base: Base) -> None:
    documents = [load_yaml("networks: [{name: a, type: dynamic}]\ncompilation: {workers: 1, network: a}\n", "a.yml"),
                 load_yaml("compilation: {workers: 1, network: a}\n", "b.yml")]  # fmt: skip
    with pytest.raises(ManifestError, match="'compilation' key cannot be defined in multiple cloud configs") as caught:
        parse_cloud_config(documents)
    assert caught.value.code == 570000


def test_row_37_a_range_is_expanded_whole(base: Base) -> None:
    with pytest.raises(ManifestError) as caught:
        base.manifest([{"type": "replace", "path": "/instance_groups/name=db/networks/0/static_ips", "value": ["10.0.0.0/30"]}])
    assert "allocated 4 static IPs" in str(caught.value)


def test_secrets_do_not_appear_in_errors(base: Base) -> None:
    with pytest.raises(ManifestError) as caught:
        base.manifest([{"type": "replace", "path": "/instance_groups/name=web/jobs/0/properties", "value": "hunter2"}])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("others", "taken"), [(["web-shop"], ""), (["Web_Shop"], "Web_Shop"), (["x", "WEB-SHOP"], "WEB-SHOP")])
def test_two_deployments_with_the_same_name_in_dns(base: Base, others: list[str], taken: str) -> None:
    document = changed(base.tree["manifest"], [], "manifest.yml")
    if not taken:
        parse_manifest(document, base.cloud(), deployments=others)
        return
    with pytest.raises(ManifestError) as caught:
        parse_manifest(document, base.cloud(), deployments=others)
    (only,) = caught.value.diagnostics
    assert (only.code, only.summary) == (190009, f"Invalid deployment name 'web-shop', canonical name already taken ('{taken}')")
