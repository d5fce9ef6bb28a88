"""What OpenStack's services answer when they refuse, as errors of the contract. Source: CPI contract, sections 4.2, 5 and 9.4."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cpis.cloud import faults
from cpis.cloud.text import first_line, redact
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, Quota, Throttled, Unavailable

_REQUEST_IDS = ("x-openstack-request-id", "x-compute-request-id", "openstack-request-id")
_POLICY = re.compile(r"Policy doesn't allow (\S+)|disallowed by policy|not authorized|Insufficient permissions", re.IGNORECASE)
_QUOTA = re.compile(r"quota exceeded|exceeded for quota|maximum number of .* (allowed|exceeded)|exceeds allowed .* quota|OverQuota|"
                    r"exceeded, allowed", re.IGNORECASE)
_BUSY = re.compile(r"while it is in task_state|immutable", re.IGNORECASE)
_NO_HOST = re.compile(r"no valid host|exceeded max scheduling attempts|exhausted all hosts|not enough .* available|"
                      r"insufficient compute resources|build of instance .* aborted: .*(no capacity)", re.IGNORECASE)
_NOVA_QUOTA = re.compile(r"Quota exceeded for ([\w, ]+): Requested ([\d, ]+), but already used ([\d, ]+) of ([\d, ]+)")
_CINDER_QUOTA = re.compile(r"\((\d+)G? of (\d+)G? already consumed\)|allowed \((\d+)\)")


class ServiceError(Exception):
    """An answer with an error status: what Libcloud's exceptions leave out (its text says `404 None ...`, and lacks the headers)."""

    def __init__(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.body = body
        self.headers = {key.lower(): value for key, value in headers.items()}

    @property
    def request_id(self) -> str:
        """The service's id of the request, by which its operator finds it in the logs."""
        return next((self.headers[name] for name in _REQUEST_IDS if self.headers.get(name)), "")

    @property
    def of_service(self) -> bool:
        """False for a page of something in between: what it does not find says nothing of what the service has."""
        try:
            return isinstance(json.loads(self.body), Mapping)
        except ValueError:
            return "No image found with ID" in self.body  # older Glance answers with a page

    def read(self) -> tuple[str, str, float | None]:
        """(message, code, seconds to wait or None), from whichever form this service's errors have."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return first_line(self.body), "", None
        return _read(document)


def _read(document: Any) -> tuple[str, str, float | None]:
    """Nova, Cinder: {"itemNotFound": {code, message, retryAfter?}}. Keystone: {"error": {code, message, title}}. Neutron: {"NeutronError":
    {type, message, detail}}. Placement: {"errors": [{status, title, detail}]}. Octavia: {faultcode, faultstring}. Glance: {message (with
    HTML in it), code, title}. Or plain text in JSON.
    """
    if not isinstance(document, Mapping) or not document:
        return first_line(str(document)) if document else "", "", None
    if isinstance(document.get("faultstring"), str):
        return first_line(document["faultstring"]), str(document.get("faultcode") or ""), None
    if isinstance(document.get("message"), str):
        return first_line(re.sub(r"<[^>]*>", " ", document["message"])), str(document.get("title") or ""), None
    name, inner = next(iter(document.items()))
    if isinstance(inner, list) and inner and isinstance(inner[0], Mapping):
        inner = inner[0]
    if not isinstance(inner, Mapping):
        return first_line(str(inner)), str(name), None
    message = inner.get("message") or inner.get("detail") or inner.get("title") or ""
    code = str(inner.get("type") or (name if name not in ("NeutronError", "error", "errors") else inner.get("title") or ""))
    wait = inner.get("retryAfter")
    seconds = float(wait) if isinstance(wait, int | float) or (isinstance(wait, str) and wait.isdigit()) else None
    return first_line(str(message)), code, seconds


class Explain:
    """Turns what a request raised into our error. `secrets` are hidden in all texts; `now` is a Unix time, for dates in `Retry-After`."""

    def __init__(self, secrets: Iterable[str] = (), now: Any = None) -> None:
        self._secrets = tuple(secrets)
        self._now = now

    def __call__(self, what: str, error: Exception) -> CpiError:
        found = self._of_service(what, error) if isinstance(error, ServiceError) else faults.unexplained(what, error)
        found.message = redact(found.message, self._secrets)
        found.args = (found.message,)
        return found

    def _of_service(self, what: str, error: ServiceError) -> CpiError:
        message, code, wait = error.read()
        text = f"{what}: {message or f'HTTP status {error.status}'}"
        header = faults.retry_after(error.headers, self._now() if self._now else None)
        asked = wait if wait is not None else header
        common: dict[str, Any] = {"code": "401" if error.status == 401 else code or str(error.status), "request_id": error.request_id}
        kind = _kind(error.status, message, code)
        if kind is NotFound and not error.of_service:
            return Unavailable(
                f"{text} (and this is no answer of the service)", code=faults.MALFORMED,
                suggestion="Does a proxy answer in the cloud's place? Is the address in the service catalog right?")
        if kind is Quota:
            used, limit = _amounts(message)
            return Quota(text, **common, used=used, limit=limit, suggestion="Free something, or have the project's quota raised.")
        if kind is Throttled:
            return Throttled(text, **common, retry_after_seconds=asked)
        if kind is Unavailable:
            return Unavailable(text, **common, retry_after_seconds=asked)
        if kind is Denied:
            return Denied(text, **common, suggestion=_denied(error.status, message))
        return kind(text, **common)


def _kind(status: int, message: str, code: str) -> type[CpiError]:
    words = f"{code} {message}"
    if status in (403, 409, 413) and _QUOTA.search(words):
        return Quota
    if status in (413, 429):
        return Throttled
    if status in (401, 403):
        return Denied
    if status in (404, 410):
        return NotFound
    if status == 409:
        return Conflict
    if status in (408, 425) or status >= 500:
        return Unavailable
    if status == 400 and re.search(r"could not be found|does not exist|Can not find requested", message):
        return NotFound if "image" in message.lower() else Invalid
    return Invalid


def _denied(status: int, message: str) -> str:
    if status == 401:
        return "Are user, password, project, domains and this computer's clock right? Has the application credential expired?"
    named = _POLICY.search(message)
    rule = f" ({named.group(1)})" if named and named.group(1) else ""
    return f"The user needs the role `member` in the project{rule}; docs/clouds/openstack.md lists what the director does."


def _amounts(message: str) -> tuple[str, str]:
    """(used, limit), where the service tells them."""
    nova = _NOVA_QUOTA.search(message)
    if nova:
        names, _, used, limit = ([part.strip() for part in group.split(",")] for group in nova.groups())
        return _list(names, used), _list(names, limit)
    cinder = _CINDER_QUOTA.search(message)
    if cinder:
        consumed, most, allowed = cinder.groups()
        return consumed or "", most or allowed or ""
    return "", ""


def _list(names: Iterable[str], values: Iterable[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=False))


def busy(error: CpiError) -> bool:
    """True for a refusal that passes by itself: the thing is in the middle of something else."""
    return isinstance(error, Conflict) and bool(_BUSY.search(error.message))


def of_fault(what: str, fault: Mapping[str, Any] | None) -> CpiError:
    """The error of a machine in state ERROR, from the `fault` that Nova shows."""
    message = first_line(str((fault or {}).get("message") or "")) or "Nova tells no reason"
    text = f"{what}: {message}"
    if _NO_HOST.search(message):
        return NoCapacity(
            text, code="NoValidHost", suggestion="Try another zone or a smaller flavor, or have the cloud's operator add hypervisors.")
    if _QUOTA.search(message):
        used, limit = _amounts(message)
        return Quota(text, used=used, limit=limit)
    return CpiError(text, code=str((fault or {}).get("code") or "ERROR"), suggestion="The cloud's operator finds more in Nova's log.")
