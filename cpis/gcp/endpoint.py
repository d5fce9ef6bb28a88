"""What token endpoints answer, as errors of the contract, and requests to them through the CPI's own CA and no longer than is good."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from cpis.cloud.faults import by_status, unexplained
from cpis.cloud.text import first_line, redact
from cpis.contract import Denied

_TIMEOUT_SECONDS = 30.0
_SECRETS = ("assertion", "client_secret", "refresh_token", "subject_token", "actor_token")
# A machine's own: a proxy would answer for another one.
_LINK_LOCAL = ("169.254.169.254", "fd00:ec2::254", "metadata.google.internal")


class Answer:
    """An answer with a good status, as google-auth wants it."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


class Endpoint:
    """`google.auth.transport.Request`: one request. An answer that says no is raised here, so that nothing is tried again but by the CPI,
    with its own clock and patience.
    """

    def __init__(self, ca_file: str | None, session: Callable[[], requests.Session]) -> None:
        self._ca_file = ca_file
        self._session = session

    def __call__(
        self, url: str, method: str = "GET", body: bytes | str | None = None, headers: Mapping[str, str] | None = None,
        timeout: float | None = None, **more: Any,
    ) -> Answer:
        """Raises Denied, Unavailable, Throttled."""
        what = f"token from {url.partition('?')[0]}"
        try:
            with self._session() as session:
                session.trust_env = urlsplit(url).hostname not in _LINK_LOCAL
                answer = session.request(
                    method, url, data=body, headers=headers, timeout=min(timeout or _TIMEOUT_SECONDS, _TIMEOUT_SECONDS),
                    verify=self._ca_file or True, **more)
        except requests.exceptions.RequestException as error:
            raise unexplained(what, error) from None
        if not 200 <= answer.status_code < 300:
            answered(what, answer.status_code, answer.text, answer.headers, _secrets_of(body))
        return Answer(answer.status_code, answer.headers, answer.content)


def _secrets_of(body: bytes | str | None) -> tuple[str, ...]:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    form = parse_qs(text)
    return tuple(value for name in _SECRETS for value in form.get(name, ()))


def answered(
    what: str, status: int, text: str, headers: Mapping[str, str], secrets: tuple[str, ...] = (),
) -> Mapping[str, Any]:
    """The object in an answer. Raises Denied, Unavailable, Throttled for others, with what the endpoint says of the reason."""
    body: Any = None
    with contextlib.suppress(ValueError):
        body = json.loads(text)
    if status == 200 and isinstance(body, dict):
        return body
    told = body if isinstance(body, dict) else {}
    error = told.get("error")
    # OAuth has a word and a sentence, Google's other APIs an object.
    reason = str(error.get("status") or "") if isinstance(error, dict) else str(error or "")
    sentence = str(error.get("message") or "") if isinstance(error, dict) else str(told.get("error_description") or "")
    words = redact(": ".join(filter(None, [reason, sentence])) or first_line(text), secrets)
    if status in (400, 401, 403, 404):
        raise Denied(f"{what}: {first_line(words)}", code=reason or str(status), suggestion=_advice(words))
    raise by_status(what, status if status != 200 else 502, words, headers)  # a success that is none


def _advice(words: str) -> str:
    if "iat" in words or "timeframe" in words:
        return "The clock of this computer differs from Google's: set it right."
    if "invalid_rapt" in words or "Token has been expired or revoked" in words:
        return "Run `gcloud auth application-default login` as the director's user."
    if "iam.serviceAccounts.getAccessToken" in words:
        return "Give who impersonates the role roles/iam.serviceAccountTokenCreator on the service account."
    return "Are the credentials still valid, and the service account enabled?"
