"""CPI, resurrection and deploy configs."""

from __future__ import annotations

import pytest

from director.errors import ManifestError
from director.manifest import configs, model
from director.manifest.load import load_yaml


def test_cpis() -> None:
    text = "cpis: [{name: a, type: aws, properties: {k: v}, migrated_from: [{name: ''}]}, {name: b, type: fake}]"
    cpis = configs.parse_cpi_config([load_yaml(text, "c.yml")])
    assert [(cpi.name, cpi.type, cpi.migrated_from) for cpi in cpis] == [("a", "aws", ("",)), ("b", "fake", ())]
    assert "'v'" not in repr(cpis)
    configs.check_cpis([model.Az("z1", "a")], ["a", "b"])
    configs.check_cpis([model.Az("z1")], ())


def test_cpis_that_are_wrong() -> None:
    with pytest.raises(ManifestError, match="Duplicate cpi name 'a'") as caught:
        configs.parse_cpi_config([load_yaml("cpis: [{name: a, type: x}, {name: b, type: x, migrated_from: [{name: a}]}]", "c.yml")])
    assert caught.value.code == 550000
    with pytest.raises(ManifestError) as caught:
        configs.check_cpis([model.Az("z1"), model.Az("z2", "b")], ["a"])
    assert [item.summary for item in caught.value.diagnostics] == [
        "AZ 'z1' must specify a CPI when CPI config is defined.", "Failed to load CPI for AZ 'z2': CPI 'b' not found in cpi-config",
    ]  # fmt: skip
    with pytest.raises(ManifestError, match="because cpi-config is not set"):
        configs.check_cpis([model.Az("z2", "b")], [])


@pytest.mark.parametrize(("deployment", "group", "answer"), [
    ("cf", "db", False), ("cf", "web", True), ("other", "db", True), ("quiet", "db", False), ("quiet", "web", True),
])  # fmt: skip
def test_resurrection(deployment: str, group: str, answer: bool) -> None:
    rules, report = configs.parse_resurrection_configs([load_yaml(
        "rules:\n- {enabled: false, include: {deployments: [cf], instance_groups: [db]}}\n- {enabled: true}\n"
        "- {enabled: false, include: {deployments: [quiet]}, exclude: {instance_groups: [web]}}\n- {enabled: 'no'}\n- 3\n", "r.yml",
    )])  # fmt: skip
    assert configs.resurrects(rules, deployment, group) is answer
    assert len(report.errors) == 2


@pytest.mark.parametrize(
    ("lists", "flags"), [("", ("fix", "recreate")), ("include: [cf]", ("fix", "recreate")), ("include: [x]", ()), ("exclude: [cf]", ())]
)
def test_deploy_flags(lists: str, flags: tuple[str, ...]) -> None:
    assert configs.deploy_flags(load_yaml(f"flags: [fix, recreate, none]\n{lists}", "d.yml"), "cf") == flags


def test_a_deploy_config_with_both_lists() -> None:
    with pytest.raises(ManifestError, match="both 'include' and 'exclude'"):
        configs.deploy_flags(load_yaml("flags: []\ninclude: []\nexclude: []", "d.yml"), "cf")
