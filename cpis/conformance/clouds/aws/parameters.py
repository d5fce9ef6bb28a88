"""Requests of the query protocols, judged by the services' own descriptions, which come with moto: what a service does not know it refuses,
and moto takes in silence.

A description has actions with shapes. How shapes become names of parameters (`Filter.1.Value.2`) is the protocol's matter: `ec2` numbers
all lists so and begins names with a capital, `query` puts `member` before the number. Source: the protocols' serializers in botocore.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import difflib
import functools
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cpis.conformance.clouds.aws.rules import Refusal

# The client's own affair, in each request; `DryRun` is not among the shapes of all actions that take it.
_COMMON = frozenset({"Action", "Version", "DryRun"})
_NUMBERS = ("integer", "long", "float", "double")
# What the service takes though its list, which is as old as the library, lacks it: types of machines come every month.
_OPEN = frozenset({"InstanceType"})


@dataclasses.dataclass(frozen=True)
class Complaint:
    """`code` as EC2 names such errors; `text` has the parameter's whole name, and the nearest that there is."""

    code: str
    text: str


def check(service: str, action: str, params: Mapping[str, str]) -> None:
    """Raises Refusal for the first thing that is wrong."""
    for complaint in complaints(service, action, params):
        raise Refusal(complaint.code, complaint.text)


@functools.cache
def model(service: str) -> Any:
    """The description of a service (ec2, elb, elbv2, sts)."""
    return importlib.import_module("botocore.session").get_session().get_service_model(service)


def complaints(service: str, action: str, params: Mapping[str, str]) -> Iterator[Complaint]:
    """Everything that the service would refuse in a request for its form alone: action, version, names, types, enumerations, lengths."""
    described = model(service)
    if action not in described.operation_names:
        near = _near(action, described.operation_names)
        yield Complaint("InvalidAction", f"The action {action} is not valid for this web service{near}")
        return
    if params.get("Version", described.api_version) != described.api_version:
        yield Complaint("InvalidParameterValue", f"Version is {params['Version']}, the service's is {described.api_version}")
    shape = described.operation_model(action).input_shape
    given = {key: value for key, value in params.items() if key not in _COMMON and "-amz-" not in key.lower()}
    if shape is None:
        for key in given:
            yield _unknown(key, ())
        return
    yield from _structure(shape, _nested(given), "", described.metadata["protocol"])


def _nested(params: Mapping[str, str]) -> dict[str, Any]:
    """`{"Filter.1.Name": "x"}` as `{"Filter": {"1": {"Name": "x"}}}`. A value beside inner ones is under an empty name."""
    tree: dict[str, Any] = {}
    for key, value in params.items():
        node, parts = tree, key.split(".")
        for part in parts[:-1]:
            inner = node.setdefault(part, {})
            if not isinstance(inner, dict):
                inner = node[part] = {"": inner}
            node = inner
        if isinstance(node.get(parts[-1]), dict):
            node[parts[-1]][""] = value
        else:
            node[parts[-1]] = value
    return tree


def _structure(shape: Any, tree: Mapping[str, Any], where: str, protocol: str) -> Iterator[Complaint]:
    known = {_name(name, member, protocol): member for name, member in shape.members.items()}
    for name, value in tree.items():
        path = f"{where}.{name}" if where else name
        if name not in known:
            yield _unknown(path, known)
        else:
            yield from _value(known[name], value, path, protocol)
    for name in shape.required_members:
        spelt = _name(name, shape.members[name], protocol)
        if spelt not in tree:
            yield Complaint("MissingParameter", f"The request must contain the parameter {f'{where}.{spelt}' if where else spelt}")


def _value(shape: Any, value: Any, where: str, protocol: str) -> Iterator[Complaint]:
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            yield Complaint("InvalidParameterValue", f"Value ({value}) for parameter {where} is invalid. It has parts")
        else:
            yield from _structure(shape, value, where, protocol)
    elif shape.type_name == "list":
        yield from _list(shape, value, where, protocol)
    elif isinstance(value, dict):
        yield _unknown(f"{where}.{next(iter(value))}", ())
    else:
        yield from _scalar(shape, value, where)


def _list(shape: Any, value: Any, where: str, protocol: str) -> Iterator[Complaint]:
    if protocol == "query" and not shape.serialization.get("flattened"):
        inner = str(shape.member.serialization.get("name") or "member")
        if not isinstance(value, dict) or set(value) != {inner}:
            wrong = next((name for name in value if name != inner), "") if isinstance(value, dict) else ""
            yield _unknown(f"{where}.{wrong}".rstrip("."), [inner])
            return
        where, value = f"{where}.{inner}", value[inner]
    if not isinstance(value, dict) or sorted(value) != sorted(str(number) for number in range(1, len(value) + 1)):
        numbers = ", ".join(value) if isinstance(value, dict) else "none"
        yield Complaint("UnknownParameter", f"The items of the parameter {where} are numbered from 1, not: {numbers}")
    for number, item in value.items() if isinstance(value, dict) else ():
        yield from _value(shape.member, item, f"{where}.{number}", protocol)


def _scalar(shape: Any, value: str, where: str) -> Iterator[Complaint]:
    kind = shape.type_name
    problem = ""
    if (kind in _NUMBERS and not _is_number(value)) or (kind == "boolean" and value.lower() not in ("true", "false")):
        problem = f"It must be a {kind}"
    elif kind == "blob" and not _is_base64(value):
        problem = "It must be base64"
    elif getattr(shape, "enum", None) and value not in shape.enum and shape.name not in _OPEN:
        problem = f"It must be one of {', '.join(shape.enum[:12])}{_near(value, shape.enum)}"
    elif kind == "string" and not shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", len(value)):
        problem = f"It must have {shape.metadata.get('min', 0)} to {shape.metadata.get('max', '')} characters"
    elif kind in _NUMBERS and not shape.metadata.get("min", float(value)) <= float(value) <= shape.metadata.get("max", float(value)):
        problem = f"It must be from {shape.metadata.get('min', '')} to {shape.metadata.get('max', '')}"
    if problem:
        yield Complaint("InvalidParameterValue", f"Value ({value[:80]}) for parameter {where} is invalid. {problem}")


def _unknown(path: str, known: Iterable[str]) -> Complaint:
    last = path.rpartition(".")[2]
    return Complaint("UnknownParameter", f"The parameter {path.partition('.')[0]} is not recognized ({path}){_near(last, known)}")


def _near(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; the nearest is {found[0]}" if found else ""


def _name(name: str, member: Any, protocol: str) -> str:
    """As the protocol spells it."""
    serialization = member.serialization
    if protocol == "query":
        # A flattened list is named by its items.
        flat = member.type_name == "list" and serialization.get("flattened")
        return str((member.member.serialization.get("name") if flat else None) or serialization.get("name") or name)
    if "queryName" in serialization:
        return str(serialization["queryName"])
    given = str(serialization.get("name") or name)
    return given[:1].upper() + given[1:]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True
