"""Job properties: what the job declares, from what the manifest gives. Source: release contract, section 16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from director.diagnostics import Diagnostics, Where
from director.release.model import JobSpec

_MISSING = object()


class NotAHash(Exception):
    """Something other than a map stands where a dotted name goes on."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f"Property '{name}' expects a hash, but received '{kind}'")


def bind(job: JobSpec, given: Mapping[str, Any], report: Diagnostics, where: Where) -> dict[str, Any]:
    """The properties the templates see: declared ones only, defaults for missing or null, maps sorted by key. Placeholders stay."""
    bound: dict[str, Any] = {}
    for spec in job.properties:
        try:
            value = lookup(given, spec.name)
        except NotAHash as error:
            report.add(str(error), where=where, detail=f"in job '{job.name}' of release '{job.release}'")
            continue
        _set(bound, spec.name, ordered(spec.default if value is _MISSING or value is None else value))
    return ordered(bound)  # type: ignore[no-any-return]


def lookup(tree: Mapping[str, Any], name: str, missing: Any = _MISSING) -> Any:
    """The value at a dotted name; `missing` when a map on the way lacks the key or is null. Raises NotAHash."""
    value: Any = tree
    for part in name.split("."):
        if value is None:
            return missing
        if not isinstance(value, Mapping):
            raise NotAHash(name, ruby_class(value))
        if part not in value:
            return missing
        value = value[part]
    return value


def given_or_default(job: JobSpec, given: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    """Whether there is such a property, and the manifest's value if the path exists there (even null), else the declared default.

    What the manifest gives counts even undeclared: releases provide whole subtrees of which they declare only the leaves.
    """
    value = lookup(given, name)
    if value is not _MISSING:
        return True, ordered(value)
    spec = next((item for item in job.properties if item.name == name), None)
    return spec is not None, ordered(spec.default) if spec else None


def ordered(value: Any) -> Any:
    """A copy with the keys of all maps sorted, those inside arrays left as they are."""
    if isinstance(value, Mapping):
        return {key: ordered(value[key]) for key in sorted(value, key=str)}
    return value


def ruby_class(value: Any) -> str:
    """The class name the reference prints for a value."""
    if isinstance(value, bool):
        return "TrueClass" if value else "FalseClass"
    names = {str: "String", int: "Integer", float: "Float", list: "Array", tuple: "Array"}
    return names.get(type(value), "NilClass" if value is None else type(value).__name__)


def _set(tree: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for part in parents:
        child = tree.get(part)
        if not isinstance(child, dict):
            child = tree[part] = {}
        tree = child
    tree[last] = value
