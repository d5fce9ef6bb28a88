"""Judges requests to Azure Resource Manager, and answers, by the models and operations of Azure's own management libraries for Python.

Those are made by a program from the service's description, so they are read by patterns: an operation has a builder (path, verb, query,
version of the interface) and a method (models of body and answer); a model has `_attribute_map` (names in JSON, types), `_validation`
(read-only, required) and names its enumerations in its docstring. They are read for just the versions that requests name.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from judge_words import below, unknown, wrong

# Where a provider's interface is described. Those with `{version}` have a folder for each version.
_PACKAGES = {
    "microsoft.compute": ("azure.mgmt.compute.{version}",),
    "microsoft.network": ("azure.mgmt.network",),
    "microsoft.authorization": ("azure.mgmt.authorization.{version}",),
    "": ("azure.mgmt.resource.resources.{version}", "azure.mgmt.resource.subscriptions.{version}"),
}
_BUILDER = re.compile(r"^def (build_\w+_request)\(.*?(?=^def |^class |\Z)", re.MULTILINE | re.DOTALL)
_URL = re.compile(r'"template_url",\s*"(/[^"]*)"|_url = "(/[^"]*)"')
_VERB = re.compile(r'HttpRequest\(\s*method="(\w+)"')
_VERSION = re.compile(r'_params\.pop\("api-version", "([\d-]+(?:preview)?)"\)')
_QUERY = re.compile(r'_params\["([^"]+)"\] = _SERIALIZER\.query\(\s*"\w+",\s*\w+,\s*"([^"]+)"')
_CLASS = re.compile(r"^class (\w+Operations).*?(?=^class |\Z)", re.MULTILINE | re.DOTALL)
_METHOD = re.compile(r"^    def (\w+)\(.*?(?=^    (?:def |@)|\Z)", re.MULTILINE | re.DOTALL)
# "Please use the list available sizes": new ones come without a new version of the interface.
_OPEN = frozenset({"VirtualMachineSizeTypes"})
_NUMBERS: Mapping[str, tuple[type, ...]] = {"int": (int,), "long": (int,), "float": (int, float)}


@dataclasses.dataclass(frozen=True)
class Operation:
    """`query` are names and types beside the version's; `body` and `answer` types of models, empty where there is none."""

    name: str
    verb: str
    path: str
    version: str
    query: Mapping[str, str]
    body: str
    answer: str
    models: ModuleType


def request(verb: str, url: str, body: str) -> list[str]:
    """What the service would not take."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    path, version = unquote(parts.path), query.pop("api-version", "")
    if not version:
        return [f"{verb} {path}: there is no api-version"]
    operation, problem = find(verb, path, version)
    if operation is None:
        return [problem]
    return [*_query(operation, query), *_body(operation, body)]


def answer(verb: str, url: str, status: int, text: str) -> list[str]:
    """What the service would not answer to a request that it took."""
    parts = urlsplit(url)
    version = dict(parse_qsl(parts.query)).get("api-version", "")
    operation, _ = find(verb, unquote(parts.path), version)
    if operation is None or not text.strip() or status == 202:
        return []
    where = f"answer of {operation.name}"
    if not operation.answer:
        return [f"{where}: has a body, but the operation answers without"]
    try:
        tree = json.loads(text)
    except ValueError:
        return [f"{where}: is no JSON"]
    return list(_value(tree, operation.answer, operation.models, where, sending=False))


def named(verb: str, url: str) -> str:
    """The name of the operation that a request calls, or empty."""
    parts = urlsplit(url)
    operation, _ = find(verb, unquote(parts.path), dict(parse_qsl(parts.query)).get("api-version", ""))
    return operation.name if operation else ""


def find(verb: str, path: str, version: str) -> tuple[Operation | None, str]:
    """The operation that a request calls, or why there is none."""
    provider = _provider(path)
    if provider not in _PACKAGES:
        return None, f"{verb} {path}: the provider '{provider}' is not described"
    verbs: set[str] = set()
    versions: set[str] = set()
    for name in _PACKAGES[provider]:
        package = name.format(version=f"v{version.replace('-', '_')}")
        for operation in described(package).get(path.count("/"), ()):
            if _pattern(operation.path).fullmatch(path):
                if operation.verb == verb and operation.version == version:
                    return operation, ""
                (versions if operation.verb == verb else verbs).add(operation.version if operation.verb == verb else operation.verb)
        versions |= set(_folders(name))
    if verbs:
        return None, f"{verb} {path}: this path is there only with {', '.join(sorted(verbs))}"
    return None, f"{verb} {path}: is not there in version {version} of the interface; versions described: {', '.join(sorted(versions))}"


def _provider(path: str) -> str:
    parts = path.lower().split("/")
    return parts[len(parts) - parts[::-1].index("providers")] if "providers" in parts[:-1] else ""


def _folders(package: str) -> list[str]:
    """The versions that a package has folders for."""
    parent, _, version = package.rpartition(".")
    if "{" not in version:
        return []
    folder = Path(next(iter(importlib.import_module(parent).__path__)))
    return [found.name[1:].replace("_", "-") for found in folder.glob("v20*") if found.is_dir()]


@functools.cache
def described(package: str) -> Mapping[int, list[Operation]]:
    """The operations of a package (`azure.mgmt.network`) by the slashes of their paths; none when there is no such package."""
    try:
        spec = importlib.util.find_spec(f"{package}.operations")
    except ModuleNotFoundError:
        return {}
    models = importlib.import_module(f"{package}.models")
    folder = Path(next(iter(spec.submodule_search_locations or ()))) if spec else Path()
    found: dict[int, list[Operation]] = {}
    for file in sorted(folder.glob("_*operations.py")):
        for operation in _operations(file.read_text(), models):
            found.setdefault(operation.path.count("/"), []).append(operation)
    return found


def _operations(source: str, models: ModuleType) -> Iterator[Operation]:
    types = {builder: found for part in _CLASS.finditer(source) for builder, found in _types(part[0]).items()}
    for match in _BUILDER.finditer(source):
        url, verb, version = _URL.search(match[0]), _VERB.search(match[0]), _VERSION.search(match[0])
        if url is None or verb is None or version is None:
            continue
        query = {name: kind for name, kind in _QUERY.findall(match[0]) if name != "api-version"}
        body, answer = types.get(match[1], ("", ""))
        name = match[1].removeprefix("build_").removesuffix("_request")
        yield Operation(name, verb[1], url[1] or url[2], version[1], query, body, answer, models)


def _types(source: str) -> dict[str, tuple[str, str]]:
    """The models of body and answer, by the builder's name. Methods that wait have their answer in one that calls `_NAME_initial`."""
    found: dict[str, tuple[str, str]] = {}
    answers: dict[str, str] = {}
    builders: dict[str, str] = {}
    for match in _METHOD.finditer(source):
        name, text = match[1], match[0]
        builder = re.search(r"= (build_\w+_request)\(", text)
        body = re.search(r'_serialize\.body\(\s*\w+,\s*"([^"]+)"', text)
        told = re.search(r'_deserialize\(\s*"((?!\w*Error)[^"]+)"', text)
        initial = re.search(r"self\.(_\w+_initial)\(", text)
        if builder:
            builders[name] = builder[1]
            found[builder[1]] = (body[1] if body else "", told[1] if told else "")
        elif initial and told:
            answers[initial[1]] = told[1]
    for name, told_type in answers.items():
        if name in builders:
            found[builders[name]] = (found[builders[name]][0], told_type)
    return found


@functools.cache
def _pattern(path: str) -> re.Pattern[str]:
    pieces = re.split(r"(\{\w+\})", path)
    return re.compile("".join("[^/]+" if piece.startswith("{") else re.escape(piece) for piece in pieces), re.IGNORECASE)


def _query(operation: Operation, query: Mapping[str, str]) -> Iterator[str]:
    where = f"{operation.name} query"
    for name, value in query.items():
        if name not in operation.query:
            yield unknown(where, name, operation.query)
        elif operation.query[name] in _NUMBERS and not value.isdecimal():
            yield wrong(below(where, name), value, "number")
        elif operation.query[name] == "bool" and value not in ("true", "false"):
            yield wrong(below(where, name), value, "bool")


def _body(operation: Operation, body: str) -> Iterator[str]:
    if not body.strip():
        if operation.body and operation.verb in ("PUT", "PATCH"):
            yield f"{operation.name}: the body is missing"
        return
    if not operation.body:
        yield f"{operation.name}: has a body, but the operation takes none"
        return
    try:
        tree = json.loads(body)
    except ValueError:
        yield f"{operation.name}: the body is no JSON"
        return
    yield from _value(tree, operation.body, operation.models, operation.name, sending=True)


def _value(value: Any, kind: str, models: ModuleType, where: str, *, sending: bool, words: type[enum.Enum] | None = None) -> Iterator[str]:
    """`kind` as the libraries write it: `[Disk]`, `{str}`, `iso-8601`. `words` are those of an enumeration."""
    if kind[0] in "[{":
        inner = kind[1:-1]
        if not isinstance(value, list if kind[0] == "[" else dict):
            yield wrong(where, value, "list" if kind[0] == "[" else "object")
            return
        for key, item in enumerate(value) if kind[0] == "[" else value.items():
            yield from _value(item, inner, models, f"{where}[{key}]", sending=sending, words=words)
    elif kind in _NUMBERS or kind == "bool":
        types = _NUMBERS.get(kind, (bool,))
        if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
            yield wrong(where, value, kind)
    elif kind in ("object", "JSON"):
        return
    elif kind[0].isupper() and hasattr(models, kind):
        yield from _model(value, getattr(models, kind), models, where, sending=sending)
    elif not isinstance(value, str):
        yield wrong(where, value, kind)
    elif words is not None and value not in {word.value for word in words}:
        yield unknown(where, value, {str(word.value) for word in words})


@dataclasses.dataclass(frozen=True)
class _Field:
    kind: str
    words: type[enum.Enum] | None
    readonly: bool
    required: bool


@functools.cache
def _fields(model: Any, models: ModuleType) -> dict[str, Any]:
    """A model's fields as JSON nests them; those of models that stand for one by a discriminator are its own, too."""
    tree: dict[str, Any] = {}
    for name, told in model._attribute_map.items():
        rules = model._validation.get(name, {})
        words = re.search(rf":vartype {name}: (?:list\[)?str or\s+~[\w.]+\.(\w+)", model.__doc__ or "")
        enumeration = getattr(models, words[1], None) if words and words[1] not in _OPEN else None
        field = _Field(told["type"], enumeration, bool(rules.get("readonly")), bool(rules.get("required")))
        node = tree
        *outer, last = (part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", told["key"]))
        for part in outer:
            node = node.setdefault(part, {})
        node[last] = field
    for subtype in {name for names in getattr(model, "_subtype_map", {}).values() for name in names.values()}:
        tree = {**_fields(getattr(models, subtype), models), **tree}
    return tree


def _model(value: Any, model: Any, models: ModuleType, where: str, *, sending: bool) -> Iterator[str]:
    yield from _tree(value, _fields(model, models), models, where, sending=sending)


def _tree(value: Any, fields: Mapping[str, Any], models: ModuleType, where: str, *, sending: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield wrong(where, value, "object")
        return
    for name, inner in value.items():
        path, field = below(where, name), fields.get(name)
        if field is None:
            yield unknown(where, name, fields)
        elif isinstance(field, dict):
            yield from _tree(inner, field, models, path, sending=sending)
        else:
            if sending and field.readonly:
                yield f"{path}: is only for answers"
            yield from _value(inner, field.kind, models, path, sending=sending, words=field.words)
    if sending:
        for name, field in fields.items():
            if isinstance(field, _Field) and field.required and not field.readonly and name not in value:
                yield f"{where}: '{name}' is missing"
