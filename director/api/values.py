"""Values of variables that somebody sets or asks for by name: ours, in place of a config server's. Who asked is recorded; nothing else
of the API tells a value."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from director.api.calls import Call, answer, field, timestamp
from director.api.rotations import absolute, details, owner
from director.errors import NotFoundError, UsageError
from director.variables import Vault, given

NOT_FOUND = 540002


def put(call: Call) -> Response:
    """Keep a value as the newest version of a name."""
    body = call.json()
    name, type_ = absolute(call, body), field(body, "type", str, default="value")
    if body.get("value") is None:
        raise UsageError("Required property 'value' was not specified in object", code=40001)
    known = {row.name: row for row in call.services.store.variables.all_latest()}
    row = given.keep(_vault(call), known, name, type_, body["value"])
    with call.services.store.transaction(durable=True):
        call.services.store.variables.add(row)
        _event(call, "create", name, {"latest_version": True, "name": name, "id": row.id, "what": "value set"})
    return answer({"id": row.id, "name": name, "type": row.type})


def reveal(call: Call) -> Response:
    """The value of the newest version, or of the one whose `id` is given."""
    body = call.json()
    name, wanted = absolute(call, body), field(body, "id", str, default="")
    versions = call.services.store.variables.versions(name)
    row = next((row for row in versions if not wanted or row.id == wanted), None)
    if row is None:
        raise NotFoundError(
            f"There is no variable '{name}'" + (f" with id '{wanted}'" if wanted else ""), code=NOT_FOUND,
            suggestion="'caisson variable NAME' lists its versions." if versions else "'caisson variables --details' lists them.")
    value = _vault(call).value(row.id)
    _event(call, "reveal", name, {"name": name, "id": row.id})
    return answer({"id": row.id, "name": name, "type": row.type, "value": value})


def versions(call: Call) -> Response:
    """All versions of a name with their uses, newest first; no values."""
    name = "/" + call.path["name"].removeprefix("/")
    found = next((info for info in details(call) if info["name"] == name), None)
    if found is None:
        raise NotFoundError(f"There is no variable '{name}'", code=NOT_FOUND, suggestion="'caisson variables --details' lists them.")
    rows: list[dict[str, Any]] = []
    for row in call.services.store.variables.versions(name):
        uses = [use for use in found["uses"] if use["id"] == row.id]
        rows.append({
            "id": row.id, "name": name, "type": row.type, "created_at": timestamp(row.created_at), "expiry_date": timestamp(row.expires_at),
            "uses": uses})
    return answer(rows)


def _vault(call: Call) -> Vault:
    vault = call.services.vault
    if vault is None:
        raise NotFoundError("This director keeps no variables", code=NOT_FOUND)
    return vault


def _event(call: Call, action: str, name: str, context: dict[str, Any]) -> None:
    call.services.store.events.add(
        action, "variable", name, user=call.user or "", deployment=owner(call, name), context=context)
