"""The application: finds the row, checks who calls, reads the body within its limits, and turns errors into answers.

Source: director API contract, sections 1, 2.4 and 4.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import logging
import os
import pathlib
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Iterable

from starlette import concurrency
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from director import errors
from director.api import calls, routes
from director.api.services import Services

log = logging.getLogger(__name__)

MAX_BODY = 32 << 20
MAX_UPLOAD = 10_000 << 20
TRUSTED_SECONDS = 60.0
TRUSTED_COUNT = 1000

NOT_FOUND = {10000, 20000, 30005, 30006, 50003, 70000, 70001, 70009, 100002, 440012, 810000}
STATUS = {
    **dict.fromkeys(NOT_FOUND, 404),
    100: 500,
    70012: 500,
    500000: 500,
    500001: 500,
    600000: 401,
    90000: 422,
    440013: 412,
    810004: 500,
    810009: 403,
}


class Authenticator:
    """Checks Basic credentials. A right answer is remembered for a minute, as a salted digest, since scrypt is slow on purpose."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._salt = secrets.token_bytes(16)
        self._known: dict[bytes, tuple[str, float]] = {}

    def __call__(self, header: str | None) -> str | None:
        """The user's name, or None."""
        scheme, _space, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        key = hashlib.sha256(self._salt + name.encode() + b"\0" + password.encode()).digest()
        now = self._services.clock()
        known = self._known.get(key)
        if known is not None and known[1] > now:
            return known[0]
        user = self._services.store.users.authenticate(name, password)
        if user is None:
            return None
        if len(self._known) >= TRUSTED_COUNT:
            self._known.clear()
        self._known[key] = (user.name, now + TRUSTED_SECONDS)
        return user.name


def make_app(services: Services) -> Starlette:
    """The ASGI application over these services."""
    authenticate = Authenticator(services)
    grouped: dict[str, list[routes.Row]] = {}
    for row in routes.ROWS:
        grouped.setdefault(row.path, []).append(row)
    table = [
        Route(path, _endpoint(services, authenticate, rows), methods=sorted({row.method for row in rows})) for path, rows in grouped.items()
    ]
    return Starlette(routes=table, exception_handlers={HTTPException: _no_route, Exception: _unexpected})


def _endpoint(services: Services, authenticate: Authenticator, rows: Iterable[routes.Row]) -> Callable[[Request], Awaitable[Response]]:
    rows = tuple(rows)

    async def serve(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        row = next((row for row in rows if row.method == method and (not row.media or media == row.media)), None)
        user = await concurrency.run_in_threadpool(authenticate, request.headers.get("authorization"))
        if user is None and not (row and row.anyone):
            return _unauthorized(request)
        if row is None:
            return _nowhere(request)
        try:
            return await _answer(services, row, request, user, media)
        except errors.CaissonError as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)

    return serve


async def _answer(services: Services, row: routes.Row, request: Request, user: str | None, media: str) -> Response:
    if len(request.headers.get("x-bosh-context-id", "")) > calls.CONTEXT_ID_LIMIT:
        raise errors.UsageError(f"X-Bosh-Context-Id cannot be more than {calls.CONTEXT_ID_LIMIT} characters in length", code=70010)
    if "deployment" in request.path_params and not row.any_deployment:
        await concurrency.run_in_threadpool(services.store.deployments.get, request.path_params["deployment"])
    body, upload = b"", None
    if row.stream:
        upload = await _file(services.uploads, request)
    else:
        body = await _body(request)
    try:
        call = calls.Call(services, user, dict(request.path_params), request.query_params, request.headers, body, media, upload)
        return await concurrency.run_in_threadpool(row.handler, call)
    except BaseException:
        # The task that would own the file was not made.
        if upload is not None:
            upload.unlink(missing_ok=True)
        raise


async def _body(request: Request) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY:
            raise _too_large(MAX_BODY)
        pieces.append(piece)
    return b"".join(pieces)


async def _file(folder: pathlib.Path, request: Request) -> pathlib.Path:
    """The body in a file of its own, piece by piece; `.tgz` or, for a light stemcell, `.yml`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=folder, prefix="upload-")
    path, size, head = pathlib.Path(name), 0, b""
    try:
        with os.fdopen(handle, "wb") as stream:
            async for piece in request.stream():
                size += len(piece)
                if size > MAX_UPLOAD:
                    raise _too_large(MAX_UPLOAD)
                head = head or piece[:2]
                await concurrency.run_in_threadpool(stream.write, piece)
        if not size:
            raise errors.UsageError("The archive is empty", code=30002, suggestion="Send the archive as the body.")
        final = path.with_suffix(".tgz" if head == b"\x1f\x8b" else ".yml")
        path.rename(final)
        return final
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise errors.CaissonError(
                "The director has no room for the archive", code=500001, suggestion="Free some, or run 'caisson clean-up'."
            ) from error
        raise


def _too_large(limit: int) -> errors.UsageError:
    return errors.UsageError(
        f"The body is larger than {limit >> 20} MiB", code=40003, suggestion="Send less, or raise the limit in the director's source."
    )


def _refusal(error: errors.CaissonError) -> Response:
    code = error.code
    status = STATUS.get(code or 0) or (
        404 if isinstance(error, errors.NotFoundError) else 409 if isinstance(error, errors.ConflictError) and code is None else 400
    )
    shape = {
        "code": code or (100002 if status == 404 else 100),
        "description": error.message,
        "diagnostics": [item.to_dict() for item in error.diagnostics],
    }
    return calls.answer(shape, status)


def _unauthorized(request: Request) -> Response:
    response = calls.words(f"Not authorized: '{request.url.path}'\n", 401)
    response.headers["WWW-Authenticate"] = 'Basic realm="BOSH Director"'
    return response


def _nowhere(request: Request) -> Response:
    return calls.words(f"Endpoint '{request.url.path}' not found.", 404)


def _no_route(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code not in (404, 405):
        return calls.words(error.detail, error.status_code)
    return _nowhere(request)


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return calls.answer({"code": 100, "description": "The director failed to answer; its log says why"}, 500)
