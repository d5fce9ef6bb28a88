"""YAML of release files: plain data only, no dates, no anchors that explode."""

from __future__ import annotations

from typing import Any

import yaml

from director import diagnostics, errors

MAX_NODES = 1_000_000
"""Nodes of one document after anchors are followed. The largest real release manifest has some ten thousand."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Dates stay text, as the reference's safe loader would refuse them and a template wants what was written."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in _Base.yaml_implicit_resolvers.items()
}


def read_yaml(text: str, file: str) -> Any:
    """The document as plain data. Raises ReleaseError with the line where the text is no YAML."""
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = diagnostics.Where(file, mark.line + 1 if mark else None)
        problem = f"'{file}' is not valid YAML: {error.problem or error.context}"
        raise errors.ReleaseError(diagnostics.Diagnostic(problem, where=where)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = diagnostics.Where(file)
        raise errors.ReleaseError(diagnostics.Diagnostic(f"'{file}' is not valid YAML: {error}", where=where)) from error
    _count(data, file)
    return data


def read_map(text: str, file: str) -> dict[str, Any]:
    """The document as a map with text keys; an empty document is an empty map."""
    data = read_yaml(text, file)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise errors.ReleaseError(
            diagnostics.Diagnostic(f"'{file}' should hold a map, got a {type(data).__name__}", where=diagnostics.Where(file))
        )
    return {str(key): value for key, value in data.items()}


def dump_yaml(data: Any) -> str:
    """Text that reads back as the same data, keys in the given order."""
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=False, allow_unicode=True, width=200)


def _count(data: Any, file: str) -> None:
    """Refuse documents whose anchors multiply, without walking what they multiply to."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any) -> int:
        if not isinstance(node, dict | list):
            return 1
        key = id(node)
        if key in open_nodes:
            raise errors.ReleaseError(f"'{file}' holds an anchor that contains itself")
        if key not in sizes:
            open_nodes.add(key)
            children = list(node.values()) if isinstance(node, dict) else node
            sizes[key] = 1 + sum(size(child) for child in children)
            open_nodes.discard(key)
        return sizes[key]

    try:
        total = size(data)
    except RecursionError as error:
        raise errors.ReleaseError(f"'{file}' is nested too deeply") from error
    if total > MAX_NODES:
        raise errors.ReleaseError(f"'{file}' grows to more than {MAX_NODES} values through its anchors")
