"""Configs of any type. Source: director API contract, section 6.9; manifest contract, section 18."""

from __future__ import annotations

import dataclasses
from typing import Any

from starlette.responses import Response

from director.api import config_diffs, config_uses
from director.api.calls import Call, answer, field, timestamp
from director.diagnostics import Diagnostic
from director.errors import ManifestError, NotFoundError, UsageError
from director.execute import cloud_uses
from director.manifest import config_check
from director.manifest.load import load_yaml
from director.state import configs as rows

BAD_REQUEST, BAD_CONTENT, UNKNOWN = 440010, 440011, 440012


def shape(config: rows.ConfigRow) -> dict[str, Any]:
    """A config's JSON; the id is a text."""
    return {
        "id": str(config.id),
        "name": config.name,
        "type": config.type,
        "content": config.content,
        "created_at": timestamp(config.created_at),
        "team": config.team or None,
        "current": config.current,
    }


def index(call: Call) -> Response:
    limit, latest = call.query.get("limit"), call.query.get("latest")
    if limit is not None and not limit.lstrip("-").isdigit():
        raise UsageError("'limit' must be a number", code=BAD_REQUEST)
    if limit is not None and int(limit) < 1:
        raise UsageError("'limit' must be larger than zero", code=BAD_REQUEST)
    if latest not in (None, "true", "false"):
        raise UsageError("'latest' must be 'true' or 'false'", code=BAD_REQUEST)
    count = int(limit) if limit is not None else None if latest == "false" else 1
    found = call.services.store.configs.select(type=call.query.get("type") or None, name=call.query.get("name") or None, limit=count)
    return answer([shape(config) for config in found])


def show(call: Call) -> Response:
    return answer(shape(call.services.store.configs.get(_id(call))))


def update(call: Call) -> Response:
    """A new version, or the present one when nothing changed."""
    body = call.json()
    type_, name, content = (_required(body, key) for key in ("type", "name", "content"))
    expected = body.get("expected_latest_id")
    try:
        made = save(call, type_, name, content, expected_latest_id=None if expected is None else str(expected))
    except rows.ConfigMoved as error:
        return answer(
            {"latest_id": str(error.latest_id), "expected_latest_id": error.expected_latest_id, "description": error.message}, 412
        )
    return answer(shape(made), 201)


def save(call: Call, type_: str, name: str, content: str, *, expected_latest_id: str | None = None) -> rows.ConfigRow:
    """Store it, unless machines lose what they stand on and nobody said `force=true`. Raises ManifestError, ConflictError, ConfigMoved."""
    check_content(type_, content)
    store = call.services.store
    with store.transaction():
        if not forced(call):
            config_uses.check_update(store, type_, name, content)
        return store.configs.save(type_, name, content, expected_latest_id=expected_latest_id)


def forced(call: Call) -> bool:
    return call.query.get("force") == "true"


def diff(call: Call) -> Response:
    """Between the current config and a content, or between any two."""
    body = call.json()
    try:
        if "from" in body or "to" in body:
            return answer({"diff": config_diffs.of_contents(_side(call, body, "from"), _side(call, body, "to"), redact=True)})
        type_, name, content = (_required(body, key) for key in ("type", "name", "content"))
        latest = call.services.store.configs.latest(type_, name)
        check_content(type_, content)
        redact = type_ != "cloud" and call.query.get("redact") != "false"
        lines = config_diffs.of_contents(latest.content if latest else "", content, redact=redact)
    except ManifestError as error:
        return answer(
            {
                "diff": [],
                "error": f"Unable to diff config content: {error.message}",
                "diagnostics": [item.to_dict() for item in error.diagnostics],
            },
            400,
        )
    told = [item.to_dict() for item in problems(call, type_, name, content)]
    return answer({"from": {"id": str(latest.id if latest else 0)}, "diff": lines, **({"problems": told} if told else {})})


def problems(call: Call, type_: str, name: str, content: str) -> tuple[Diagnostic, ...]:
    """What the next deploy would say of the config among the others of its type."""
    texts = {row.name: row.content for row in call.services.store.configs.current(type_)} | {name or "default": content}
    documents = [load_yaml(text, f"{type_} config '{key}'") for key, text in texts.items()]
    told = config_check.problems(type_, documents)
    if type_ != "cloud" or any(item.severity == "error" for item in told):
        return told
    return (*told, *cloud_uses.problems(documents, call.services.clouds()))


def delete_named(call: Call) -> Response:
    """Hide all versions of a type and name."""
    type_, name = call.query.get("type") or "", call.query.get("name") or ""
    for key, value in (("type", type_), ("name", name)):
        if not value:
            raise UsageError(f"'{key}' is required", code=BAD_REQUEST)
    store = call.services.store
    with store.transaction():
        if not forced(call):
            config_uses.check_removal(store, type_, name=name)
        if not store.configs.delete(type_, name):
            raise NotFoundError(f"Config '{type_}/{name}' not found", code=UNKNOWN)
    return Response(status_code=204)


def delete(call: Call) -> Response:
    """Hide one version."""
    number, store = _id(call), call.services.store
    with store.transaction():
        if not forced(call):
            config_uses.check_removal(store, store.configs.get(number).type, version=number)
        if not store.configs.delete_version(number):
            raise NotFoundError(f"Config {number} not found", code=UNKNOWN)
    return Response(status_code=204)


def check_content(type_: str, content: str) -> None:
    """Raises ManifestError 440011 unless the text is a YAML map."""
    try:
        tree = load_yaml(content, f"{type_} config").tree
    except ManifestError as error:
        raise ManifestError(*[dataclasses.replace(item, code=BAD_CONTENT) for item in error.diagnostics]) from error
    if not isinstance(tree, dict):
        raise ManifestError("YAML hash expected", code=BAD_CONTENT)


def _id(call: Call) -> int:
    text = call.path["id"]
    if not text.isdigit() or len(text) > 18:
        raise NotFoundError(f"Config {text} not found", code=UNKNOWN)
    return int(text)


def _required(body: dict[str, Any], key: str) -> str:
    if body.get(key) in (None, ""):
        raise UsageError(f"'{key}' is required", code=BAD_REQUEST)
    if not isinstance(body[key], str):
        raise UsageError(f"'{key}' must be a string", code=BAD_REQUEST)
    return str(body[key])


def _side(call: Call, body: dict[str, Any], key: str) -> str:
    """The text of `{"id"}` or `{"content"}`; the `bosh` command sends both, one of them empty."""
    side = field(body, key, dict, BAD_REQUEST)
    number = str(side.get("id") or "")
    if number.isdigit():
        return call.services.store.configs.get(int(number)).content
    return str(field(side, "content", str, BAD_REQUEST))
