"""What the real EC2 does and moto does not, around moto's application.

Source: cloud-emulators reference, 1.1 and 1.3, and the service's public API reference. Added here: the real namespace and error form,
signatures that are checked, client tokens, the filter `client-token`, addresses in use or outside, volumes in use, zones that must agree,
tags on network interfaces and images, import of snapshots, pages, and faults by script.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4
from xml.sax.saxutils import escape

from cpis.conformance.clouds.aws import parameters, rules
from cpis.conformance.clouds.aws.rules import Params, Refusal
from cpis.conformance.clouds.aws.signatures import Checker

CONTROL = "/stand-in/"
_NAMESPACE = re.compile(rb'(xmlns="http://ec2\.amazonaws\.com/doc/[0-9-]+)"')
_IDEMPOTENT = ("RunInstances", "CreateVolume", "CopyImage", "ImportSnapshot", "CreateNetworkInterface")
_ITEM = re.compile(rb"<(?:instanceId)>(i-[0-9a-f]+)<")
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclasses.dataclass
class Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclasses.dataclass
class Script:
    """Calls number `nth` to `nth + times - 1` of `action` (`*`: any) are answered with `code`, or with `body` as it is.

    `when` is `before` the effect, or `after` it: the effect is there, and only its answer is lost.
    """

    action: str
    code: str = ""
    message: str = ""
    status: int = 400
    nth: int = 1
    times: int = 1
    when: str = "before"
    body: str = ""
    seen: int = 0


class Service:
    """A WSGI application. `settings` and `scripts` are changed by `POST /stand-in/settings` and `/stand-in/scripts` with JSON, and
    furnished by `/stand-in/furnish` (`seeds.wanted`)."""

    def __init__(self, moto: Application, world: rules.World, checker: Checker,
                 furnish: Callable[[Mapping[str, Any]], dict[str, Any]], latency: float = 0.0) -> None:
        self._moto = moto
        self._world = world
        self._checker = checker
        self._furnish = furnish
        self._latency = latency
        self._lock = threading.RLock()  # moto's stores are no more than dictionaries
        self._tokens: dict[tuple[str, str], tuple[str, Answer]] = {}
        self._fixed: dict[str, Answer] = {}
        self._seen: list[tuple[str, str]] = []
        self._scripts: list[Script] = []

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        if path.startswith(CONTROL):
            answer = self._control(environ["REQUEST_METHOD"], path.removeprefix(CONTROL), body)
        else:
            answer = self._serve(environ, body)
        headers = [(name, value) for name, value in answer.headers if name.lower() not in ("content-length", "connection")]
        length = [value for name, value in answer.headers if name.lower() == "content-length"]
        if environ["REQUEST_METHOD"] != "HEAD":
            length = [str(len(answer.body))]
        start_response(answer.status, [*headers, *(("Content-Length", value) for value in length)])
        return [answer.body]

    def _control(self, method: str, what: str, body: bytes) -> Answer:
        with self._lock:
            result: object = {}
            if what == "requests":
                result = self._seen
                if method == "DELETE":
                    self._seen = []
            elif what == "scripts":
                self._scripts = [Script(**script) for script in json.loads(body)]
            elif what == "settings":
                self._world.settings.update(json.loads(body))
                if self._world.settings.pop("expire", False):
                    self._checker.expire()
            elif what == "furnish":
                try:
                    result = self._furnish(json.loads(body))
                except Refusal as refusal:
                    return Answer("400 refused", [("Content-Type", "text/plain")], refusal.message.encode())
            elif what == "state":
                result = self._world.counts()
        return Answer("200 OK", [("Content-Type", "application/json")], json.dumps(result).encode())

    # One request

    def _serve(self, environ: Environ, body: bytes) -> Answer:
        if self._latency:
            time.sleep(self._latency)
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        is_ec2 = "/ec2/" in authorization or not authorization
        params = Params(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            params.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        action = str(params.get("Action") or environ.get("PATH_INFO", "/"))
        with self._lock:
            self._seen.append((environ["REQUEST_METHOD"], action))
            scripted = self._scripted(action)
        if scripted and scripted.when == "before":
            return _scripted_answer(scripted)
        try:
            self._checker.check(environ, body)
            if "/servicequotas/" in authorization:
                return _json({"Quota": {"QuotaName": "Running On-Demand instances", "Value": self._world.settings.get("vcpus", 640.0)}})
            if "/elasticloadbalancing/" in authorization:
                parameters.check("elb" if params.get("Version") == parameters.model("elb").api_version else "elbv2", action, params)
                # The service takes any path, and Libcloud puts the version there; moto knows the root only.
                rules.classic_balancer(self._world, params)
                environ = {**environ, "PATH_INFO": "/", "REQUEST_URI": "/", "RAW_URI": "/"}
            if "/sts/" in authorization:
                parameters.check("sts", action, params)
            answer = self._ec2(environ, action, params) if is_ec2 else self._pass(environ)
            if action == "AssumeRole":
                self._checker.learn(answer.body.decode())
        except Refusal as refusal:
            answer = _refused(refusal)
        return _scripted_answer(scripted) if scripted else answer

    def _scripted(self, action: str) -> Script | None:
        for script in self._scripts:
            if script.action in (action, "*"):
                script.seen += 1
                if script.nth <= script.seen < script.nth + script.times:
                    return script
        return None

    def _ec2(self, environ: Environ, action: str, params: Params) -> Answer:
        parameters.check("ec2", action, params)
        if action in self._world.settings.get("denied", ()):
            raise Refusal("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        with self._lock:
            token = params.get("ClientToken", "")
            if params.get("DryRun", "").lower() == "true" or action not in _IDEMPOTENT or not token:
                return self._effect(environ, action, params)
            shape = json.dumps(sorted((key, value) for key, value in params.items() if key != "ClientToken" and "-amz-" not in key.lower()))
            known = self._tokens.get((action, token))
            if known is None:
                answer = self._effect(environ, action, params)
                if answer.status.startswith("200"):
                    self._tokens[action, token] = (shape, answer)
                return answer
            if known[0] != shape:
                raise Refusal(
                    "IdempotentParameterMismatch",
                    f"The client token '{token}' has been used before with other parameters: arguments on this idempotent request are "
                    "inconsistent with arguments used in previous request(s).",
                )
            for instance in _ITEM.findall(known[1].body):
                self._world.must_live(instance.decode())
            return known[1]

    def _effect(self, environ: Environ, action: str, params: Params) -> Answer:
        own = rules.OWN.get(action)
        if own is not None:
            return _xml(action, own(self._world, params))
        before = rules.BEFORE.get(action)
        if before is not None:
            before(self._world, params)
        size = rules.page_size(action, params, self._world.settings)
        start = params.pop("NextToken", "") if size else ""
        asked = json.dumps(sorted(params.items()))
        answer = self._fixed.get(asked) or self._moto_ec2(environ, params)
        if action == "DescribeInstanceTypes":
            self._fixed[asked] = answer  # moto goes through its table of a thousand types for each page
        if not answer.status.startswith("200"):
            return answer
        after = rules.AFTER.get(action)
        if after is not None:
            after(self._world, params, answer.body.decode())
        if size:
            answer = dataclasses.replace(answer, body=rules.page(answer.body, start, size))
        return answer

    def _moto_ec2(self, environ: Environ, params: Mapping[str, str]) -> Answer:
        body = urlencode(params).encode()
        inner = {
            **environ, "REQUEST_METHOD": "POST", "QUERY_STRING": "", "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
        }
        answer = self._pass(inner)
        body = answer.body
        if b"<Errors>" in body[:400]:
            body = re.sub(rb'<Response xmlns="[^"]*"', b"<Response", body)
        return dataclasses.replace(answer, body=_NAMESPACE.sub(rb'\1/"', body))

    def _pass(self, environ: Environ) -> Answer:
        with self._lock:
            answer = Answer("500 none", [], b"")

            def keep(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
                answer.status, answer.headers = status, headers
                return lambda data: None

            chunks = self._moto(environ, keep)
            answer.body = b"".join(chunks)
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        return answer


def _json(document: object) -> Answer:
    return Answer("200 OK", [("Content-Type", "application/x-amz-json-1.1")], json.dumps(document).encode())


def _scripted_answer(script: Script) -> Answer:
    if script.body:
        return Answer(f"{script.status} scripted", [("Content-Type", "text/html")], script.body.encode())
    return _refused(Refusal(script.code, script.message or f"scripted {script.code}", script.status))


def _refused(refusal: Refusal) -> Answer:
    """As the service words its errors. Source: EC2 API reference, "Error response"."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message></Error></Errors>"
        f"<RequestID>{uuid4()}</RequestID></Response>"
    )
    return Answer(f"{refusal.status} refused", [("Content-Type", "text/xml;charset=UTF-8")], body.encode())


def _xml(action: str, inside: str) -> Answer:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>{uuid4()}</requestId>{inside}</{action}Response>"
    )
    return Answer("200 OK", [("Content-Type", "text/xml;charset=UTF-8")], body.encode())
