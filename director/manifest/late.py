"""The director's interpolation: what is replaced before a manifest is read, what stays until machines are made.

Source: manifest contract, section 11.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from director.diagnostics import Diagnostics
from director.errors import ManifestError
from director.manifest.load import Document, Path, show_path

BAD_NAME, FETCH, NOT_FOUND, BAD_SUBSTITUTION = 540004, 540001, 540002, 540007

GetValue = Callable[[str], Any]
"""The value of a root name (no `!`, no dots). Raises KeyError when there is none; its argument, if a text, is the name to show."""

_PLACEHOLDER = re.compile(r"\(\((.*?)\)\)", re.DOTALL)
_CHARS = re.compile(r"[-a-zA-Z0-9_./!]+\Z")

_LATE = True
_CONSUMES = {"*": {"properties": _LATE}}
_ADDONS = {"*": {"properties": _LATE, "jobs": {"*": {"properties": _LATE, "consumes": _CONSUMES}}}}
_CLOUD = {"*": {"cloud_properties": _LATE}}
_LATE_PARTS: Mapping[str, Any] = {
    "manifest": {
        "properties": _LATE,
        "instance_groups": {"*": {"properties": _LATE, "env": _LATE, "jobs": {"*": {"properties": _LATE, "consumes": _CONSUMES}}}},
        "addons": _ADDONS,
    },
    "runtime": {"addons": _ADDONS},
    "cloud": {
        "azs": _CLOUD, "vm_types": _CLOUD, "vm_extensions": _CLOUD, "disk_types": _CLOUD, "compilation": {"cloud_properties": _LATE},
        "networks": {"*": {"cloud_properties": _LATE, "subnets": _CLOUD}},
    },
    "cpi": {"cpis": {"*": {"name": _LATE, "type": _LATE}}},
}  # fmt: skip
_ABSOLUTE_ONLY = ("cloud", "cpi")


def name_problem(name: str) -> str:
    """What forbids a placeholder's name, the reference's words after `Variable name 'X' `, or ''."""
    bare = name.removeprefix("!")
    if not _CHARS.match(name):
        return "must only contain alphanumeric, underscores, dashes, or forward slash characters"
    if "!" in bare or not bare:
        return (
            "contains invalid character '!'. If it is included for spiff, it should only be at the beginning of the name. "
            "Note: it will not be considered a part of the name"
        )
    if bare.endswith("/"):
        return "must not end with a forward slash"
    if "//" in bare:
        return "must not contain two consecutive forward slashes"
    before, _, last = bare.rpartition("/")
    if "." in before:
        return "syntax error: Must not contain dots before the last slash"
    if last.startswith("."):
        return "syntax error: Must not have segment starting with a dot"
    if last.endswith("."):
        return "syntax error: Must not end name with a dot"
    return "syntax error: Must not contain consecutive dots" if ".." in last else ""


def split_name(name: str) -> tuple[str, list[str]]:
    """`/a/b.c.d` -> `/a/b` and the keys to follow in its value."""
    before, slash, last = name.removeprefix("!").rpartition("/")
    root, *keys = last.split(".")
    return f"{before}{slash}{root}", keys


def _texts(tree: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(tree, str):
        if "((" in tree:
            yield path, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(key, str) and "((" in key:
                yield (*path, key), key
            yield from _texts(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _texts(value, (*path, index))


def placeholders(tree: Any) -> set[str]:
    """The root names (without `!` and dotted parts) of all placeholders with a valid name, anywhere in the tree."""
    names = set()
    for _, text in _texts(tree):
        for match in _PLACEHOLDER.finditer(text):
            if not name_problem(match[1]):
                names.add(split_name(match[1])[0])
    return names


def resolve(tree: Any, lookup: GetValue, *, document: Document | None = None, base: Path = ()) -> Any:
    """Replace every placeholder of a tree, keys included. `document` and `base` tell where the tree is from, for errors.

    Each name is looked up once. Raises ManifestError with all: names that are wrong or missing, values that do not fit.
    """
    resolver = _Resolver(lookup, document)
    made = resolver.walk(tree, base, None)
    resolver.finish()
    return made


def interpolate_for_director(document: Document, lookup: GetValue, kind: str = "manifest") -> Document:
    """Replace what must be known before the document is read; late parts keep their placeholders, whose names are checked.

    `kind` is manifest, runtime, cloud or cpi. Raises ManifestError with all that is wrong or missing.
    """
    resolver = _Resolver(lookup, document)
    if kind in _ABSOLUTE_ONLY:
        resolver.require_absolute(document.tree)
    tree = resolver.walk(document.tree, (), _LATE_PARTS[kind])
    resolver.finish()
    return document.replaced(tree)


def late_placeholders(document: Document, kind: str = "manifest") -> set[str]:
    """The root names that stay for later: what a deploy must be able to resolve once its variables are generated."""
    names: set[str] = set()
    _collect_late(document.tree, _LATE_PARTS[kind], names)
    return names


def _collect_late(node: Any, parts: Any, names: set[str]) -> None:
    if parts is _LATE:
        names |= placeholders(node)
    elif isinstance(node, dict):
        for key, value in node.items():
            inner = parts.get(key, parts.get("*"))
            if inner is not None:
                _collect_late(value, inner, names)
    elif isinstance(node, list) and "*" in parts:
        for value in node:
            _collect_late(value, parts["*"], names)


def variables_of(document: Document) -> list[str]:
    """The names of the `variables` definitions, in order, as written."""
    listed = document.tree.get("variables") if isinstance(document.tree, dict) else None
    return [str(item["name"]) for item in listed or () if isinstance(item, dict) and item.get("name")] if isinstance(listed, list) else []


class _Resolver:
    def __init__(self, lookup: GetValue, document: Document | None) -> None:
        self.lookup = lookup
        self.document = document
        self.report = Diagnostics()
        self.cache: dict[str, Any] = {}
        self.absent: set[str] = set()

    def error(self, path: Path, summary: str, code: int, suggestion: str = "") -> None:
        where = self.document.where(path) if self.document else None
        if where is None and path:
            summary = f"{summary} (at {show_path({}, path)})"
        self.report.add(summary, where=where, suggestion=suggestion, code=code)

    def finish(self) -> None:
        if self.report.errors:
            raise ManifestError(*self.report.errors)

    def require_absolute(self, tree: Any) -> None:
        relative = sorted(name for name in placeholders(tree) if not name.startswith("/"))
        if relative:
            listed = ", ".join(f"'{name}'" for name in relative)
            self.report.add(
                f"Relative paths are not allowed in this context. The following must be be switched to use absolute paths: {listed}",
                where=self.document.where(()) if self.document else None, code=BAD_NAME, suggestion=f"Write ((/{relative[0]})).",
            )  # fmt: skip

    def walk(self, node: Any, path: Path, parts: Any) -> Any:
        """The node with placeholders replaced; the same object where there is nothing to replace. `parts` tells what is late."""
        if parts is _LATE:
            self._check_names(node, path)
            return node
        if isinstance(node, str):
            return self._text(node, path) if "((" in node else node
        if isinstance(node, dict):
            made = {}
            same = True
            for key, value in node.items():
                inner = parts.get(key, parts.get("*")) if parts else None
                new_key, new = self._key(key, path), self.walk(value, (*path, key), inner)
                same = same and new is value and new_key is key
                made[new_key] = new
            return node if same else made
        if isinstance(node, list):
            inner = parts.get("*") if parts else None
            items = [self.walk(item, (*path, index), inner) for index, item in enumerate(node)]
            return node if all(new is old for new, old in zip(items, node, strict=True)) else items
        return node

    def _check_names(self, node: Any, path: Path) -> None:
        for at, text in _texts(node, path):
            for match in _PLACEHOLDER.finditer(text):
                self._valid(match[1], at)

    def _valid(self, name: str, path: Path) -> bool:
        problem = name_problem(name)
        if problem:
            hint = "Text in double parentheses is a variable; write it otherwise, as in `$( (x + 1) )`." if " " in name else ""
            self.error(path, f"Variable name '{name}' {problem}", BAD_NAME, hint)
        return not problem

    def _key(self, key: Any, path: Path) -> Any:
        match = _PLACEHOLDER.fullmatch(key) if isinstance(key, str) and "((" in key else None
        if match is None or not self._valid(match[1], path):
            return key
        found, value = self._value(match[1], (*path, key))
        if found and isinstance(value, (dict, list)):
            self.error((*path, key), f"- Failed to substitute variable: Can not use the value of '{key}' as a key.", BAD_SUBSTITUTION)
            return key
        return value if found else key

    def _text(self, text: str, path: Path) -> Any:
        whole = _PLACEHOLDER.fullmatch(text)
        if whole and "((" not in whole[1]:
            found, value = self._value(whole[1], path) if self._valid(whole[1], path) else (False, None)
            return value if found else text
        return _PLACEHOLDER.sub(lambda match: self._within(match, text, path), text)

    def _within(self, match: re.Match[str], text: str, path: Path) -> str:
        if not self._valid(match[1], path):
            return match[0]
        found, value = self._value(match[1], path)
        if not found:
            return match[0]
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self.error(path, f"- Failed to substitute variable: Can not replace '{match[0]}' in '{text}'. "
                       "The value should be a String or an Integer.", BAD_SUBSTITUTION)  # fmt: skip
            return match[0]
        return str(value)

    def _value(self, name: str, path: Path) -> tuple[bool, Any]:
        root, keys = split_name(name)
        if root in self.absent:
            return False, None
        if root not in self.cache:
            try:
                self.cache[root] = self.lookup(root)
            except KeyError as error:
                self._absent(root, error, path)
                return False, None
        value = self.cache[root]
        for step in keys:
            text = f"Failed to fetch variable '{root}' from config server: Expected parent '{root}'"
            if not isinstance(value, Mapping):
                self.error(path, f"{text} to be a hash", FETCH)
                return False, None
            if step not in value:
                known = ", ".join(sorted(map(str, value)))
                self.error(path, f"{text} hash to have key '{step}'", FETCH, f"Its keys are: {known}." if known else "")
                return False, None
            value = value[step]
        return True, value

    def _absent(self, root: str, error: KeyError, path: Path) -> None:
        self.absent.add(root)
        shown = error.args[0] if error.args and isinstance(error.args[0], str) else root
        self.error(
            path,
            f"- Failed to find variable '{shown}' from config server: HTTP Code '404', Error: 'The request could not be completed "
            "because the credential does not exist'",
            NOT_FOUND,
            f"Give it with -v {root}=VALUE, set it with 'caisson set-variable', or define it under variables: then properties and "
            "env may use it.",
        )
