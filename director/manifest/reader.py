"""Reads sections of a document by their schema and collects all that is wrong, each with file, line and path.

Source: manifest contract, section 1.1. Two differences, see `docs/decisions`: reading goes on after an error, and unknown keys are told.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from director.diagnostics import Diagnostics, did_you_mean
from director.manifest import schema
from director.manifest.load import Document, Path
from director.manifest.numbers import number_text

INVALID_TYPE, MISSING_FIELD, VIOLATED_MIN, INVALID_VALUE = 40000, 40001, 40002, 40005

ERROR_CUTOFF, HINT_CUTOFF = 0.8, 0.6
"""How much an unknown key must look like a known one to be an error, and to be hinted at in a warning."""

_PLACEHOLDER = re.compile(r"\(\( ?!?([-/.\w]+) ?\)\)")
_SECRET = re.compile(r"pass|secret|key|token|private|credential|cert", re.IGNORECASE)
_EMPTY: Mapping[str, Any] = {"String": "", "Integer": 0, "Boolean": False, "Hash": {}, "Array": [], "Array of String": [], "Any": None}
_RUBY_TYPES = {"Boolean": "boolean", "Array of String": "Array"}


def inspect(value: Any, *, depth: int = 0, secret: bool = False) -> str:
    """A value for an error message, in the reference's style, short; what may be a secret is not shown."""
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        if depth or secret:
            return "{...}" if value else "{}"
        parts = [f'"{key}" => {inspect(item, depth=1, secret=bool(_SECRET.search(str(key))))}' for key, item in list(value.items())[:6]]
        return "{" + ", ".join(parts + (["..."] if len(value) > 6 else [])) + "}"
    if isinstance(value, list):
        return "[...]" if value else "[]"
    if secret:
        return "..."
    text = str(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f'"{text}"' if isinstance(value, str) else text


def unresolved(value: Any) -> str:
    """The name of the first placeholder in a text that was to be something else, or ''."""
    match = _PLACEHOLDER.search(value) if isinstance(value, str) else None
    return match.group(1) if match else ""


@dataclasses.dataclass(frozen=True)
class Fields:
    """A section as read. What is wrong or absent without a default has its type's empty value, so that reading can go on."""

    reader: Reader
    raw: Mapping[Any, Any]
    path: Path
    values: Mapping[str, Any]
    wrong: frozenset[str]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def has(self, key: str) -> bool:
        """The key is written, whatever its value."""
        return key in self.raw

    def good(self, key: str) -> bool:
        """The key is written and its value has the right type."""
        return key in self.raw and key not in self.wrong

    def at(self, *steps: str | int) -> Path:
        return (*self.path, *steps)

    def error(self, key: str | int | tuple[str | int, ...], summary: str, code: int | None = None, suggestion: str = "") -> None:
        steps = key if isinstance(key, tuple) else (key,)
        self.reader.error((*self.path, *steps), summary, code, suggestion)

    def items(self, key: str, section: str, *, required: bool = True) -> Iterator[Fields]:
        """The maps of a list, each read by `section`; what is no map is told and left out."""
        for index, item in enumerate(self.values[key] or ()):
            fields = self.reader.fields(section, item, (*self.path, key, index), required=required)
            if fields is not None:
                yield fields

    def child(self, key: str, section: str, *, required: bool = True) -> Fields | None:
        """The map below `key` read by `section`; None when it is absent or no map."""
        if not self.good(key):
            return None
        return self.reader.fields(section, self.values[key], (*self.path, key), required=required)


class Reader:
    """Reads one document and adds to a report that may be shared by several."""

    def __init__(self, document: Document, report: Diagnostics) -> None:
        self.document = document
        self.report = report

    def error(self, path: Path, summary: str, code: int | None = None, suggestion: str = "") -> None:
        self.report.add(summary, where=self.document.where(path), suggestion=suggestion, code=code)

    def warn(self, path: Path, summary: str, suggestion: str = "") -> None:
        self.report.warn(summary, where=self.document.where(path), suggestion=suggestion)

    def unknown(self, path: Path, summary: str, code: int | None, word: str, candidates: Iterable[str], kind: str) -> None:
        """An error for a name that is not among `candidates`: with the nearest one, else with all when they are few."""
        known = sorted(candidates)
        hint = did_you_mean(word, known)
        if not hint:
            shown = ", ".join(f"'{name}'" for name in known[:8]) + (", ..." if len(known) > 8 else "")
            hint = f"Known {kind}: {shown}." if known else f"There are no {kind}."
        name = unresolved(word)
        self.error(path, summary, code, f"Give variable '{name}' a value." if name else hint)

    def fields(self, name: str, value: Any, path: Path, *, required: bool = True) -> Fields | None:
        """Read a map by the section `name`; None, and an error, when it is none. `required` False: no key must be there."""
        if not isinstance(value, dict):
            placeholder = unresolved(value)
            suggestion = f"Give variable '{placeholder}' a value." if placeholder else f"Expected a map with {_key_words(name)}."
            self.error(path, f"Object ({inspect(value)}) did not match the required type 'Hash'", INVALID_TYPE, suggestion)
            return None
        section = schema.section(name)
        values: dict[str, Any] = {}
        wrong: set[str] = set()
        for key in section.keys.values():
            if key.name in value and not (key.absent and value[key.name] is None):
                if key.deprecated:
                    self.warn((*path, key.name), f"'{key.name}' is deprecated here", key.deprecated)
                values[key.name] = self._value(key, value[key.name], (*path, key.name), wrong)
                continue
            if required and key.required:
                wrong.add(key.name)
                words = key.absent or f"Required property '{key.name}' was not specified in object ({inspect(value)})"
                self.error(path, words.replace("{name}", str(value.get("name"))), MISSING_FIELD, key.about)
            values[key.name] = key.default if key.has_default else _EMPTY[key.type] if key.required else None
        self.unknown_keys(section, value, path)
        return Fields(self, value, path, values, frozenset(wrong))

    def _value(self, key: schema.Key, value: Any, path: Path, wrong: set[str]) -> Any:
        kind = key.type
        if kind == "String" and isinstance(value, (int, float)) and not isinstance(value, bool):
            value = number_text(value)
        elif not _matches(kind, value):
            wrong.add(key.name)
            self._type_error(key, value, path)
            return key.default if key.has_default else _EMPTY[kind]
        if key.minimum is not None and value < key.minimum:
            wrong.add(key.name)
            self.error(
                path,
                f"'{key.name}' value ({value}) should be greater than {key.minimum}",
                VIOLATED_MIN,
                f"The least value is {key.minimum}.",
            )
            return key.minimum
        return value

    def _type_error(self, key: schema.Key, value: Any, path: Path) -> None:
        ruby = _RUBY_TYPES.get(key.type, key.type)
        shown = inspect(value, secret=key.free or bool(_SECRET.search(key.name)))
        placeholder = unresolved(value)
        if placeholder:
            suggestion = f"Give variable '{placeholder}' a value."
        elif value is None:
            suggestion = "Remove the key, or give it a value."
        elif key.type == "Integer" and isinstance(value, str) and value.strip().isdecimal():
            suggestion = f"Write {value.strip()} without quotes."
        elif key.type == "Boolean":
            suggestion = "Write true or false without quotes."
        else:
            suggestion = f"For example: {key.example}" if key.example is not schema.NO_DEFAULT else ""
        self.error(path, f"Property '{key.name}' value ({shown}) did not match the required type '{ruby}'", INVALID_TYPE, suggestion)

    def unknown_keys(self, section: schema.Section, value: Mapping[Any, Any], path: Path) -> None:
        """Keys that nobody reads are errors, but for maps and lists at the top: homes of anchors, and of tools around the manifest."""
        for key in (key for key in value if key not in section.keys):
            word = str(key)
            near = section.near(word, HINT_CUTOFF)
            where = (*path, key) if isinstance(key, (str, int)) else path
            hint = f"Did you mean '{near}'?" if near and near not in value else f"Known keys: {', '.join(section.keys)}."
            misspelt = section.near(word, ERROR_CUTOFF)
            if not path and isinstance(value[key], (dict, list)) and (misspelt is None or misspelt in value):
                self.warn(where, f"Unknown key '{word}' in {section.name} is ignored", hint)
            else:
                self.error(where, f"Unknown key '{word}' in {section.name}", None, hint)

    def strings(self, value: Any, path: Path) -> list[str]:
        """The texts of a list; items that are no text are told and left out (numbers become text)."""
        texts = []
        for index, item in enumerate(value or ()):
            if isinstance(item, (int, float)) and not isinstance(item, bool):
                item = number_text(item)
            if isinstance(item, str):
                texts.append(item)
            else:
                self.error((*path, index), f"Object ({inspect(item)}) did not match the required type 'String'", INVALID_TYPE)
        return texts


def _key_words(name: str) -> str:
    keys = schema.section(name).keys.values()
    words = [key.name for key in keys if key.required] or [key.name for key in keys][:4]
    return ", ".join(words)


def _matches(kind: str, value: Any) -> bool:
    if kind == "Any":
        return True
    if kind == "Integer":
        return isinstance(value, int) and not isinstance(value, bool)
    types: Mapping[str, type] = {"String": str, "Boolean": bool, "Hash": dict, "Array": list, "Array of String": list}
    return isinstance(value, types[kind])
