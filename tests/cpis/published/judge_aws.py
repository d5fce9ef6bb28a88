"""Judges requests to AWS, and answers, by the services' models, as AWS's own library for Python carries them.

Parameters of the query protocols are judged by the stand-in's own `parameters`, which refuses by it; here are the other protocols, and the
elements of answers.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.validate import ParamValidator
from judge_words import below, unknown, wrong

from cpis.conformance.clouds.aws.parameters import complaints, model

_SCOPE = re.compile(r"/([a-z0-9-]+)/aws4_request")
_BALANCERS = {model(name).api_version: name for name in ("elb", "elbv2")}
_OF_SIGNATURES = frozenset({"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"})
_SIMPLE = {"boolean": re.compile("true|false"), "integer": re.compile(r"-?\d+"), "long": re.compile(r"-?\d+")}


def request(verb: str, url: str, headers: Mapping[str, str], body: str) -> list[str]:
    """What the service would not take."""
    service, params = service_of(url, headers, body)
    if service == "s3":
        return list(_object_store(verb, url, headers))
    if service == "servicequotas":
        return list(_json(headers, body))
    if not service or "Action" not in params:
        return [f"{verb} {urlsplit(url).path}: this is no request to a service that is known"]
    return [f"{service} {params['Action']}: {item.text}" for item in complaints(service, params["Action"], params)]


def kind(verb: str, url: str, headers: Mapping[str, str], body: str) -> str:
    """`ec2 RunInstances`."""
    service, params = service_of(url, headers, body)
    action = params.get("Action") or headers.get("x-amz-target", "").rpartition(".")[2]
    return f"{service} {action or next((name for name, *_ in _matching(verb, url)), verb)}"


def service_of(url: str, headers: Mapping[str, str], body: str) -> tuple[str, dict[str, str]]:
    """The service, by whom the signature is for, and the parameters of a query protocol."""
    found = _SCOPE.search(headers.get("authorization", ""))
    params = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        params.update(parse_qsl(body, keep_blank_values=True))
    name = found[1] if found else ""
    return (_BALANCERS.get(params.get("Version", ""), "") if name == "elasticloadbalancing" else name), params


def _json(headers: Mapping[str, str], body: str) -> Iterator[str]:
    described = model("service-quotas")
    prefix, _, action = headers.get("x-amz-target", "").rpartition(".")
    if prefix != described.metadata["targetPrefix"] or action not in described.operation_names:
        known = [f"{described.metadata['targetPrefix']}.{name}" for name in described.operation_names]
        yield unknown("x-amz-target", f"{prefix}.{action}", known)
        return
    wanted = f"application/x-amz-json-{described.metadata['jsonVersion']}"
    if headers.get("content-type") != wanted:
        yield f"{action}: content-type is {headers.get('content-type')}, not {wanted}"
    shape, given = described.operation_model(action).input_shape, json.loads(body)
    if report := ParamValidator().validate(given, shape).generate_report():
        yield f"{action}: {report}"
    for name in given:
        if name not in shape.members:
            yield unknown(action, name, shape.members)


def _matching(verb: str, url: str) -> list[tuple[str, Any]]:
    """Operations of the object store that have this path and all their fixed queries, those with most of these first."""
    parts, described = urlsplit(url), model("s3")
    depth = 0 if parts.path == "/" else 1 if "/" not in parts.path.strip("/") else 2
    given, found = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}, []
    for name in described.operation_names:
        operation = described.operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        names = {item.partition("=")[0] for item in query.split("&") if item} - {"x-id"}
        members = operation.input_shape.members if operation.input_shape else {}
        needs = {members[item].serialization.get("name", item) for item in (operation.input_shape.required_members if members else ())
                 if members[item].serialization.get("location") == "querystring"}
        own = 2 if "{Key+}" in path else 1 if "Bucket" in members else 0
        if operation.http["method"] == verb and own == depth and names | needs <= given:
            found.append((-len(names | needs), name, operation))
    return [(name, operation) for _, name, operation in sorted(found, key=lambda item: item[:2])]


def _object_store(verb: str, url: str, headers: Mapping[str, str]) -> Iterator[str]:
    matching = _matching(verb, url)
    if not matching:
        yield f"{verb} {urlsplit(url).path}: no operation of S3 has this path"
        return
    # A copy is a PUT with a header of its own.
    meant = [(name, operation) for name, operation in matching if _needed(operation) <= headers.keys()]
    yield from min(([*_headers(name, operation, url, headers)] for name, operation in meant or matching), key=len)


def _needed(operation: Any) -> set[str]:
    members = operation.input_shape.members if operation.input_shape else {}
    return {
        members[name].serialization.get("name", name).lower() for name in (operation.input_shape.required_members if members else ())
        if members[name].serialization.get("location") == "header"}


def _headers(name: str, operation: Any, url: str, headers: Mapping[str, str]) -> Iterator[str]:
    members = operation.input_shape.members.values()
    known = {member.serialization.get("name", "").lower(): member for member in members if member.serialization.get("location") == "header"}
    for header, value in headers.items():
        if header.startswith("x-amz-") and header not in _OF_SIGNATURES and not header.startswith("x-amz-meta-"):
            if header not in known:
                yield unknown(f"{name} headers", header, known)
            elif getattr(known[header], "enum", None) and value not in known[header].enum:
                yield unknown(f"{name} headers.{header}", value, known[header].enum)
    queries = {member.serialization.get("name", "") for member in members if member.serialization.get("location") == "querystring"}
    queries |= {item.partition("=")[0] for item in operation.http["requestUri"].partition("?")[2].split("&")}
    for query, _ in parse_qsl(unquote(urlsplit(url).query), keep_blank_values=True):
        if query not in queries:
            yield unknown(f"{name} query", query, queries)


def answer(url: str, headers: Mapping[str, str], body: str, text: str) -> list[str]:
    """What the service would not answer: only for the query protocols."""
    service, params = service_of(url, headers, body)
    if service not in ("ec2", "elb", "elbv2", "sts") or not text.strip():
        return []
    described = model(service)
    operation = described.operation_model(params["Action"])
    root = ET.fromstring(text)
    if _name(root) != f"{params['Action']}Response":
        return [f"{service} {params['Action']}: answered with <{_name(root)}>"]
    elements = [child for child in root if _name(child).lower() != "requestid" and _name(child) != "ResponseMetadata"]
    where = f"answer of {params['Action']}"
    if wrapper := (operation.output_shape.serialization.get("resultWrapper") if operation.output_shape else None):
        elements = [inner for child in elements if _name(child) == wrapper for inner in child]
    if operation.output_shape is None:
        return [] if all(_name(child) == "return" for child in elements) else [f"{where}: has elements, and the action answers with none"]
    return list(_structure(elements, operation.output_shape, where, described.metadata["protocol"]))


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _structure(elements: Any, shape: Any, where: str, protocol: str) -> Iterator[str]:
    known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    for element in elements:
        name = _name(element)
        if name not in known:
            if name != "return":  # of the older protocol, beside everything
                yield unknown(where, name, known)
            continue
        yield from _value(element, known[name], below(where, name), protocol)


def _value(element: ET.Element, shape: Any, where: str, protocol: str) -> Iterator[str]:
    text = (element.text or "").strip()
    if shape.type_name == "structure":
        yield from _structure(element, shape, where, protocol)
    elif shape.type_name == "list":
        inner = shape.member.serialization.get("name") or ("item" if protocol == "ec2" else "member")
        for number, child in enumerate(element):
            if _name(child) != inner:
                yield unknown(where, _name(child), [inner])
            else:
                yield from _value(child, shape.member, f"{where}[{number}]", protocol)
    elif len(element):
        yield wrong(where, _name(element[0]), f"{shape.type_name}, which has no parts")
    elif text and shape.type_name in _SIMPLE and not _SIMPLE[shape.type_name].fullmatch(text):
        yield wrong(where, text, shape.type_name)
    elif text and getattr(shape, "enum", None) and text not in shape.enum:
        yield unknown(where, text, shape.enum)
