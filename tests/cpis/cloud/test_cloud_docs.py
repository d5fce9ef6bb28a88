"""Cloud properties as they are explained: every key of every cloud, in YAML that is an example."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from cpis.cloud import docs
from cpis.cloud.schema import Schema, clouds
from cpis.local import images
from cpis.local.properties import VmProperties

TEXT = """
vm_type:
  instance_type: {type: string, required: true, description: The size., example: m5.large}
  count: {type: [integer, string], default: 2, values: [1, 2], note: not in BOSH's CPI}
  password: {type: string, secret: true}
  disk: {type: hash, description: A disk., keys: {size: {type: integer, description: MiB.}}}
  routes: {type: list, items: {type: hash, keys: {table: {type: string, description: The table.}, to: {type: string}}}}
  tags: {type: hash, open: true, example: {team: '42'}}
"""


def test_a_section_is_an_example_with_comments() -> None:
    text = docs.describe(Schema.read("test", TEXT), "vm_type")
    assert yaml.safe_load(text) == {"cloud_properties": {
        "instance_type": "m5.large", "count": 2, "password": "...", "disk": {"size": 1}, "routes": [{"table": "...", "to": "..."}],
        "tags": {"team": "42"}}}
    assert "  # The size.\n  instance_type: m5.large  # string; required\n" in text
    assert "  # Note: not in BOSH's CPI.\n  count: 2  # integer or string; default 2; one of 1, 2\n" in text
    assert "password: '...'  # string; secret" in text
    assert "  tags: {team: '42'}  # hash; any keys" in text


def test_rows_name_inner_keys_by_their_path() -> None:
    found = {row[0]: row for row in docs.rows(Schema.read("test", TEXT), "vm_type")}
    assert list(found) == ["instance_type", "count", "password", "disk", "disk.size", "routes", "routes[].table", "routes[].to", "tags"]
    assert all(len(row) == len(docs.HEADER) for row in found.values())
    assert found["instance_type"][2] is True


@pytest.mark.parametrize(("word", "section"), [
    ("vm_types", "vm_type"), ("vm-type", "vm_type"), ("vm_extensions", "vm_type"), ("cpi_config", "cpi"), ("azs", "az"),
    ("disk_types", "disk_type"), ("networks", "network"), ("stemcells", "stemcell"), ("cpis", "cpi"), ("machines", None),
])
def test_parts_are_known_by_all_their_names(word: str, section: str | None) -> None:
    assert docs.section_of(word) == section


@pytest.mark.parametrize("cloud", clouds())
def test_every_key_of_every_cloud_is_explained(cloud: str) -> None:
    schema = Schema.of(cloud)
    for section, keys in schema.sections.items():
        document = yaml.safe_load(docs.describe(schema, section))
        assert set(document[docs.TITLES[section][2]]) == {key.name for key in keys}
        assert [row[0] for row in docs.rows(schema, section) if not row[7]] == [], "keys without a description"


@pytest.mark.parametrize("cloud", clouds())
def test_examples_are_such_that_the_schema_takes_them(cloud: str) -> None:
    schema = Schema.of(cloud)
    for section, keys in schema.sections.items():
        examples = {key.name: key.example for key in keys if key.example is not None}
        shown = yaml.safe_load(docs.describe(schema, section))[docs.TITLES[section][2]]
        required = {key.name: shown[key.name] for key in keys if key.required}
        schema.check(section, {**required, **examples})


def test_what_is_said_of_this_computer_is_what_its_code_reads() -> None:
    schema = Schema.of("local")
    assert {key.name for key in schema.sections["vm_type"]} == {field.name for field in dataclasses.fields(VmProperties)}
    (recipe,) = schema.sections["stemcell"]
    assert {key.name for key in recipe.keys} == {*images._KEYS, "extends"}
    assert recipe.default == images.DEFAULT_RECIPE
    assert schema.sections["cpi"][0].default == str(images.DEFAULT_CACHE)
