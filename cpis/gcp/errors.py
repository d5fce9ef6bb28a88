"""What Compute Engine says when it refuses, as errors of the contract. Sources: CPI contract, sections 4.2, 8.2 and 8.4."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from cpis.cloud.faults import MALFORMED, by_status, retry_after, unexplained
from cpis.cloud.text import first_line
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, Quota, Throttled, Unavailable
from cpis.gcp.driver import NotJson, Refusal, seconds_to_next_minute

EXISTS = ("alreadyExists", "RESOURCE_ALREADY_EXISTS")
STALE = "conditionNotMet"
ADDRESS_TAKEN = ("IP_IN_USE_BY_ANOTHER_RESOURCE", "EXTERNAL_IP_IN_USE")
NOT_READY = ("resourceNotReady", "RESOURCE_NOT_READY")
MEMBER = ("memberAlreadyExists", "MEMBER_ALREADY_EXISTS")

_KINDS: Mapping[str, type[CpiError]] = {
    "rateLimitExceeded": Throttled, "userRateLimitExceeded": Throttled, "RATE_LIMIT_EXCEEDED": Throttled,
    "RESOURCE_OPERATION_RATE_EXCEEDED": Throttled, "resourceOperationRateExceeded": Throttled,
    "quotaExceeded": Quota, "QUOTA_EXCEEDED": Quota, "limitExceeded": Quota, "LIMIT_EXCEEDED": Quota,
    "RESOURCE_EXHAUSTED": Quota, "CPU_QUOTA_EXCEEDED": Quota,
    "ZONE_RESOURCE_POOL_EXHAUSTED": NoCapacity, "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": NoCapacity,
    "REGION_RESOURCE_POOL_EXHAUSTED": NoCapacity, "RESOURCE_POOL_EXHAUSTED": NoCapacity, "VM_MIN_COUNT_NOT_REACHED": NoCapacity,
    "STOCKOUT": NoCapacity, "resourcePoolExhausted": NoCapacity,
    "alreadyExists": Conflict, "RESOURCE_ALREADY_EXISTS": Conflict, "ALREADY_EXISTS": Conflict,
    "resourceInUseByAnotherResource": Conflict, "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE": Conflict, "RESOURCE_IN_USE": Conflict,
    "IP_IN_USE_BY_ANOTHER_RESOURCE": Conflict, "EXTERNAL_IP_IN_USE": Conflict,
    "conditionNotMet": Conflict, "CONDITION_NOT_MET": Conflict, "fingerprintMismatch": Conflict,
    "resourceNotReady": Conflict, "RESOURCE_NOT_READY": Conflict, "memberAlreadyExists": Conflict, "MEMBER_ALREADY_EXISTS": Conflict,
    "notFound": NotFound, "RESOURCE_NOT_FOUND": NotFound, "NOT_FOUND": NotFound,
    "authError": Denied, "required": Invalid, "invalid": Invalid, "forbidden": Denied, "insufficientPermissions": Denied,
    "accessNotConfigured": Denied, "PERMISSION_DENIED": Denied, "PERMISSIONS_ERROR": Denied, "UNAUTHENTICATED": Denied,
    "INVALID_FIELD_VALUE": Invalid, "INVALID_USAGE": Invalid, "UNSUPPORTED_OPERATION": Invalid, "badRequest": Invalid,
    "backendError": Unavailable, "internalError": Unavailable, "INTERNAL_ERROR": Unavailable, "BACKEND_ERROR": Unavailable,
}
_TARGET = re.compile(r"projects/[^/\s']+/((?:zones|regions|global)[^\s'?]*)")
_LONG_VALUE = re.compile(r"'[^']{100,}('|$)")  # wrong values are repeated whole, metadata with keys in it too
_LIMIT = re.compile(r"[Ll]imit:?\s*([0-9.]+)")
_USED = re.compile(r"[Uu]sage:?\s*([0-9.]+)")
_METRIC = re.compile(r"[Qq]uota '([A-Z0-9_.\-]+)' exceeded")
_SUGGESTIONS: Mapping[type[CpiError], str] = {
    Quota: "Delete what is not needed, ask for more in the console under IAM & Admin, Quotas, or take another region.",
    NoCapacity: "Take another zone or machine type, or try again later.",
}


class Explainer:
    """`explainer(what, exception)` for `cpis.cloud.calls.Caller`. `clock` is Unix time: rates begin anew with each full minute."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def __call__(self, what: str, error: Exception) -> CpiError:
        if isinstance(error, Refusal):
            return self.of_code(
                what, error.reason, error.message, status=error.status, headers=error.headers, details=_details(error.body))
        if isinstance(error, NotJson):
            words = f"this is no answer of the API (HTTP {error.status}): {first_line(error.text) or 'nothing'}"
            if error.status < 400:
                return Unavailable(f"{what}: {words}", code=MALFORMED, suggestion="Does a proxy answer in the cloud's place?")
            return by_status(what, error.status, words, error.headers)
        return unexplained(what, error)

    def of_operation(self, what: str, operation: Mapping[str, Any]) -> CpiError | None:
        """The error of an operation that is done, or None. An operation fails inside an answer that is a success."""
        found = operation.get("error")
        if not found:
            return None
        errors = found.get("errors") if isinstance(found, Mapping) else None
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], Mapping) else {}
        others = [str(item.get("message") or "") for item in errors[1:] if isinstance(item, Mapping)] if isinstance(errors, list) else []
        message = "; ".join(filter(None, [str(first.get("message") or operation.get("httpErrorMessage") or "it failed"), *others]))
        status = operation.get("httpErrorStatusCode")
        return self.of_code(
            what, str(first.get("code") or ""), message, status=status if isinstance(status, int) else 400,
            request_id=str(operation.get("name") or ""), details=_details(first), target=str(operation.get("targetLink") or ""))

    def of_code(
        self, what: str, code: str, message: str, *, status: int, headers: Mapping[str, str] | None = None, request_id: str = "",
        details: Mapping[str, str] | None = None, target: str = "",
    ) -> CpiError:
        """The error that this code means; a code that nobody knows is judged by its HTTP status."""
        line = first_line(_LONG_VALUE.sub("'...'", message))
        kind = _KINDS.get(code)
        if status == 401 or (kind is None and status == 412):
            kind, code = (Denied, "401") if status == 401 else (Conflict, code or STALE)
        if kind is None or (kind in (Invalid, Denied) and status >= 500):
            kind = type(by_status(what, status, line))
        wait = retry_after(headers, self._clock())
        if kind is Throttled and wait is None:
            wait = seconds_to_next_minute(self._clock())
        found = _TARGET.search(target) or _TARGET.search(message)
        details = details or {}
        return kind(
            f"{what}: {line}", code=code or str(status), request_id=request_id, retry_after_seconds=wait,
            resource=found.group(1).rsplit("/", 1)[-1] if found else _first(_METRIC, message) if kind is Quota else "",
            kind=found.group(1).rsplit("/", 2)[-2].rstrip("s") if found and "/" in found.group(1) else "",
            limit=details.get("limit") or (_first(_LIMIT, message) if kind is Quota else ""),
            used=details.get("usage") or (_first(_USED, message) if kind is Quota else ""),
            suggestion=_SUGGESTIONS.get(kind, "") or (_denied(code, message) if kind is Denied else ""))


def _denied(code: str, message: str) -> str:
    if code == "401":
        return "Is the key of the service account still valid?"
    if code == "accessNotConfigured" or "has not been used in project" in message:
        return "Enable the API: gcloud services enable compute.googleapis.com storage.googleapis.com"
    return "Give the director's service account the role of docs/clouds/gcp.md, which names each permission."


def _details(error: Mapping[str, Any]) -> dict[str, str]:
    """`limit` and `usage` of a quota, where the answer has them apart: in `errorDetails` of an operation or `details` of an answer."""
    result: dict[str, str] = {}
    for key in ("errorDetails", "details"):
        items = error.get(key)
        for item in items if isinstance(items, list) else []:
            info = (item.get("quotaInfo") or item.get("metadatas") or item) if isinstance(item, Mapping) else {}
            for name in ("limit", "usage"):
                if isinstance(info, Mapping) and info.get(name) is not None:
                    result.setdefault(name, str(info[name]))
    return result


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1).rstrip(".") if found else ""
