"""What goes wrong below a cloud's own errors: connections, TLS, time-outs, answers that are none. And how a time to wait is told."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping

import requests
from libcloud.common.exceptions import BaseHTTPError, RateLimitReachedError
from libcloud.common.types import InvalidCredsError, LibcloudError, MalformedResponseError
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from cpis.cloud.text import first_line
from cpis.contract import Conflict, CpiError, Denied, Invalid, NotFound, Throttled, Unavailable

NOT_SENT = "not-sent"
"""The `code` of an Unavailable whose request never left: nothing can have happened, so any request may be repeated."""
LOST = "lost"
"""The `code` of an Unavailable whose answer did not come: the effect may be there."""
MALFORMED = "malformed"
"""The `code` of an answer that is not in the cloud's language."""


def retry_after(headers: Mapping[str, str] | None, now: float | None = None) -> float | None:
    """Seconds that a `Retry-After` asks for: a number, or a date (then against `now`, a Unix time); None without one or for nonsense."""
    text = next((value for key, value in (headers or {}).items() if key.lower() == "retry-after"), "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


def of_transport(what: str, error: Exception) -> CpiError | None:
    """Our error for one that every cloud can have, or None for others. `what` is the call in the cloud's words."""
    if isinstance(error, CpiError):
        return error
    if isinstance(error, requests.exceptions.SSLError):
        return Denied(
            f"{what}: the certificate of the cloud does not verify: {first_line(str(error))}", code="tls",
            suggestion="Give the CA that signed it as connection_options.ca_cert, and look at this computer's clock.")
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout):
        return _of_connection(what, error)
    if isinstance(error, requests.exceptions.RequestException | OSError | EOFError):
        return Unavailable(f"{what}: the answer did not come: {first_line(str(error)) or type(error).__name__}", code=LOST)
    if isinstance(error, InvalidCredsError):
        return Denied(f"{what}: {first_line(str(error.value))}", code="401", suggestion="Are the credentials of the CPI config right?")
    if isinstance(error, RateLimitReachedError):
        return Throttled(f"{what}: too many requests", code="429", retry_after_seconds=retry_after(error.headers) or error.retry_after)
    if isinstance(error, MalformedResponseError):
        return Unavailable(f"{what}: this is no answer of the cloud's API: {first_line(error.body or '')}", code=MALFORMED)
    if isinstance(error, BaseHTTPError):
        return by_status(what, int(error.code), str(error.message or ""), error.headers)
    return None


def _of_connection(what: str, error: Exception) -> CpiError:
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", inner)
    if isinstance(reason, NameResolutionError):
        return Unavailable(
            f"{what}: the name of the cloud's endpoint does not resolve: {first_line(str(reason))}", code=NOT_SENT,
            suggestion="Is the region or endpoint of the CPI config right, and does this computer reach a resolver?")
    if isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(reason, NewConnectionError | ConnectTimeoutError):
        return Unavailable(
            f"{what}: the cloud's endpoint cannot be reached: {first_line(str(reason))}", code=NOT_SENT,
            suggestion="Is the endpoint of the CPI config right, and does a proxy or firewall stand between?")
    return Unavailable(f"{what}: the answer did not come: {first_line(str(reason or error))}", code=LOST)


def by_status(
    what: str, status: int, message: str, headers: Mapping[str, str] | None = None, *, code: str = "", request_id: str = "",
) -> CpiError:
    """The error of an HTTP status, for clouds whose own code says no more."""
    kinds: dict[int, type[CpiError]] = {401: Denied, 403: Denied, 404: NotFound, 410: NotFound, 409: Conflict, 429: Throttled}
    kind = kinds.get(status, Unavailable if status in (408, 425) or status >= 500 else Invalid)
    return kind(
        f"{what}: {first_line(message) or f'HTTP status {status}'}", code=code or str(status), request_id=request_id,
        retry_after_seconds=retry_after(headers))


def unexplained(what: str, error: Exception) -> CpiError:
    """The last resort: what no rule knows. It is permanent, since nobody can say that a second try is safe."""
    found = of_transport(what, error)
    if found is not None:
        return found
    if isinstance(error, LibcloudError):
        return CpiError(f"{what}: {first_line(str(error.value))}")
    if isinstance(error, KeyError | IndexError | TypeError | AttributeError | ValueError):
        return Unavailable(
            f"{what}: the cloud's answer lacks something or has it in another form ({type(error).__name__}: {first_line(str(error))})",
            code=MALFORMED, suggestion="Does a proxy answer in the cloud's place? Is the endpoint the API's?")
    return CpiError(f"{what}: {type(error).__name__}: {first_line(str(error))}")
