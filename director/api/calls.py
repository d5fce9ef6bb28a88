"""What a handler gets (`Call`) and how it answers. Handlers are plain functions, run in a thread each."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.responses import JSONResponse, PlainTextResponse, Response

from director.api.services import Services
from director.errors import UsageError

MAX_DEPTH = 64
CONTEXT_ID_LIMIT = 64


@dataclasses.dataclass(frozen=True)
class Call:
    """One request, authenticated. `body` is whole; for rows that stream, `upload` is a file and `body` is empty."""

    services: Services
    user: str | None
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    body: bytes = b""
    media: str = ""
    upload: pathlib.Path | None = None

    @property
    def deployment(self) -> str:
        return self.path["deployment"]

    def text(self) -> str:
        """The body as text. Raises UsageError 710000."""
        try:
            return self.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"The body is not UTF-8: {error}", code=710000) from error

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty one. Raises UsageError 710001, 40000."""
        try:
            found = json.loads(self.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise UsageError(f"The body is not JSON: {error}", code=710001) from error
        if not isinstance(found, dict):
            raise UsageError("The body must be a JSON object", code=40000)
        check_depth(found)
        return found

    def flag(self, name: str) -> bool:
        return self.query.get(name) == "true"

    def start(self, kind: str, arguments: Mapping[str, Any], description: str, deployment: str = "") -> Response:
        """Queue a task and send the caller to it."""
        context_id = self.headers.get("x-bosh-context-id", "")
        task_id = self.services.tasks.create(
            kind=kind, arguments=arguments, description=description, deployment=deployment, user=self.user or "", context_id=context_id
        )
        return Response(status_code=302, headers={"Location": f"/tasks/{task_id}"})


def check_depth(value: Any) -> None:
    """Raises UsageError for data nested deeper than anything of ours."""
    level, here = 0, [value]
    while here:
        if level > MAX_DEPTH:
            raise UsageError(f"The body is nested deeper than {MAX_DEPTH} levels", code=40000)
        level += 1
        here = [item for node in here if isinstance(node, (dict, list)) for item in (node.values() if isinstance(node, dict) else node)]


def field(body: Mapping[str, Any], name: str, kind: type, code: int = 40001, default: Any = dataclasses.MISSING) -> Any:
    """A typed entry. Raises UsageError `code` when missing, 40000 when of another type."""
    if name not in body or body[name] is None:
        if default is dataclasses.MISSING:
            raise UsageError(f"Required property '{name}' was not specified in object", code=code)
        return default
    if not isinstance(body[name], kind) or (kind is int and isinstance(body[name], bool)):
        raise UsageError(f"Property '{name}' value did not match the required type '{kind.__name__}'", code=40000)
    return body[name]


def answer(value: Any, status: int = 200) -> Response:
    return JSONResponse(value, status)


def words(text: str, status: int) -> Response:
    return PlainTextResponse(text, status)


def timestamp(seconds: float | None) -> str | None:
    """`2026-01-02T03:04:05Z`."""
    if not seconds:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unsupported(what: str) -> Response:
    """The contract has it, this director does not yet; better said than pretended."""
    return answer({"code": 100, "description": f"This director does not support {what} yet"}, 501)
