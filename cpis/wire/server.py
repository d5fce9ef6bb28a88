"""A request's text -> the answer. Whatever happens, the answer has the three keys of the contract, and no secret in it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cpis.cloud.text import redact
from cpis.contract import Cpi, CpiError, Invalid
from cpis.portable import facts
from cpis.wire import errors, secrets
from cpis.wire.config import Configuration
from cpis.wire.errors import BadCall
from cpis.wire.methods import METHODS, Call, Method, told

Tree = dict[str, Any]

_LOG = logging.getLogger("cpis.wire")


@dataclasses.dataclass(frozen=True)
class Cloud:
    """What an executable serves. `make` gets the configuration with `director` in it."""

    name: str
    make: Callable[[Mapping[str, Any]], Cpi]
    configuration: Configuration = dataclasses.field(default_factory=Configuration)


@dataclasses.dataclass(frozen=True)
class _Request:
    method: str
    arguments: list[Any]
    context: Tree
    version: int

    @classmethod
    def read(cls, text: str) -> _Request:
        """Raises BadCall, in the words of BOSH's CPIs. An unknown method is told before wrong arguments."""
        try:
            tree = json.loads(text)
        except ValueError as error:
            raise BadCall(f"Request cannot be deserialized, details: {error}") from error
        if not isinstance(tree, dict):
            raise BadCall("Request must be a hash")
        method, arguments, context, version = (tree.get(key) for key in ("method", "arguments", "context", "api_version"))
        if not isinstance(method, str):
            raise BadCall(f"Method must be a String, got: '{json.dumps(method)}'")
        if method not in METHODS:
            raise errors.NotImplementedHere(f"Method is not known, got: '{method}'")
        if not isinstance(arguments, list):
            raise BadCall("Arguments must be an Array")
        if not isinstance(context, dict) or not isinstance(context.get("director_uuid"), str):
            raise BadCall("Request should include context with director uuid")
        if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
            raise BadCall("CPI api_version requested must be an Integer")
        return cls(method, arguments, context, 1 if version is None else version)

    def secrets(self, configuration: Configuration) -> Iterator[str]:
        ours = self.context.get("caisson")
        context = {key: value for key, value in self.context.items() if key != "caisson"}
        for tree in (configuration.properties, configuration.agent, context):
            yield from secrets.of_config(tree)
        if isinstance(ours, dict) and isinstance(ours.get("login"), dict):
            yield from secrets.leaves(ours["login"].get("host_private_key"))
        if self.method == "create_vm":
            yield from secrets.of_config(self.arguments[2:4])
            yield from secrets.of_env(self.arguments[5] if len(self.arguments) > 5 else None)


def answer(text: str, cloud: Cloud) -> Tree:
    """`result`, `error` and `log`. Never raises."""
    hidden: list[str] = list(secrets.of_config({**cloud.configuration.properties, **cloud.configuration.agent}))
    result, error = None, None
    with _captured() as log:
        method, whole = "", False
        try:
            request = _Request.read(text)
            method, whole = request.method, isinstance(request.context.get("caisson"), dict)
            hidden += request.secrets(cloud.configuration)
            result = _do(request, METHODS[method], cloud)
        except BadCall as bad:
            error = _wrong("InvalidCall", str(bad))
        except CpiError as failed:
            error = errors.error_to(failed, method, cloud.name, whole=whole)
            _LOG.info("%s", traceback.format_exc())
        except Exception as unknown:  # a director reads an answer, and no traceback on stdout
            error = _wrong("Unknown", f"{type(unknown).__name__}: {unknown}")
            _LOG.error("%s", traceback.format_exc())
        said = log.getvalue()
    return {"result": result, "error": None if error is None else _clean(error, hidden), "log": redact(said, hidden)}


def _do(request: _Request, method: Method, cloud: Cloud) -> Any:
    arguments = method.arguments(request.arguments)
    given = request.context.get("caisson")
    configuration = cloud.configuration.with_context(request.context)
    ours = given if isinstance(given, dict) else {}
    director = str(ours.get("director") or request.context["director_uuid"])
    call = Call(cloud.name, configuration, request.context, request.version, ours)
    started = time.monotonic()
    _LOG.info("%s %s begins", request.context.get("request_id") or "", request.method)
    try:
        try:
            cpi = cloud.make({"director": director, **configuration.properties})
        except Invalid:
            if request.method != "info":
                raise
            return told(facts(cloud.name).stemcell_formats)  # row 38: also where nothing is configured
        with contextlib.closing(cpi):
            return method.function(cpi, call, *arguments)
    finally:
        _LOG.info("%s %s took %.2f s", request.context.get("request_id") or "", request.method, time.monotonic() - started)


def _wrong(kind: str, message: str) -> Tree:
    return {"type": kind, "message": message, "ok_to_retry": False}


def _clean(error: Tree, hidden: list[str]) -> Tree:
    return {
        key: redact(value, hidden) if isinstance(value, str) else _clean(value, hidden) if isinstance(value, dict) else value
        for key, value in error.items()
    }


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """What our CPIs and the libraries below them log, from `info` on."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("cpis")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
