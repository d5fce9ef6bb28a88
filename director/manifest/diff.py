"""What changed between two states of a deployment, as lines for people, secrets hidden.

Source: planning contract, section 22 with its corrections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from director.manifest.dump import dump_ruby
from director.manifest.load import Document

Line = tuple[str, str | None]
"""(text, `added` | `removed` | None)."""

REDACTED = "<redacted>"
ADDED, REMOVED = "added", "removed"

_ORDER = ("azs", "vm_types", "vm_extensions", "resource_pools", "compilation", "networks", "disk_types", "name", "stemcells", "releases",
          "update", "jobs", "release", "addons", "variables")  # fmt: skip
_SECRET_KEYS = ("properties", "bosh")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_JOINED = ("azs", "networks", "vm_types", "vm_extensions", "disk_types", "releases", "addons", "variables")


def diff(old_documents: Sequence[Document], new_documents: Sequence[Document], redact: bool) -> list[Line]:
    """The changed lines between two states, each given as manifest, cloud configs and runtime configs (in this order).

    `latest` should have been replaced by versions, placeholders not. Runtime addons that apply nowhere are to be left out by the caller.
    """
    return diff_trees(joined(old_documents), joined(new_documents), redact)


def joined(documents: Iterable[Document]) -> dict[Any, Any]:
    """One map of all documents: lists of the sections that configs share are appended, other keys are the first document's."""
    tree: dict[Any, Any] = {}
    for document in documents:
        for key, value in document.tree.items() if isinstance(document.tree, Mapping) else ():
            before = tree.get(key)
            if key in _JOINED and isinstance(before, list) and isinstance(value, list):
                tree[key] = before + [item for item in value if item not in before]
            elif key == "tags" and isinstance(before, Mapping) and isinstance(value, Mapping):
                tree[key] = {**value, **before}
            else:
                tree.setdefault(key, value)
    return tree


def diff_trees(old: Mapping[Any, Any], new: Mapping[Any, Any], redact: bool = True) -> list[Line]:
    """The changed lines between two maps, sections in the reference's order with an empty line between them."""
    hidden = redact_tree if redact else (lambda tree: tree)
    shown_old, shown_new = hidden(old), hidden(new)
    sections: list[tuple[str, list[Line]]] = []
    for key in _keys(old, new):
        lines = _changed(key, old.get(key), new.get(key), shown_old.get(key), shown_new.get(key), 0, top=True)
        sections.extend(_split(lines))
    ordered = sorted(sections, key=lambda item: _ORDER.index(item[0]) if item[0] in _ORDER else len(_ORDER))
    result: list[Line] = []
    for _, lines in ordered:
        result.extend([("", None)] if result else [])
        result.extend(lines)
    return result


def redact_tree(tree: Any) -> Any:
    """The tree with every scalar below a map named `properties` or `bosh` replaced, and credentials taken out of release URLs."""
    if isinstance(tree, Mapping):
        made = {}
        for key, value in tree.items():
            if key in _SECRET_KEYS and isinstance(value, Mapping):
                made[key] = _hide(value)
            elif key == "url" and isinstance(value, str):
                made[key] = _CREDENTIALS.sub(f"{REDACTED}:{REDACTED}@", value)
            else:
                made[key] = redact_tree(value)
        return made
    if isinstance(tree, list):
        return [redact_tree(item) for item in tree]
    return tree


def _hide(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _hide(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_hide(item) for item in node]
    return REDACTED


def _keys(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[Any]:
    return [*old, *(key for key in new if key not in old)]


def _split(lines: list[Line]) -> list[tuple[str, list[Line]]]:
    """A section per line without indent that is no list item; it is known by `key:`, so that a changed scalar has no known name."""
    sections: list[tuple[str, list[Line]]] = []
    for line in lines:
        text = line[0]
        if sections and (text.startswith((" ", "-")) or not text):
            sections[-1][1].append(line)
        else:
            sections.append((text.removesuffix(":") if text.endswith(":") else text, [line]))
    return sections


def _yaml(value: Any, indent: int, state: str | None) -> list[Line]:
    text = dump_ruby(value).removesuffix("\n")
    return [("  " * indent + line, state) for line in text.split("\n")]


def _changed(key: Any, old: Any, new: Any, shown_old: Any, shown_new: Any, indent: int, *, top: bool = False) -> list[Line]:
    """The lines of one key. Compared are the real values, printed the shown ones."""
    if old == new and type(old) is type(new):
        return []
    if old is None:
        return _yaml({key: shown_new}, indent, ADDED)
    if new is None:
        return _yaml({key: shown_old}, indent, REMOVED)
    name = dump_ruby({key: 0}).removesuffix(" 0\n")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [("  " * indent + name, None), *_map_lines(old, new, shown_old, shown_new, indent + 1)]
    if isinstance(old, list) and isinstance(new, list):
        inner = _list_lines(old, new, shown_old, shown_new, indent)
        return [("  " * indent + name, None), *inner] if inner else []
    removed, added = _yaml({key: shown_old}, indent, REMOVED), _yaml({key: shown_new}, indent, ADDED)
    if top and removed[0][0] == added[0][0]:
        return added
    return removed + added


def _map_lines(old: Mapping[Any, Any], new: Mapping[Any, Any], shown_old: Any, shown_new: Any, indent: int) -> list[Line]:
    lines: list[Line] = []
    for key in _keys(old, new):
        lines.extend(_changed(key, old.get(key), new.get(key), shown_old.get(key), shown_new.get(key), indent))
    return lines


def _list_lines(old: list[Any], new: list[Any], shown_old: list[Any], shown_new: list[Any], indent: int) -> list[Line]:
    """Elements that are in both are left out; the others are paired by name, or by range."""
    gone = [(item, shown) for item, shown in zip(old, shown_old, strict=True) if item not in new]
    come = [(item, shown) for item, shown in zip(new, shown_new, strict=True) if item not in old]
    by = next((word for word in ("name", "range") if all(isinstance(item, Mapping) and word in item for item, _ in gone + come)), None)
    lines: list[Line] = []
    for item, shown in come:
        pair = next((index for index, (other, _) in enumerate(gone) if by and other[by] == item[by]), None)
        if pair is None:
            lines.extend(_yaml([shown], indent, ADDED))
            continue
        other, other_shown = gone.pop(pair)
        lines.extend(_yaml([{by: item[by]}], indent, None))
        lines.extend(_map_lines(other, item, other_shown, shown, indent + 1))
    for _, shown in gone:
        lines.extend(_yaml([shown], indent, REMOVED))
    return lines
