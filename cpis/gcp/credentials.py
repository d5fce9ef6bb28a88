"""Who we are for Google: OAuth tokens, from the places where Google's own tools look, in their order.

    1. `json_key` of the CPI config                                    a service account
    2. the file named by GOOGLE_APPLICATION_CREDENTIALS                a service account, or a person
    3. gcloud's application default credentials                        the same
    4. the metadata server of the machine on which the director runs   its service account

Tokens stay in memory. Source: Google's description of application default credentials, and of JWTs for service accounts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cpis.cloud.faults import MALFORMED, by_status, unexplained
from cpis.cloud.hurry import asking
from cpis.cloud.text import first_line, redact
from cpis.contract import CpiError, Denied, Invalid

SCOPES = (
    "https://www.googleapis.com/auth/compute", "https://www.googleapis.com/auth/devstorage.full_control",
    "https://www.googleapis.com/auth/cloud-platform",
)
_TOKEN_URI = "https://oauth2.googleapis.com/token"
_METADATA_HOST = "metadata.google.internal"
_TIMEOUT_SECONDS = 30.0
_METADATA_TIMEOUT_SECONDS = 5.0
_LIFETIME_SECONDS = 3600
_EARLY_SECONDS = 120.0
_KINDS = "a key of a service account (`gcloud iam service-accounts keys create`) or what `gcloud auth application-default login` writes"

Source = Callable[[], Mapping[str, Any]]
"""Gets a new token: the answer of a token endpoint. Raises CpiError."""


class Tokens:
    """The token of all threads; got at the first use and again two minutes before its end. `who` tells people whose it is."""

    def __init__(self, source: Source, who: str, clock: Callable[[], float] = time.time) -> None:
        self.who = who
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    @property
    def access_token(self) -> str:
        """Raises Denied, Unavailable."""
        with self._lock:
            if not self._token or self._clock() >= self._until:
                with asking(f"token for {self.who}"):
                    answer = self._source()
                token, seconds = answer.get("access_token"), answer.get("expires_in")
                if not isinstance(token, str) or not token or not isinstance(seconds, int | float):
                    raise Denied(f"the token endpoint of {self.who} answers without a token", code=MALFORMED)
                self._token, self._until = token, self._clock() + max(0.0, float(seconds) - _EARLY_SECONDS)
            return self._token

    def renew(self, error: CpiError) -> bool:
        """Whether a request that was answered with this error is worth a second try with a new token."""
        if error.code != "401":
            return False
        with self._lock:
            self._token = ""
        return True


def tokens_of(
    config: Mapping[str, Any], *, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.time,
    ca_file: str | None = None,
) -> Tokens:
    """The tokens for a CPI config. Asks nothing yet. Raises Invalid for a `json_key` that is none; what is wrong with the environment is
    told at the first use, so that `info` answers anywhere.
    """
    key = config.get("json_key")
    if key:
        return _of_info(_parsed(key, "json_key"), "json_key", clock, ca_file)
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return _of_file(Path(named), clock, ca_file)
    home = Path(environ.get("CLOUDSDK_CONFIG") or Path(environ.get("HOME", "/")) / ".config" / "gcloud")
    usual = home / "application_default_credentials.json"
    if usual.is_file():
        return _of_file(usual, clock, ca_file)
    host = environ.get("GCE_METADATA_HOST") or _METADATA_HOST
    return Tokens(lambda: _of_metadata(host), f"the service account of this machine ({host})", clock)


def _of_file(path: Path, clock: Callable[[], float], ca_file: str | None) -> Tokens:
    try:
        return _of_info(_parsed(_read(path), str(path)), str(path), clock, ca_file)
    except CpiError as error:
        wrong = error

        def fail() -> Mapping[str, Any]:
            raise wrong

        return Tokens(fail, str(path), clock)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Denied(f"the credentials in {path} cannot be read: {error}", suggestion=f"The file should hold {_KINDS}.") from error


def _parsed(key: Any, where: str) -> Mapping[str, Any]:
    if isinstance(key, Mapping):
        return key
    try:
        info = json.loads(str(key))
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise Invalid(f"{where} is no JSON object", suggestion=f"It should be {_KINDS}.")
    return info


def _of_info(info: Mapping[str, Any], where: str, clock: Callable[[], float], ca_file: str | None) -> Tokens:
    kind = str(info.get("type") or "service_account")
    wanted = {
        "service_account": ("client_email", "private_key"), "authorized_user": ("client_id", "client_secret", "refresh_token"),
    }.get(kind)
    if wanted is None:
        raise Invalid(f"{where} holds credentials of type '{kind}', which are not supported", suggestion=f"Take {_KINDS}.")
    for name in wanted:
        if not isinstance(info.get(name), str) or not info[name]:
            raise Invalid(f"{where} lacks '{name}'", suggestion=f"It should be {_KINDS}.")
    uri = str(info.get("token_uri") or _TOKEN_URI)
    if kind == "authorized_user":
        form = {"grant_type": "refresh_token", **{name: info[name] for name in wanted}}
        return Tokens(lambda: _ask(uri, form, (info["client_secret"], info["refresh_token"]), ca_file), f"the person of {where}", clock)
    signing = _rsa(info["private_key"], where)
    email = str(info["client_email"])

    def sign_in() -> Mapping[str, Any]:
        assertion = _jwt(signing, email, uri, str(info.get("private_key_id") or ""), clock())
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return _ask(uri, form, (assertion,), ca_file)

    return Tokens(sign_in, email, clock)


def _rsa(pem: str, where: str) -> rsa.RSAPrivateKey:
    try:
        found = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid(f"the private_key of {where} is no PEM key: {first_line(str(error))}", suggestion=f"It should be {_KINDS}.") from None
    if not isinstance(found, rsa.RSAPrivateKey):
        raise Invalid(f"the private_key of {where} is no RSA key", suggestion=f"It should be {_KINDS}.")
    return found


def _jwt(key: rsa.RSAPrivateKey, email: str, audience: str, key_id: str, now: float) -> str:
    """A signed claim for a token. Libcloud's names an audience that is not the key's own `token_uri` and pads its base64."""
    header = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    claims = {"iss": email, "scope": " ".join(SCOPES), "aud": audience, "iat": int(now), "exp": int(now) + _LIFETIME_SECONDS}
    message = b".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((message, _base64(signature))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _ask(uri: str, form: Mapping[str, str], secrets: tuple[str, ...], ca_file: str | None) -> Mapping[str, Any]:
    what = f"token from {uri}"
    try:
        answer = requests.post(uri, data=dict(form), timeout=_TIMEOUT_SECONDS, verify=ca_file or True)
    except requests.exceptions.RequestException as error:
        raise unexplained(what, error) from None
    return _answer(what, answer, secrets)


def _answer(what: str, answer: requests.Response, secrets: tuple[str, ...] = ()) -> Mapping[str, Any]:
    body: Any = None
    with contextlib.suppress(ValueError):
        body = answer.json()
    if answer.status_code == 200 and isinstance(body, dict):
        return body
    told = body if isinstance(body, dict) else {}
    reason = str(told.get("error") or "")
    words = redact(": ".join(filter(None, [reason, str(told.get("error_description") or "")])) or first_line(answer.text), secrets)
    if answer.status_code in (400, 401, 403):
        skewed = "iat" in words or "timeframe" in words
        raise Denied(
            f"{what}: {words}", code=reason or str(answer.status_code), suggestion=(
                "The clock of this computer differs from Google's: set it right." if skewed
                else "Is the key still valid, and the service account enabled?"))
    status = answer.status_code if answer.status_code != 200 else 502  # a success that is none
    raise by_status(what, status, words, answer.headers)


def _of_metadata(host: str) -> Mapping[str, Any]:
    what = f"token from the metadata server {host}"
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    try:
        # The metadata server is on the machine's own link: a proxy of the environment would answer for another machine.
        session = requests.Session()
        session.trust_env = False
        answer = session.get(url, headers={"Metadata-Flavor": "Google"}, timeout=_METADATA_TIMEOUT_SECONDS)
    except requests.exceptions.RequestException as error:
        raise Denied(
            f"{what}: {first_line(str(error))}", code="no-credentials",
            suggestion="Give json_key in the CPI config, or set GOOGLE_APPLICATION_CREDENTIALS, or run the director on a machine of "
            "Google's with a service account.") from None
    if answer.status_code == 404:
        raise Denied(
            f"{what}: this machine has no service account", code="no-credentials", suggestion="Give it one, or json_key in the CPI config.")
    return _answer(what, answer)
