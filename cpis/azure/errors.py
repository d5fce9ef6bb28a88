"""From what Azure answers to the errors of the contract. Source: CPI contract, sections 3, 4.2 and 7.4."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from libcloud.common.exceptions import BaseHTTPError

from cpis.cloud import faults
from cpis.cloud.text import first_line, redact
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, NotSupported, Quota, Throttled, Unavailable

BUSY = frozenset({
    "AnotherOperationInProgress", "RetryableError", "RetryableErrorDueToAnotherOperation", "OperationPreempted",
    "ConflictingConcurrentWriteNotAllowed", "AttachDiskWhileBeingDetached", "ReferencedResourceNotProvisioned", "DiskServiceInternalError",
    "StorageAccountOperationInProgress", "CanceledAndSupersededDueToAnotherOperation",
})
"""Conflicts that pass by themselves."""
HELD = frozenset({
    "NicReservedForAnotherVm", "NicInUse", "PublicIPAddressCannotBeDeleted", "InUseByVirtualMachine",
})
"""Why something cannot be deleted just after the machine that used it."""
ADDRESS_IN_USE = frozenset({"PrivateIPAddressInUse", "PrivateIPAddressIsAllocated", "IPAddressInUse", "PublicIPAddressInUse"})
EXPIRED = frozenset({"ExpiredAuthenticationToken", "InvalidAuthenticationToken", "AuthenticationFailed", "401"})

_CAPACITY = frozenset({
    "AllocationFailed", "ZonalAllocationFailed", "OverconstrainedAllocationRequest", "OverconstrainedZonalAllocationRequest",
    "SkuNotAvailable", "SpotEvicted", "VMSizeNotAvailable", "NoCapacity", "CapacityNotAvailable",
})
_QUOTA = re.compile(r"Quota|LimitReached|LimitExceeded|CountExceeded|MaximumNumber|CountLimit|SubnetIsFull")
_QUOTA_TEXT = re.compile(r"\bquota\b|maximum number of data disks|exceeding.*limit", re.IGNORECASE)
_LIMIT = re.compile(r"Current Limit: (\d+)|of this size is (\d+)|quota of (\d+)", re.IGNORECASE)
_USED = re.compile(r"Current Usage: (\d+)", re.IGNORECASE)
_KINDS: Mapping[str, type[CpiError]] = {
    **dict.fromkeys(BUSY | HELD | ADDRESS_IN_USE, Conflict), **dict.fromkeys(_CAPACITY, NoCapacity), **dict.fromkeys(EXPIRED, Denied),
    "SubscriptionNotFound": Denied, "InvalidSubscriptionId": Denied, "InvalidAuthenticationTokenTenant": Denied,
    "AuthorizationFailed": Denied, "LinkedAuthorizationFailed": Denied, "RequestDisallowedByPolicy": Denied,
    "ReadOnlyDisabledSubscription": Denied,
    "ScopeLocked": Denied, "MissingSubscriptionRegistration": Denied, "InvalidResourceReference": Invalid,
    "GalleryImageNotFound": NotFound, "PlatformImageNotFound": NotFound,
    "ImageNotFound": NotFound, "TooManyRequests": Throttled, "OperationNotAllowed": Conflict, "PropertyChangeNotAllowed": Conflict,
    "ConflictingUserInput": Conflict, "MethodNotAllowed": NotSupported, "InvalidResourceType": NotSupported,
    "NoRegisteredProviderFound": NotSupported, "Canceled": Unavailable, "VMStartTimedOut": Unavailable,
    "OSProvisioningTimedOut": Unavailable,
    "OSProvisioningInternalError": Unavailable, "GatewayTimeout": Unavailable, "ServerBusy": Unavailable,
}
_FAULTY = re.compile(r"Internal|TimedOut|Timeout|Unavailable|ServerError")
_ADVICE = {
    "AuthorizationFailed": "docs/clouds/azure.md has the role that the CPI needs.",
    "LinkedAuthorizationFailed": "The role is missing on the other resource that the error names; docs/clouds/azure.md has it.",
    "SubscriptionNotFound": "Is subscription_id right, and does the principal have a role in it?",
    "ResourceGroupNotFound": "Make the resource group first; the CPI makes none (docs/clouds/azure.md).",
    "ScopeLocked": "Somebody put a lock on the resource or its group: remove it with `az lock delete`.",
    "RequestDisallowedByPolicy": "A policy of the subscription refuses this; the error names it.",
    "NoRegisteredProviderFound": "Register the resource provider with `az provider register`.",
    "MissingSubscriptionRegistration": "Register the resource provider with `az provider register`.",
}
_LOGIN_ADVICE = {
    "AADSTS7000215": "client_secret is wrong or has expired: `az ad app credential reset` makes a new one.",
    "AADSTS7000222": "client_secret has expired: `az ad app credential reset` makes a new one.",
    "AADSTS700016": "Is client_id the application id, and of this tenant?",
    "AADSTS90002": "Is tenant_id right?",
    "AADSTS700024": "This computer's clock is wrong: compare it with another's.",
    "AADSTS700027": "The certificate is not one of the application's, or this computer's clock is wrong.",
}


class Answered(BaseHTTPError):
    """An answer of Azure with a status that says no. `azure_code` is empty for one that is not in Azure's form."""

    def __init__(self, status: int, azure_code: str, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(status, message, dict(headers))
        self.azure_code = azure_code


class LoginFailed(Exception):
    """No token was given. `code` is that of the directory (AADSTS...)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def answered(status: int, body: str, headers: Mapping[str, str]) -> Answered:
    """The error of an answer's text, whatever it is."""
    try:
        tree = json.loads(body)
    except ValueError:
        return Answered(status, "", body, headers)
    error = tree.get("error") if isinstance(tree, dict) else None
    if isinstance(error, dict):
        return Answered(status, str(error.get("code") or ""), sentence(error), headers)
    if isinstance(tree, dict) and "code" in tree:  # storage and some gateways have no envelope
        return Answered(status, str(tree["code"]), sentence(tree), headers)
    return Answered(status, "", body, headers)


def sentence(error: Mapping[str, Any]) -> str:
    """The message of an ARM error with those below it, which often have the reason."""
    texts = [str(error.get("message") or "")]
    details = error.get("details")
    if isinstance(details, list):
        texts += [sentence(item) for item in details if isinstance(item, dict)]
    return " ".join(dict.fromkeys(" ".join(text.split()) for text in texts if text))


def of_operation(what: str, error: Mapping[str, Any], request_id: str = "") -> CpiError:
    """The error of an operation that ended badly, after it was taken."""
    code = str(error.get("code") or "")
    details = error.get("details")
    inner = [str(item.get("code") or "") for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    code = next((item for item in (code, *inner) if item in _KINDS or item in _CAPACITY), code)
    return _made(what, 0, code, sentence(error) or code, {}, request_id)


class Explain:
    """Gives the error of the contract for what a request raised: `Explain(secrets)(what, error)`. Secrets never come into the text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)

    def __call__(self, what: str, error: Exception) -> CpiError:
        found = self._found(what, error)
        found.message = self._clean(found.message)
        found.args = (found.message,)
        return found

    def _clean(self, text: str) -> str:
        # The signature of an upload's URL is as good as a password.
        return re.sub(r"([?&;]sig=)[^&\s'\")]+", r"\1<redacted>", redact(text, self._secrets))

    def _found(self, what: str, error: Exception) -> CpiError:
        if isinstance(error, LoginFailed):
            return _login(what, error)
        if isinstance(error, Answered):
            headers = {key.lower(): value for key, value in (error.headers or {}).items()}
            request_id = headers.get("x-ms-request-id") or headers.get("x-ms-correlation-request-id") or ""
            return _made(what, int(error.code), error.azure_code, str(error.message), headers, request_id)
        return faults.unexplained(what, error)


def _login(what: str, error: LoginFailed) -> CpiError:
    text = f"{what}: no token: {first_line(str(error)) or f'HTTP status {error.status}'}"
    if error.status == 429:
        return Throttled(text, code="429")
    if error.status >= 500 or error.status == 0:
        return Unavailable(text, code=error.code or str(error.status))
    return Denied(text, code=error.code or str(error.status), suggestion=_LOGIN_ADVICE.get(error.code, "Are the credentials right?"))


def _made(what: str, status: int, code: str, message: str, headers: Mapping[str, str], request_id: str) -> CpiError:
    kind = _kind(status, code, message)
    limit, used = _LIMIT.search(message), _USED.search(message)
    named = re.search(r"/subscriptions/[^\s'\"]+/providers/[^\s'\",;)]+", message)
    text = first_line(message) or f"HTTP status {status}"
    if not code and status:
        text = f"HTTP status {status}, not in Azure's form: {text}"
    wait = faults.retry_after(headers)
    return kind(
        f"{what}: {text}" if not code else f"{what}: {code}: {text}", code=code or str(status), request_id=request_id,
        limit=next(filter(None, limit.groups()), "") if limit else "", used=used.group(1) if used else "",
        resource=named.group(0).rstrip(".") if named else "", suggestion=_ADVICE.get(code, ""), retry_after_seconds=wait)


def _kind(status: int, code: str, message: str) -> type[CpiError]:
    """Azure's code says more than the status; the status more than nothing. Raises nothing: every answer gets a kind."""
    if status == 429:
        return Throttled
    if code and code not in ("RetryableError",) and (_QUOTA.search(code) or (status in (0, 400, 403, 409) and _QUOTA_TEXT.search(message))):
        return Quota
    if code in _KINDS:
        return _KINDS[code]
    if not code and status in (404, 410):
        return Unavailable  # a proxy's page is no proof that the thing does not exist
    by_status: dict[int, type[CpiError]] = {
        401: Denied, 403: Denied, 404: NotFound, 410: NotFound, 409: Conflict, 412: Conflict, 405: NotSupported, 501: NotSupported}
    if status in by_status:
        return by_status[status]
    if status >= 500 or status in (408, 425) or (status == 0 and _FAULTY.search(code)):
        return Unavailable
    return Invalid


def with_more(error: CpiError, text: str) -> CpiError:
    """The same error with a further sentence."""
    return type(error)(
        f"{error.message}; {text}", resource=error.resource, request_id=error.request_id, limit=error.limit, used=error.used,
        suggestion=error.suggestion, retry_after_seconds=error.retry_after_seconds, code=error.code, kind=error.kind)
