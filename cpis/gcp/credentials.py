"""Who we are for Google: OAuth tokens, from the places where Google's own tools look, in their order.

    1. `json_key` of the CPI config                                    any credentials of a file
    2. the file named by GOOGLE_APPLICATION_CREDENTIALS                the same
    3. gcloud's application default credentials                        the same
    4. the metadata server of the machine on which the director runs   its service account

What stands in a file is turned into tokens by google-auth (`cpis.gcp.signin`), which is imported at first need. Tokens stay in memory.

The metadata server is asked here: google-auth reads where it is when it is imported, and tries five times with sleeps of its own, half a
minute in all, before it says that there is none; that is the usual case on a computer of one's own. Sources: Google's description of
application default credentials, and of the metadata server.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from cpis.cloud.faults import MALFORMED
from cpis.cloud.text import first_line
from cpis.contract import CpiError, Denied, Invalid
from cpis.gcp.endpoint import answered
from cpis.hurry import asking

_METADATA_HOST = "metadata.google.internal"
_METADATA_TIMEOUT_SECONDS = 5.0
_EARLY_SECONDS = 120.0
KINDS = (
    "a key of a service account (`gcloud iam service-accounts keys create`), what `gcloud auth application-default login` writes, or a "
    "configuration of workload identity federation (`gcloud iam workload-identity-pools create-cred-config`)"
)
_TYPES = ("service_account", "authorized_user", "external_account", "external_account_authorized_user", "impersonated_service_account")


@dataclasses.dataclass(frozen=True)
class Token:
    """An access token, and how long it lives; None when nobody said."""

    text: str = dataclasses.field(repr=False)
    seconds: float | None


Source = Callable[[], Token]
"""Gets a new token. Raises CpiError."""


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
        """Raises Denied, Unavailable, Invalid."""
        with self._lock:
            if not self._token or self._clock() >= self._until:
                with asking(f"token for {self.who}"):
                    found = self._source()
                if not found.text:
                    raise Denied(f"the token endpoint of {self.who} answers without a token", code=MALFORMED)
                life = float("inf") if found.seconds is None else max(0.0, found.seconds - _EARLY_SECONDS)
                self._token, self._until = found.text, self._clock() + life
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
    ca_file: str | None = None, session: Callable[[], requests.Session] = requests.Session,
) -> Tokens:
    """The tokens for a CPI config. Asks nothing yet. Raises Invalid for a `json_key` that is none; what is wrong inside it or with the
    environment is told at the first use, so that `info` answers anywhere. `session` makes what tokens are asked through.
    """
    def of_info(info: Mapping[str, Any], where: str) -> Tokens:
        return _of_info(info, where, clock, ca_file, session)

    key = config.get("json_key")
    if key:
        return of_info(_parsed(key, "json_key"), "json_key")
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    home = Path(environ.get("CLOUDSDK_CONFIG") or Path(environ.get("HOME", "/")) / ".config" / "gcloud")
    path = Path(named) if named else home / "application_default_credentials.json"
    if named or path.is_file():
        try:
            return of_info(_parsed(_read(path), str(path)), str(path))
        except CpiError as error:
            return Tokens(_failing(error), str(path), clock)
    host = environ.get("GCE_METADATA_HOST") or _METADATA_HOST
    return Tokens(lambda: _of_metadata(host), f"the service account of this machine ({host})", clock)


def _failing(error: CpiError) -> Source:
    def fail() -> Token:
        raise error

    return fail


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Denied(f"the credentials in {path} cannot be read: {reason}", suggestion=f"The file should hold {KINDS}.") from None


def _parsed(key: Any, where: str) -> Mapping[str, Any]:
    if isinstance(key, Mapping):
        return key
    try:
        info = json.loads(str(key))
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise Invalid(f"{where} is no JSON object", suggestion=f"It should be {KINDS}.")
    return info


def _of_info(
    info: Mapping[str, Any], where: str, clock: Callable[[], float], ca_file: str | None, session: Callable[[], requests.Session],
) -> Tokens:
    kind = str(info.get("type") or "service_account")
    if kind not in _TYPES:
        raise Invalid(f"{where} holds credentials of type '{kind}', which are not supported", suggestion=f"Take {KINDS}.")

    def source() -> Token:
        from cpis.gcp.signin import sign_in  # it loads google-auth

        return sign_in(info, where, ca_file, session)

    return Tokens(source, _who(info, kind, where), clock)


def _who(info: Mapping[str, Any], kind: str, where: str) -> str:
    """Whose the token will be, as far as the file says. Never a secret: the names of accounts and providers only."""
    if kind == "service_account":
        return str(info.get("client_email") or where)
    target = str(info.get("service_account_impersonation_url") or "").rpartition("/")[2].partition(":")[0]
    if kind == "external_account":
        provider = str(info.get("audience") or where).rpartition("/iam.googleapis.com/")[2]
        return f"{target}, impersonated by {provider}" if target else provider
    person = f"the person of {where}"
    return f"{target}, impersonated by {person}" if kind == "impersonated_service_account" else person


def _of_metadata(host: str) -> Token:
    what = f"token from the metadata server {host}"
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    try:
        # The metadata server is on the machine's own link: a proxy of the environment would answer for another machine.
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, headers={"Metadata-Flavor": "Google"}, timeout=_METADATA_TIMEOUT_SECONDS)
    except requests.exceptions.RequestException as error:
        raise Denied(
            f"{what}: {first_line(str(error))}", code="no-credentials",
            suggestion="Give json_key in the CPI config, set GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login` "
            "as the director's user, or run the director on a machine of Google's with a service account.") from None
    if answer.status_code == 404:
        raise Denied(
            f"{what}: this machine has no service account", code="no-credentials", suggestion="Give it one, or json_key in the CPI config.")
    body = answered(what, answer.status_code, answer.text, answer.headers)
    token, seconds = body.get("access_token"), body.get("expires_in")
    if not isinstance(token, str) or not isinstance(seconds, int | float):
        raise Denied(f"{what}: it answers without a token", code=MALFORMED)
    return Token(token, float(seconds))
