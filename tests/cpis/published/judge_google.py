"""Judges requests to Google's APIs, and answers, by its discovery documents, as its own client library for Python carries them.

A document has `resources` with methods (path, parameters, the schemas of request and answer), and `schemas`. Source of the form:
"Google API Discovery Service", reference of the discovery document.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from judge_words import below, unknown, wrong

Tree = Mapping[str, Any]
_PARAMETER = re.compile(r"\{\+?(\w+)\}")
_LONG = ("int64", "uint64")


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of an API: `id` is `compute.instances.insert`, `path` a whole one with parameters in braces."""

    id: str
    verb: str
    path: str
    tree: Tree
    document: Tree

    def parameters(self, path: str) -> dict[str, str] | None:
        """Those in a path, or None when it is another method's."""
        found = _pattern(self.path).fullmatch(path)
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


class Discovery:
    """`documents` are parsed discovery documents."""

    def __init__(self, *documents: Tree) -> None:
        self._methods: dict[int, list[Method]] = {}  # by the number of slashes, since there are thousands
        for document in documents:
            for method in _methods(document, document):
                self._methods.setdefault(method.path.count("/"), []).append(method)

    def ids(self) -> set[str]:
        """The names of all methods."""
        return {method.id for methods in self._methods.values() for method in methods}

    def method(self, verb: str, path: str) -> Method | None:
        """The method that a request calls, or None."""
        found = [method for method in self._with_path(path) if method.verb == verb]
        # A literal piece of a path is meant before a parameter: `images/family/x` before `images/{image}/x`.
        return min(found, key=lambda method: method.path.count("{"), default=None)

    def _with_path(self, path: str) -> list[Method]:
        return [method for method in self._methods.get(path.count("/"), ()) if method.parameters(path) is not None]

    def request(self, verb: str, url: str, body: str) -> list[str]:
        """What the API would not take."""
        parts = urlsplit(url)
        method = self.method(verb, parts.path)
        if method is None:
            verbs = sorted({other.verb for other in self._with_path(parts.path)})
            return [f"{verb} {parts.path}: no method has this path" + (f" with this verb, but with {', '.join(verbs)}" if verbs else "")]
        where = method.id
        return [*_path(method, parts.path, where), *_query(method, parts.query, where), *_body(method, body, where)]

    def answer(self, verb: str, url: str, answer: str) -> list[str]:
        """What the API would not answer. Of lists the items are looked at, too."""
        method = self.method(verb, urlsplit(url).path)
        if method is None:
            return []
        told, where = method.tree.get("response"), f"answer of {method.id}"
        if told is None:
            return [f"{where}: has a body, but the method answers without"] if answer.strip() else []
        try:
            tree = json.loads(answer)
        except ValueError:
            return [f"{where}: is no JSON"]
        return list(_value(tree, told, where, method, sending=False))


@functools.cache
def google() -> Discovery:
    """The APIs that the CPI speaks to."""
    folder = importlib.resources.files("googleapiclient") / "discovery_cache" / "documents"
    names = ("compute.v1", "storage.v1", "cloudresourcemanager.v1")
    return Discovery(*(json.loads((folder / f"{name}.json").read_text()) for name in names))


@functools.cache
def _pattern(path: str) -> re.Pattern[str]:
    pieces = _PARAMETER.split(path)  # text and names by turns
    return re.compile("".join(f"(?P<{piece}>[^/]+)" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces)))


def _methods(node: Tree, document: Tree) -> Iterator[Method]:
    for tree in node.get("methods", {}).values():
        for path in _paths(tree, document):
            yield Method(tree["id"], tree["httpMethod"], path, tree, document)
    for inner in node.get("resources", {}).values():
        yield from _methods(inner, document)


def _paths(tree: Tree, document: Tree) -> Iterator[str]:
    yield f"/{document['servicePath']}{tree['path']}"
    for protocol in tree.get("mediaUpload", {}).get("protocols", {}).values():
        yield protocol["path"]


def _path(method: Method, path: str, where: str) -> Iterator[str]:
    for name, value in (method.parameters(path) or {}).items():
        told = method.tree["parameters"][name]
        if "pattern" in told and not re.fullmatch(told["pattern"], value):
            yield f"{where}: {name} '{value}' does not match {told['pattern']}"


def _query(method: Method, query: str, where: str) -> Iterator[str]:
    known = {**method.document.get("parameters", {}), **method.tree.get("parameters", {})}
    known = {name: told for name, told in known.items() if told.get("location") == "query"}
    given = parse_qsl(query, keep_blank_values=True)
    for name, value in given:
        if name not in known:
            yield unknown(f"{where} query", name, known)
            continue
        yield from _text(value, known[name], below(f"{where} query", name))
    for name, told in known.items():
        if told.get("required") and name not in dict(given):
            yield f"{where} query: '{name}' is missing"


def _text(value: str, told: Tree, where: str) -> Iterator[str]:
    """A value in a URL."""
    kind = told.get("type")
    if (kind == "integer" and not re.fullmatch(r"-?\d+", value)) or (kind == "boolean" and value not in ("true", "false")):
        yield wrong(where, value, kind)
    if "enum" in told and value not in told["enum"]:
        yield unknown(where, value, told["enum"])
    if "pattern" in told and not re.fullmatch(told["pattern"], value):
        yield f"{where}: '{value}' does not match {told['pattern']}"


def _body(method: Method, body: str, where: str) -> Iterator[str]:
    told = method.tree.get("request")
    if not body.strip():
        return
    if told is None:
        yield f"{where}: has a body, but the method takes none"
        return
    try:
        tree = json.loads(body)
    except ValueError:
        yield f"{where}: the body is no JSON"
        return
    yield from _value(tree, told, where, method, sending=True)


def _value(value: Any, told: Tree, where: str, method: Method, *, sending: bool) -> Iterator[str]:
    if "$ref" in told:
        told = method.document["schemas"][told["$ref"]]
    kind = told.get("type", "any")
    if kind == "object":
        yield from _object(value, told, where, method, sending=sending)
    elif kind == "array":
        if not isinstance(value, list):
            yield wrong(where, value, "list")
            return
        for number, item in enumerate(value):
            yield from _value(item, told["items"], f"{where}[{number}]", method, sending=sending)
    else:
        yield from _scalar(value, told, where, sending=sending)


def _object(value: Any, told: Tree, where: str, method: Method, *, sending: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield wrong(where, value, "object")
        return
    known, others = told.get("properties", {}), told.get("additionalProperties")
    for name, inner in value.items():
        path = below(where, name)
        if name in known:
            if sending and known[name].get("readOnly"):
                yield f"{path}: is only for answers"
            yield from _value(inner, known[name], path, method, sending=sending)
        elif others is not None:
            yield from _value(inner, others, path, method, sending=sending)
        else:
            yield unknown(where, name, known)
    if sending:
        for name, property_ in known.items():
            if method.id in property_.get("annotations", {}).get("required", ()) and name not in value:
                yield f"{where}: '{name}' is missing"


def _scalar(value: Any, told: Tree, where: str, *, sending: bool) -> Iterator[str]:
    kind, form = told.get("type", "any"), told.get("format", "")
    if kind == "any":
        return
    if kind == "string" and form in _LONG:
        # JSON of Google's APIs has long numbers as text; in requests a number is taken as well.
        number = isinstance(value, int) and not isinstance(value, bool) and sending
        if not number and not (isinstance(value, str) and re.fullmatch(r"-?\d+", value)):
            yield wrong(where, value, f"{form}, which is text")
        return
    types: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}
    if not isinstance(value, types[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield wrong(where, value, kind)
        return
    if "enum" in told and value not in told["enum"]:
        yield unknown(where, value, told["enum"])
    if sending and "pattern" in told and not re.fullmatch(told["pattern"], value):
        yield f"{where}: '{value}' does not match {told['pattern']}"
