"""Signatures of requests, checked as the services do. Source: "Signature Version 4" in the IAM user guide."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import html
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

from cpis.conformance.clouds.aws.rules import Refusal

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8})/([^/]+)/([^/]+)/aws4_request,\s*SignedHeaders=([^,]+),\s*Signature=(\w+)")
_SKEW_SECONDS = 300.0


class Checker:
    """Knows the secrets by key, and for temporary keys the session token."""

    def __init__(self, secrets: Mapping[str, str], tokens: Mapping[str, str], clock: Callable[[], float]) -> None:
        self.secrets = dict(secrets)
        self.tokens = dict(tokens)
        self._expired: set[str] = set()
        self._clock = clock

    def learn(self, answer: str) -> None:
        """Temporary keys, as STS has just given them out."""
        key, secret, token = (html.unescape(re.findall(f"<{name}>([^<]*)<", answer)[0]) for name in (
            "AccessKeyId", "SecretAccessKey", "SessionToken"))
        self.secrets[key], self.tokens[key] = secret, token

    def expire(self) -> None:
        """All temporary keys end."""
        self._expired |= set(self.tokens)

    def check(self, environ: Mapping[str, Any], body: bytes) -> None:
        """Raises Refusal as the service answers: unknown keys, wrong secrets, stale requests."""
        match = _HEADER.match(environ.get("HTTP_AUTHORIZATION", ""))
        if match is None:
            raise Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        key, day, region, service, names, given = match.groups()
        if key not in self.secrets:
            raise Refusal("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
        if self.tokens.get(key, "") != environ.get("HTTP_X_AMZ_SECURITY_TOKEN", ""):
            raise Refusal("AuthFailure", "AWS was not able to validate the provided session token", 401)
        if key in self._expired:
            raise Refusal("RequestExpired", "Request has expired.", 400)
        stamp = environ.get("HTTP_X_AMZ_DATE", "")
        sent = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp()
        if abs(sent - self._clock()) > _SKEW_SECONDS:
            raise Refusal("RequestExpired", "Request has expired.", 400)
        scope = f"{day}/{region}/{service}/aws4_request"
        text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(_canonical(environ, names, body).encode()).hexdigest()))
        secret = f"AWS4{self.secrets[key]}".encode()
        for part in (day, region, service, "aws4_request"):
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(hmac.new(secret, text.encode(), hashlib.sha256).hexdigest(), given):
            raise Refusal(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
                "signing method. Consult the service documentation for details.", 403,
            )


def _canonical(environ: Mapping[str, Any], names: str, body: bytes) -> str:
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    query = "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in sorted(pairs))
    headers = "".join(f"{name}:{' '.join(_header(environ, name).split())}\n" for name in names.split(";"))
    payload = environ.get("HTTP_X_AMZ_CONTENT_SHA256") or hashlib.sha256(body).hexdigest()
    if re.fullmatch(r"[0-9a-f]{64}", payload) and payload != hashlib.sha256(body).hexdigest():
        raise Refusal("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", 400)
    path = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "/")).partition("?")[0]
    return "\n".join((environ["REQUEST_METHOD"], path or "/", query, headers, names, payload))


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", ""))
