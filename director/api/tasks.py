"""Tasks and their outputs. Source: director API contract, section 3."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from starlette.responses import Response, StreamingResponse

from director.api.calls import Call, answer, field, words
from director.errors import NotFoundError, UsageError
from director.state import tasks as rows

# What `verbose=1` shows: that which changes something.
IMPORTANT = (
    "attach_disk",
    "create_snapshot",
    "delete_deployment",
    "delete_release",
    "delete_snapshot",
    "delete_stemcell",
    "export_release",
    "run_errand",
    "snapshot_deployment",
    "update_deployment",
    "update_instance",
    "update_release",
    "update_stemcell",
)
CANCELLABLE = ("queued", "processing")
OUTPUTS = ("event", "result", "debug", "cpi")
PIECE = 1 << 18


def shape(task: rows.TaskRow) -> dict[str, Any]:
    """A task's JSON; times are whole seconds."""
    return {
        "id": task.id,
        "state": task.state,
        "description": task.description,
        "timestamp": int(task.finished_at) if task.finished_at else None,
        "started_at": int(task.started_at) if task.started_at else None,
        "result": task.result or None,
        "user": task.user,
        "deployment": task.deployment or None,
        "context_id": task.context_id,
    }


def index(call: Call) -> Response:
    limit = call.query.get("limit")
    if limit is not None and not limit.isdigit():
        raise UsageError(f"'limit' must be a number, not '{limit}'", code=40000)
    found = call.services.store.tasks.select(
        states=[state for state in call.query.get("state", "").split(",") if state],
        types=() if call.query.get("verbose", "1") == "2" else IMPORTANT,
        deployment=call.query.get("deployment", ""),
        context_id=call.query.get("context_id", ""),
        limit=max(1, int(limit)) if limit is not None else None,
    )
    return answer([shape(task) for task in found])


def show(call: Call) -> Response:
    return answer(shape(_task(call)))


def cancel(call: Call) -> Response:
    task = _task(call)
    if task.state not in CANCELLABLE:
        return words(f"Cannot cancel task {task.id}: invalid state ({task.state})", 400)
    call.services.tasks.cancel(task.id)
    return Response(status_code=204)


def cancel_many(call: Call) -> Response:
    body = call.json()
    states = field(body, "states", list, default=None) or ["queued"]
    for state in states:
        if state not in CANCELLABLE:
            return words(f"{state} is not one of the cancellable states: {', '.join(CANCELLABLE)}", 400)
    chosen = call.services.store.tasks.select(
        states=states, types=field(body, "types", list, default=()), deployment=field(body, "deployment", str, default="")
    )
    for task in chosen:
        try:
            call.services.tasks.cancel(task.id)
        except UsageError:
            # It ended between the query and now, which is as good.
            continue
    return Response(status_code=204)


def output(call: Call) -> Response:
    """An output, whole or the asked range of it; see the table of section 3.4. The header `Task-State` is an addition of ours: the task's
    state, read before the output, so that whoever follows a task needs one request where two are usual."""
    task = _task(call)
    response = _output(call, task)
    response.headers["Task-State"] = task.state
    return response


def _output(call: Call, task: rows.TaskRow) -> Response:
    kind = call.query.get("type", "debug")
    if kind == "none":
        return Response(status_code=204)
    if kind not in OUTPUTS:
        raise UsageError(f"Unknown type {kind}", code=600000)
    path = call.services.tasks.output(task.id, kind)
    if path is None or not path.exists():
        return Response(status_code=204)
    return ranged(path, call.headers.get("range"), "text/plain")


def ranged(path: pathlib.Path, header: str | None, media: str) -> Response:
    """The file, or one range of it as 206. Malformed or several ranges give the whole; a start behind the end gives 416.

    The size is taken once: what is appended meanwhile belongs to the next request.
    """
    size = path.stat().st_size
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or match.groups() == ("", "") or size == 0:
        return _part(path, 0, size, 200, media, {})
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or end < start:
        response = words("Byte range unsatisfiable", 416)
        response.headers["Content-Range"] = f"bytes */{size}"
        return response
    return _part(path, start, end - start + 1, 206, media, {"Content-Range": f"bytes {start}-{end}/{size}"})


def _part(path: pathlib.Path, start: int, length: int, status: int, media: str, headers: dict[str, str]) -> Response:
    headers = {**headers, "Content-Length": str(length), "Accept-Ranges": "bytes"}
    if length <= PIECE:
        with path.open("rb") as stream:
            stream.seek(start)
            return Response(stream.read(length), status, headers, media)
    return StreamingResponse(_pieces(path, start, length), status, headers, media)


def _pieces(path: pathlib.Path, start: int, length: int) -> Any:
    with path.open("rb") as stream:
        stream.seek(start)
        while length > 0 and (piece := stream.read(min(PIECE, length))):
            length -= len(piece)
            yield piece


def _task(call: Call) -> rows.TaskRow:
    text = call.path["id"]
    if not text.isdigit() or len(text) > 18:
        raise NotFoundError(f"Task {text} not found", code=10000)
    return call.services.store.tasks.get(int(text))
