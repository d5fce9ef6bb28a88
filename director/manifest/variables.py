"""The `variables` of a manifest or runtime config. Source: manifest contract, section 10."""

from __future__ import annotations

import re
from typing import Any

from director.diagnostics import did_you_mean
from director.manifest import model, schema
from director.manifest.load import Path
from director.manifest.reader import HINT_CUTOFF, Reader

INVALID, BAD_NAME, DUPLICATE = 560000, 540004, 190022
KNOWN_TYPES = ("password", "certificate", "rsa", "ssh", "user", "value", "json")
CONSUMERS = ("alternative_name", "common_name")

_CHARS = re.compile(r"[-a-zA-Z0-9_/]+\Z")


def name_problem(name: str) -> str:
    """What forbids a name in a definition (error 540004), or ''."""
    if not _CHARS.match(name):
        return f"Variable name '{name}' must only contain alphanumeric, underscores, dashes, or forward slash characters"
    if name.endswith("/"):
        return f"Variable name '{name}' must not end with a forward slash"
    if "//" in name:
        return f"Variable name '{name}' must not contain two consecutive forward slashes"
    return ""


def read_variables(reader: Reader, value: Any, path: Path, default_mode: str) -> list[model.Variable]:
    """Definitions in listed order. `default_mode` is the update mode of those that have none."""
    made: list[model.Variable] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        variable = _Definition(reader, item, (*path, index)).read(default_mode)
        if variable is None:
            continue
        if variable.name in seen:
            reader.error(
                (*path, index, "name"),
                f"Some of the variables have duplicate names, eg: '{variable.name}'",
                INVALID,
                "Remove one of the two.",
            )
        seen.add(variable.name)
        made.append(variable)
    return made


class _Definition:
    def __init__(self, reader: Reader, raw: Any, path: Path) -> None:
        self.reader, self.raw, self.path = reader, raw, path

    def error(self, key: str, summary: str, suggestion: str = "", code: int = INVALID) -> None:
        self.reader.error((*self.path, key) if key else self.path, summary, code, suggestion)

    def read(self, default_mode: str) -> model.Variable | None:
        raw = self.raw
        if not isinstance(raw, dict):
            self.error("", "All 'variables' elements should be Hashes", "For example: {name: db_password, type: password}")
            return None
        name = self._name()
        if name is None:
            return None
        kind = self._type(name)
        options, consumes, mode = raw.get("options", {}), raw.get("consumes"), raw.get("update_mode", default_mode)
        if not isinstance(options, dict):
            self.error("options", f"options of variable with name '{name}' is not a Hash")
            options = {}
        if not isinstance(mode, str):
            self.error("update_mode", f"Update mode for variable '{name}' must be a String, but was '{mode}'")
            mode = default_mode
        self.reader.unknown_keys(schema.section("variable"), raw, self.path)
        return model.Variable(
            name, kind, options, mode, self._consumes(name, kind, consumes), self._strategy(), self.reader.document.line(self.path),
            self.reader.document.file,
        )

    def _name(self) -> str | None:
        raw = self.raw
        if "name" not in raw:
            near = next((key for key in raw if isinstance(key, str) and schema.section("variable").near(key, HINT_CUTOFF) == "name"), "")
            self.error(
                "", "At least one of the variables is missing the 'name' key; 'name' must be specified", f"Is it '{near}'?" if near else ""
            )
            return None
        name = raw["name"]
        if name is None or name == "":
            self.error("name", "At least one of the variables has an empty 'name'; 'name' must not be empty or nil")
            return None
        name = str(name)
        problem = name_problem(name)
        if problem:
            self.error("name", problem, "In a definition a dot has no meaning; references may follow one." if "." in name else "", BAD_NAME)
        return name

    def _type(self, name: str) -> str:
        if "type" not in self.raw:
            self.error("", f"Type for variable '{name}' is missing; 'type' must be specified", f"One of: {', '.join(KNOWN_TYPES[:5])}.")
            return ""
        kind = self.raw["type"]
        if kind is None:
            self.error("type", f"Type for variable '{name}' is nil; 'type' must not be nil")
        elif not isinstance(kind, str):
            self.error("type", f"Type for variable '{name}' must be a String, but was '{kind}'")
        elif not kind:
            self.error("type", f"Type for variable '{name}' is empty; 'type' must not be empty")
        elif kind not in KNOWN_TYPES:
            hint = did_you_mean(kind, KNOWN_TYPES) or f"Known types: {', '.join(KNOWN_TYPES)}."
            self.reader.error((*self.path, "type"), f"Variable '{name}' has unknown type '{kind}'", INVALID, hint)
        return kind if isinstance(kind, str) else ""

    def _consumes(self, name: str, kind: str, consumes: Any) -> model.Tree:
        if consumes is None:
            return {}
        if not isinstance(consumes, dict):
            self.error("consumes", f"Consumes for variable '{name}' must be a Hash or nil")
            return {}
        if kind != "certificate":
            self.error("consumes", f"Variable '{name}' can not define 'consumes' key for type '{kind}'")
        for key in consumes:
            if key not in CONSUMERS:
                self.error(
                    "consumes",
                    f"Consumer name '{key}' is not a valid consumer for variable '{name}'. "
                    "Acceptable consumer types are: alternative_name, common_name",
                    did_you_mean(str(key), CONSUMERS),
                )
        return consumes

    def _strategy(self) -> str:
        update = self.raw.get("update", {})
        fields = self.reader.fields("variable_update", update, (*self.path, "update"))
        strategy = str(fields["strategy"]) if fields else "on-deploy"
        allowed = schema.section("variable_update").keys["strategy"].one_of
        if strategy not in allowed:
            self.reader.unknown(
                (*self.path, "update", "strategy"), f"Invalid update strategy '{strategy}'", INVALID, strategy, allowed, "strategies"
            )
            return "on-deploy"
        return strategy
