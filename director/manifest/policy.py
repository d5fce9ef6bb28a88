"""Update policy and features. Source: manifest contract, sections 6 and 7."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from director.manifest import model, schema
from director.manifest.load import Path
from director.manifest.reader import INVALID_TYPE, INVALID_VALUE, Fields, Reader, inspect

_WATCH = re.compile(r"\s*(\d{1,15})\s*(?:-\s*(\d{1,15})\s*)?\Z")
_COUNT = re.compile(r"[+-]?\d{1,9}\s*\Z|\d{1,9}%\s*\Z")


def read_update(fields: Fields | None, inherited: model.UpdatePolicy, *, vm_strategy: str = "") -> model.UpdatePolicy:
    """An `update` block over what it inherits; `vm_strategy` is the director's default for the top level."""
    if vm_strategy:
        inherited = dataclasses.replace(inherited, vm_strategy=vm_strategy)
    if fields is None:
        return inherited
    found: dict[str, Any] = {}
    for key in ("canaries", "max_in_flight"):
        if fields.good(key):
            text = found[key] = fields[key]
            if not _COUNT.match(text):
                fields.error(key, f"{key} '{text}' cannot be calculated", INVALID_VALUE, "Write a number or N%.")
    for key in ("canary_watch_time", "update_watch_time"):
        if fields.good(key):
            found[key] = _watch_time(fields, key)
    if fields.good("serial"):
        found["serial"] = fields["serial"]
    for key, text in (
        ("vm_strategy", "valid strategies are: create-swap-delete, delete-create"),
        ("initial_deploy_az_update_strategy", "valid strategies are: 'parallel, serial'"),
    ):
        if fields.good(key):
            found[key] = value = fields[key]
            allowed = schema.section("update").keys[key].one_of
            if value not in allowed:
                fields.reader.unknown(fields.at(key), f"Invalid {key} '{value}', {text}", INVALID_VALUE, value, allowed, "values")
    return dataclasses.replace(inherited, **found)


def _watch_time(fields: Fields, key: str) -> model.WatchTime:
    match = _WATCH.match(fields[key])
    if match is None:
        fields.error(key, "Watch time should be an integer or a range of two integers", 180001, "Milliseconds, for example: 1000-30000")
        return model.WatchTime(0, 0)
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        fields.error(key, "Min watch time cannot be greater than max watch time", 180001, f"Write {last}-{first}?")
    return model.WatchTime(first, last)


def read_features(reader: Reader, value: Any, path: Path) -> model.Features:
    """The `features` block; unknown features are a warning, or an error when a known one is near."""
    if not isinstance(value, dict):
        reader.error(path, f"Key 'features' expects a Hash, but received '{_ruby_class(value)}'", 560001)
        return model.Features()
    section = schema.section("features")
    found: dict[str, bool] = {}
    for key in section.keys.values():
        if key.name not in value:
            continue
        given = value[key.name]
        if isinstance(given, bool):
            found[key.name] = given
        else:
            reader.error(
                (*path, key.name),
                f"Key '{key.name}' in 'features' expected to be a boolean, but received '{_ruby_class(given)}'",
                560001,
                "Write true or false without quotes.",
            )
    reader.unknown_keys(section, value, path)
    if found.get("use_link_dns_names"):
        for name in ("use_dns_addresses", "use_short_dns_addresses"):
            if found.get(name) is False:
                reader.error(
                    (*path, "use_link_dns_names"),
                    f"cannot enable `use_link_dns_names` when `{name}` is explicitly disabled",
                    210001,
                    f"Remove {name}, or set it to true.",
                )
    return model.Features(**found)


def _ruby_class(value: Any) -> str:
    names: dict[type, str] = {
        type(None): "NilClass",
        str: "String",
        int: "Integer",
        float: "Float",
        dict: "Hash",
        list: "Array",
        bool: "Boolean",
    }
    return names.get(type(value), type(value).__name__)


def check_text_map(reader: Reader, value: Any, path: Path, name: str) -> model.Tree:
    """A free map such as `tags`, or an empty one and an error."""
    if isinstance(value, dict):
        return value
    reader.error(path, f"Property '{name}' value ({inspect(value)}) did not match the required type 'Hash'", INVALID_TYPE)
    return {}
