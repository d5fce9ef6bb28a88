"""Cloud properties by schema: what each key means, checked all at once. A cloud's is `cpis/<cloud>/schema.yml`:

    <section>:                cpi, az, network, vm_type, disk_type, stemcell
      <key>:
        type:        string, integer, number, boolean, list, hash, any; or a list of them
        description: one sentence
        default, example, note, values, required, secret: as the words say
        keys:        the keys of a hash, in the same form        items: the form of a list's items        open: any keys
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import yaml

from cpis.contract import Invalid, Properties

SECTIONS = ("cpi", "az", "network", "vm_type", "disk_type", "stemcell")
OURS = ("director", "state_dir")
"""Keys that a director adds to the configuration of a CPI."""

_WORDS = {
    "cpi": "the CPI config", "az": "cloud properties of an AZ", "network": "cloud properties of a network",
    "vm_type": "cloud properties of a machine", "disk_type": "cloud properties of a disk", "stemcell": "cloud properties of a stemcell",
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "list": (list, tuple), "hash": (dict,),
    "any": (object,),
}
_WITH_ARTICLE = {"integer": "an integer"}
_PLACEHOLDER = re.compile(r"\(\(.+\)\)")


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of cloud properties. `types` are those it may have; `keys` those of a hash; `items` the form of a list's items."""

    name: str
    types: tuple[str, ...]
    description: str = ""
    default: Any = None
    example: Any = None
    note: str = ""
    values: tuple[Any, ...] = ()
    required: bool = False
    secret: bool = False
    keys: tuple[Key, ...] = ()
    items: Key | None = None
    open: bool = False

    @classmethod
    def read(cls, name: str, entry: Mapping[str, Any]) -> Key:
        """Raises ValueError for an entry that is none."""
        unknown = set(entry) - {field.name for field in dataclasses.fields(cls)} - {"type"}
        if unknown:
            raise ValueError(f"schema of '{name}': unknown {sorted(unknown)}")
        types = entry.get("type", "any")
        types = (types,) if isinstance(types, str) else tuple(types)
        if not set(types) <= set(_TYPES):
            raise ValueError(f"schema of '{name}': unknown type in {types}")
        inner = tuple(cls.read(key, value) for key, value in entry.get("keys", {}).items())
        items = cls.read("item", entry["items"]) if "items" in entry else None
        rest = {key: entry[key] for key in ("description", "default", "example", "note", "required", "secret", "open") if key in entry}
        return cls(name, types, keys=inner, items=items, values=tuple(entry.get("values", ())), **rest)

    def wrongs(self, value: Any, path: str, *, templated: bool = False) -> Iterator[tuple[str, str]]:
        """What is wrong with a value (and what to do), at its path."""
        if templated and isinstance(value, str) and _PLACEHOLDER.fullmatch(value):
            return
        if not any(_is(value, kind) for kind in self.types):
            wanted = " or ".join(_WITH_ARTICLE.get(kind, f"a {kind}") for kind in self.types)
            yield f"'{path}' must be {wanted}, not {_shown(value, self)}", ""
            return
        if self.values and value not in self.values:
            known = [str(item) for item in self.values]
            yield f"'{path}' must be one of {', '.join(known)}, not {_shown(value, self)}", _nearest(str(value), known)
        if isinstance(value, Mapping) and (self.keys or not self.open) and "hash" in self.types:
            yield from wrongs_of(self.keys, value, f"{path}.", open_=self.open, templated=templated)
        if isinstance(value, list | tuple) and self.items is not None:
            for number, item in enumerate(value):
                yield from self.items.wrongs(item, f"{path}[{number}]", templated=templated)


def wrongs_of(
    keys: tuple[Key, ...], properties: Mapping[Any, Any], prefix: str = "", *, open_: bool = False, templated: bool = False,
) -> Iterator[tuple[str, str]]:
    """All that is wrong with a hash, with a suggestion each."""
    known = {key.name: key for key in keys}
    for name, value in properties.items():
        if name in known:
            if value is not None:
                yield from known[name].wrongs(value, f"{prefix}{name}", templated=templated)
        elif not open_:
            yield f"unknown key '{prefix}{name}'", _nearest(str(name), known)
    for key in keys:
        if key.required and properties.get(key.name) is None:
            yield f"'{prefix}{key.name}' is missing", f"{prefix}{key.name}: {key.description}"


@functools.cache
def clouds() -> tuple[str, ...]:
    """The clouds that have a schema, sorted."""
    return tuple(sorted(item.name for item in resources.files("cpis").iterdir() if (item / "schema.yml").is_file()))


class Schema:
    """The cloud properties of one cloud, by section."""

    def __init__(self, cloud: str, sections: Mapping[str, tuple[Key, ...]]) -> None:
        self.cloud = cloud
        self.sections = sections

    @staticmethod
    @functools.cache
    def of(cloud: str) -> Schema:
        """Raises Invalid when there is no schema for that cloud."""
        file = resources.files("cpis") / cloud / "schema.yml"
        if not cloud.isidentifier() or not file.is_file():
            raise Invalid(f"there is no schema of cloud properties for '{cloud}'")
        return Schema.read(cloud, file.read_text())

    @staticmethod
    def read(cloud: str, text: str) -> Schema:
        """Raises ValueError for a text that is no schema."""
        document = yaml.safe_load(text)
        if set(document) - set(SECTIONS):
            raise ValueError(f"schema of {cloud}: unknown sections {sorted(set(document) - set(SECTIONS))}")
        sections = {name: tuple(Key.read(key, entry) for key, entry in (document.get(name) or {}).items()) for name in SECTIONS}
        return Schema(cloud, sections)

    def check(self, section: str, properties: Properties, *, templated: bool = False) -> dict[str, Any]:
        """The properties without nulls and with the defaults. Raises Invalid with everything that is wrong.

        A machine's may have the keys of an AZ, since the director merges those under its own. A CPI config's may have what directors add.
        In `templated` properties a `((placeholder))` may stand for any value.
        """
        keys = self.sections[section]
        if section == "vm_type":
            own = {key.name for key in keys}
            keys = (*keys, *(dataclasses.replace(key, required=False) for key in self.sections["az"] if key.name not in own))
        ours = OURS if section == "cpi" else ()
        given = {key: value for key, value in properties.items() if key not in ours}
        found = list(wrongs_of(keys, given, templated=templated))
        if found:
            suggestions = dict.fromkeys(suggestion for _, suggestion in found if suggestion)
            raise Invalid(
                f"{_WORDS[section]} ({self.cloud}): {'; '.join(wrong for wrong, _ in found)}",
                suggestion=" ".join([*suggestions, f"`caisson docs cpi/{self.cloud} {section}s` explains all keys."]))
        defaults = {key.name: key.default for key in keys if key.default is not None}
        return {**defaults, **{key: value for key, value in properties.items() if value is not None}}

    def secrets(self, config: Properties) -> tuple[str, ...]:
        """The secret values of a CPI config, for redaction."""
        return tuple(_secrets(self.sections["cpi"], config))


def _secrets(keys: tuple[Key, ...], config: Mapping[str, Any]) -> Iterator[str]:
    for key in keys:
        value = config.get(key.name)
        if key.secret and isinstance(value, str):
            yield value
        elif key.secret and isinstance(value, Mapping):
            yield from (str(item) for item in value.values())
        elif key.keys and isinstance(value, Mapping):
            yield from _secrets(key.keys, value)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind in ("boolean", "any")
    if kind == "hash":
        return isinstance(value, Mapping)
    return isinstance(value, _TYPES[kind])


def _shown(value: Any, key: Key) -> str:
    if key.secret:
        return "what it is"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    names = sorted(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"Did you mean '{found[0]}'?" if found else f"known: {', '.join(names)}." if names else ""
