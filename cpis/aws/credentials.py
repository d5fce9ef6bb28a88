"""Who asks: keys given, of the environment, of a profile, of the instance itself, or of a role that is assumed with one of these.

Sources: "Configuration and credential file settings" and "Environment variables" in the AWS CLI user guide; "Retrieve instance metadata" in
the EC2 user guide; AssumeRole in the STS API reference.
"""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import datetime
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from cpis.contract import Denied, Invalid, NotSupported, Unavailable

_EARLY_SECONDS = 300.0
_METADATA = "http://169.254.169.254"
_METADATA_SECONDS = (1.0, 3.0)
_METADATA_TRIES = 3


@dataclasses.dataclass(frozen=True)
class Credentials:
    """An access key. `token` is that of temporary ones, which end at `expires_at` (Unix time)."""

    key: str
    secret: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(default="", repr=False)
    expires_at: float | None = None


class Source:
    """Credentials, fetched when first needed and again five minutes before they end. Safe to use from many threads."""

    def __init__(self, fetch: Callable[[], Credentials], *, renewable: bool = True, clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._renewable = renewable
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Credentials | None = None

    def get(self) -> Credentials:
        """Raises Denied, Unavailable, Invalid when there are none to get."""
        with self._lock:
            known = self._known
            if known is None or (known.expires_at is not None and known.expires_at - _EARLY_SECONDS < self._clock()):
                known = self._known = self._fetch()
            return known

    def renew(self, refused: Credentials) -> bool:
        """After these were refused: whether there are others to try."""
        with self._lock:
            if not self._renewable:
                return False
            if self._known == refused:
                self._known = None
            return True

    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        with self._lock:
            known = self._known
        return (known.secret, known.token) if known else ()


Assume = Callable[[Source, str], Credentials]
"""The credentials of a role (ARN), asked for with those of a source."""


def of_config(
    config: Mapping[str, Any], assume: Assume, *, environment: Mapping[str, str] | None = None,
    get: Callable[..., requests.Response] | None = None, clock: Callable[[], float] = time.time,
) -> Source:
    """The source that a CPI config names. Raises Invalid when it names none clearly."""
    key, secret = config.get("access_key_id", ""), config.get("secret_access_key", "")
    kind = config.get("credentials_source") or ("static" if key or secret else "env_or_profile")
    if kind == "static":
        if not (key and secret):
            missing = "access_key_id" if not key else "secret_access_key"
            raise Invalid(
                f"the CPI config (aws): '{missing}' is missing", suggestion="Give both keys, or credentials_source: env_or_profile.")
        source = Source(lambda: Credentials(key, secret, config.get("session_token", "")), renewable=False, clock=clock)
    else:
        found = _Found(os.environ if environment is None else environment, str(config.get("profile") or ""), get, assume, clock)
        source = Source(found.fetch, clock=clock)
    role = config.get("role_arn")
    if role:
        base = source
        source = Source(lambda: assume(base, str(role)), clock=clock)
    return source


class _Found:
    """The ways of the ecosystem, in its order: environment, profile, identity of the instance."""

    def __init__(
        self, environment: Mapping[str, str], profile: str, get: Callable[..., requests.Response] | None, assume: Assume,
        clock: Callable[[], float],
    ) -> None:
        self._environment = environment
        self._profile = profile
        self._request = get
        self._assume = assume
        self._clock = clock

    def fetch(self) -> Credentials:
        environment = self._environment
        key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
        if key and secret and not self._profile:
            return Credentials(key, secret, environment.get("AWS_SESSION_TOKEN", ""))
        wanted = self._profile or environment.get("AWS_PROFILE", "")
        sections = self._sections()
        if wanted and wanted not in sections:
            raise Invalid(f"there is no AWS profile '{wanted}'", suggestion=f"known: {', '.join(sorted(sections)) or 'none'}")
        if wanted or "default" in sections:
            return self._of_profile(wanted or "default", sections, ())
        return self._of_instance()

    def _sections(self) -> dict[str, dict[str, str]]:
        home = Path(self._environment.get("HOME", "~")).expanduser()
        files = (
            Path(self._environment.get("AWS_CONFIG_FILE") or home / ".aws/config"),
            Path(self._environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials"),
        )
        result: dict[str, dict[str, str]] = {}
        for file in files:
            parser = configparser.RawConfigParser()
            try:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError), file.open() as text:
                    parser.read_file(text)
            except (configparser.Error, UnicodeDecodeError, PermissionError) as error:
                # Not the text of the error: it quotes lines, and secrets stand in them.
                raise Invalid(f"the file {file} cannot be read ({type(error).__name__})") from None
            for name in parser.sections():
                result.setdefault(name.removeprefix("profile ").strip(), {}).update(parser.items(name))
        return result

    def _of_profile(self, name: str, sections: Mapping[str, Mapping[str, str]], passed: tuple[str, ...]) -> Credentials:
        profile = sections.get(name)
        if profile is None or name in passed:
            raise Invalid(f"the AWS profile '{passed[-1]}' names a source_profile '{name}' that is missing or leads back to it")
        role = profile.get("role_arn")
        if role and profile.get("source_profile", name) != name:
            base = Source(lambda: self._of_profile(profile["source_profile"], sections, (*passed, name)), clock=self._clock)
            return self._assume(base, role)
        key, secret = profile.get("aws_access_key_id", ""), profile.get("aws_secret_access_key", "")
        if key and secret:
            own = Credentials(key, secret, profile.get("aws_session_token", ""))
            return self._assume(Source(lambda: own, clock=self._clock), role) if role else own
        if role and profile.get("credential_source") == "Ec2InstanceMetadata":
            return self._assume(Source(self._of_instance, clock=self._clock), role)
        for key in ("credential_process", "sso_session", "sso_start_url", "web_identity_token_file"):
            if key in profile:
                raise NotSupported(
                    f"the AWS profile '{name}' uses '{key}', which this CPI does not know",
                    suggestion=f"Run `aws configure export-credentials --profile {name} --format env` and use the environment.")
        raise Invalid(
            f"the AWS profile '{name}' has no keys and no role", suggestion="It needs aws_access_key_id and aws_secret_access_key.")

    def _of_instance(self) -> Credentials:
        """Of the instance's profile, over version 2 of the metadata service."""
        base = self._environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _METADATA).rstrip("/")
        token = self._metadata("PUT", f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"})
        header = {"X-aws-ec2-metadata-token": token}
        path = f"{base}/latest/meta-data/iam/security-credentials/"
        role = self._metadata("GET", path, header).splitlines()
        if not role:
            raise Denied(_NOTHING, code="NoCredentials", suggestion="Give the director's instance an instance profile.")
        answer = self._metadata("GET", path + role[0].strip(), header, form="json")
        try:
            expires = datetime.datetime.fromisoformat(answer["Expiration"].replace("Z", "+00:00")).timestamp()
            return Credentials(answer["AccessKeyId"], answer["SecretAccessKey"], answer["Token"], expires)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Unavailable(f"the metadata service gave no keys for the role {role[0]}", code="malformed") from None

    def _metadata(self, method: str, url: str, headers: Mapping[str, str], form: str = "text") -> Any:
        for attempt in range(_METADATA_TRIES):
            try:
                answer = self._send(method, url, headers)
            except requests.RequestException as error:
                if attempt < _METADATA_TRIES - 1 and not isinstance(error, requests.ConnectionError):
                    continue
                raise Denied(f"{_NOTHING} ({type(error).__name__})", code="NoCredentials", suggestion=_WAYS) from None
            if answer.status_code == 200:
                return answer.json() if form == "json" else answer.text
            if answer.status_code == 404:
                raise Denied("the director's instance has no instance profile", code="NoCredentials", suggestion=_WAYS)
        raise Unavailable(f"the metadata service answered with status {answer.status_code}", code=str(answer.status_code))

    def _send(self, method: str, url: str, headers: Mapping[str, str]) -> requests.Response:
        if self._request is not None:
            return self._request(method, url, headers=headers, timeout=_METADATA_SECONDS)
        with requests.Session() as session:
            session.trust_env = False  # the address is this instance's own: no proxy reaches it
            return session.request(method, url, headers=headers, timeout=_METADATA_SECONDS)


_NOTHING = "there are no credentials: none in the CPI config, the environment or a profile, and this is no instance with a profile"
_WAYS = (
    "Give access_key_id and secret_access_key in the CPI config, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the director's "
    "environment, a profile, or the director's instance an instance profile."
)
