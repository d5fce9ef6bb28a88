"""Cloud properties explained, from the schema that checks them: as an annotated example, and as data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from cpis.cloud.schema import Key, Schema

# Section of a schema -> what it is called where it is written, what is said of it, and the key it stands below there.
TITLES: Mapping[str, tuple[str, str, str]] = {
    "cpi": ("cpi_config", "What an entry of the CPI config takes as properties.", "properties"),
    "az": ("azs", "Cloud properties of an availability zone. They are merged under those of a machine's vm_type.", "cloud_properties"),
    "network": ("networks", "Cloud properties of a subnet, of a dynamic network, or of a vip network.", "cloud_properties"),
    "vm_type": ("vm_types", "Cloud properties of a machine, in vm_types and vm_extensions alike.", "cloud_properties"),
    "disk_type": ("disk_types", "Cloud properties of a persistent disk.", "cloud_properties"),
    "stemcell": ("stemcells", "Cloud properties in the manifest of a stemcell.", "cloud_properties"),
}
_ALSO = {"vm_extensions": "vm_type", "vm_extension": "vm_type", "subnets": "network", "properties": "cpi", "config": "cpi", "cpis": "cpi"}
_WIDTH = 100


def section_of(word: str) -> str | None:
    """The section that a person means with `vm_types`, `vm-type` or `vm_extensions`."""
    word = word.lower().replace("-", "_")
    if word in TITLES:
        return word
    return _ALSO.get(word) or next((name for name, (title, _, _) in TITLES.items() if title == word), None)


def words() -> list[str]:
    """All names that `section_of` knows."""
    return sorted({*TITLES, *_ALSO, *(title for title, _, _ in TITLES.values())})


def describe(schema: Schema, section: str) -> str:
    """The section as YAML with comments, of which the whole is an example."""
    title, about, parent = TITLES[section]
    keys = schema.sections[section]
    lines = [f"# {schema.cloud}: {title}", *(f"# {line}" for line in textwrap.wrap(about, _WIDTH)), ""]
    if not keys:
        return "\n".join([*lines, f"{parent}: {{}}  # takes no keys", ""])
    return "\n".join([*lines, f"{parent}:", *_lines(keys, "  ")]) + "\n"


def _lines(keys: tuple[Key, ...], indent: str) -> Iterator[str]:
    for number, key in enumerate(keys):
        if number:
            yield ""
        for text in filter(None, (key.description, f"Note: {key.note}." if key.note else "")):
            yield from (f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH - len(indent)))
        inner = key.keys or (key.items.keys if key.items else ())
        value = "" if inner else f" {_shown(_example(key))}"
        yield f"{indent}{key.name}:{value}  # {'; '.join(_notes(key))}"
        if inner and key.keys:
            yield from _lines(inner, f"{indent}  ")
        elif inner:
            begun = False
            for line in _lines(inner, f"{indent}    "):
                is_key = bool(line.strip()) and not line.lstrip().startswith("#")
                yield f"{indent}  - {line.strip()}" if is_key and not begun else line
                begun = begun or is_key


def _notes(key: Key) -> Iterator[str]:
    items = f" of {' or '.join(key.items.types)}" if key.items else ""
    yield " or ".join(f"{kind}{items}" if kind == "list" else kind for kind in key.types)
    if key.required:
        yield "required"
    if key.secret:
        yield "secret"
    if key.default is not None:
        yield f"default {_shown(key.default)}"
    if key.values:
        yield f"one of {', '.join(map(str, key.values))}"
    if key.open:
        yield "any keys"


def _example(key: Key) -> Any:
    if key.example is not None:
        return key.example
    if key.default is not None:
        return key.default
    if key.values:
        return key.values[0]
    empty: dict[str, Any] = {"string": "...", "integer": 1, "number": 1.0, "boolean": True, "list": [], "hash": {}, "any": "..."}
    return empty[key.types[0]]


def _shown(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False).strip()
    return text.removesuffix("...").strip() if text.endswith("\n...") else text


HEADER = ("Key", "Type", "Required", "Secret", "Default", "Values", "Example", "Description", "Note")
"""Titles of the columns of `rows`."""


def rows(schema: Schema, section: str) -> list[tuple[Any, ...]]:
    """A row for each key, inner ones with their path (`ephemeral_disk.size`, `advertised_routes[].table_id`)."""
    return [row for key in schema.sections[section] for row in _rows(key, key.name)]


def _rows(key: Key, path: str) -> Iterator[tuple[Any, ...]]:
    def text(value: Any) -> str:
        return "" if value is None else _shown(value)

    yield (
        path, " or ".join(key.types), key.required, key.secret, text(key.default), ", ".join(map(str, key.values)), text(key.example),
        key.description, key.note,
    )
    for inner in key.keys:
        yield from _rows(inner, f"{path}.{inner.name}")
    for inner in key.items.keys if key.items else ():
        yield from _rows(inner, f"{path}[].{inner.name}")
