"""Events. Source: director API contract, section 6.11."""

from __future__ import annotations

import datetime
from typing import Any

from starlette.responses import Response

from director.api.calls import Call, answer, field, words
from director.errors import NotFoundError, UsageError
from director.state import events as rows

FILTERS = ("task", "deployment", "instance", "user", "action", "object_type", "object_name")
FORMS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S %z", "%a %b %d %H:%M:%S %Z %Y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


def shape(event: rows.EventRow) -> dict[str, Any]:
    """Null and empty entries are left out."""
    full = {
        "id": str(event.id),
        "parent_id": str(event.parent_id) if event.parent_id else None,
        "timestamp": int(event.timestamp),
        "user": event.user,
        "action": event.action,
        "object_type": event.object_type,
        "object_name": event.object_name,
        "task": event.task,
        "deployment": event.deployment,
        "instance": event.instance,
        "error": event.error,
    }
    return {**{key: value for key, value in full.items() if value not in (None, "")}, "context": event.context or {}}


def index(call: Call) -> Response:
    query = call.query
    times: dict[str, float | None] = {}
    for name in ("before", "after"):
        text = query.get(f"{name}_time")
        try:
            times[name] = _time(text) if text else None
        except ValueError:
            return words(f"Invalid {name} parameter: '{text}' ", 400)
    before_id = query.get("before_id")
    if before_id is not None and not before_id.isdigit():
        return words(f"Invalid before_id parameter: '{before_id}' ", 400)
    filters: dict[str, Any] = {name: query.get(name, "") for name in FILTERS}
    found = call.services.store.events.select(
        before_id=int(before_id) if before_id else None, before_time=times["before"], after_time=times["after"], **filters
    )
    return answer([shape(event) for event in found])


def show(call: Call) -> Response:
    try:
        return answer(shape(call.services.store.events.get(int(call.path["id"]))))
    except (NotFoundError, ValueError):
        return words("Event not found", 404)


def add(call: Call) -> Response:
    """Record an event from outside."""
    body = call.json()
    call.services.store.events.add(
        field(body, "action", str, 40000), field(body, "object_type", str, 40000), field(body, "object_name", str, 40000),
        user=call.user or "", deployment=field(body, "deployment", str, default=""), instance=field(body, "instance", str, default=""),
        error=field(body, "error", str, default=""), context=field(body, "context", dict, default=None), timestamp=_given(body),
    )
    return Response(status_code=200)


def _given(body: dict[str, Any]) -> float | None:
    told = body.get("timestamp")
    if told is None:
        return None
    try:
        return _time(str(told))
    except ValueError as error:
        raise UsageError(f"Property 'timestamp' is no time: '{told}'", code=40000) from error


def _time(text: str) -> float:
    """Seconds, of an epoch or of a date in one of the usual forms; raises ValueError."""
    if text.lstrip("-").isdigit():
        return float(text)
    for form in FORMS:
        try:
            found = datetime.datetime.strptime(text, form)
        except ValueError:
            continue
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    raise ValueError(text)
