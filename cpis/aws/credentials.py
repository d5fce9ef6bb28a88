"""Who asks: keys given, or credentials that are found as the AWS command line finds them, or a role that is assumed with one of these.

Sources: "Configuration and credential file settings" and "Environment variables" in the AWS CLI user guide; AssumeRole in the STS API
reference.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cpis.contract import Invalid

if TYPE_CHECKING:
    from cpis.aws.chain import Found as _Found

_EARLY_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class Credentials:
    """An access key. `token` is that of temporary ones, which end at `expires_at` (Unix time)."""

    key: str
    secret: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(default="", repr=False)
    expires_at: float | None = None


class Source(Protocol):
    """Gives credentials, when first needed and again before they end. Safe to use from many threads."""

    @property
    def origin(self) -> str:
        """Where they are from, for people."""

    def get(self) -> Credentials:
        """Raises Denied, Unavailable, Invalid when there are none to get."""

    def renew(self, refused: Credentials) -> bool:
        """After these were refused: whether there are others to try."""

    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""


class Fetched:
    """A source that calls `fetch`, and again five minutes before what it gave ends."""

    def __init__(
        self, fetch: Callable[[], Credentials], *, origin: Callable[[], str], renewable: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._origin = origin
        self._renewable = renewable
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Credentials | None = None

    @property
    def origin(self) -> str:
        return self._origin()

    def get(self) -> Credentials:
        with self._lock:
            known = self._known
            if known is None or (known.expires_at is not None and known.expires_at - _EARLY_SECONDS < self._clock()):
                known = self._known = self._fetch()
            return known

    def renew(self, refused: Credentials) -> bool:
        with self._lock:
            if not self._renewable:
                return False
            if self._known == refused:
                self._known = None
            return True

    def secrets(self) -> tuple[str, ...]:
        with self._lock:
            known = self._known
        return (known.secret, known.token) if known else ()


class Searched:
    """A source that looks where the AWS command line does. What it finds renews itself; after a refusal it looks again."""

    def __init__(self, load: Callable[[], _Found]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._found: _Found | None = None
        self._last: Credentials | None = None

    @property
    def origin(self) -> str:
        found = self._found
        return found.origin if found else "not looked for yet"

    def get(self) -> Credentials:
        with self._lock:
            if self._found is None:
                self._found = self._load()
            found = self._found
        now = Credentials(*found.keys())
        self._last = now
        return now

    def renew(self, refused: Credentials) -> bool:
        with self._lock:
            if self._last == refused:
                self._found = None
            return True

    def secrets(self) -> tuple[str, ...]:
        last = self._last
        return (last.secret, last.token) if last else ()


Assume = Callable[[Source, str], Credentials]
"""The credentials of a role (ARN), asked for with those of a source."""


def of_config(config: Mapping[str, Any], assume: Assume, *, ca_file: str = "", clock: Callable[[], float] = time.time) -> Source:
    """The source that a CPI config names. Asks nothing yet. Raises Invalid when it names none clearly."""
    key, secret = config.get("access_key_id", ""), config.get("secret_access_key", "")
    kind = config.get("credentials_source") or ("static" if key or secret else "env_or_profile")
    base: Source
    if kind == "static":
        if not (key and secret):
            missing = "access_key_id" if not key else "secret_access_key"
            raise Invalid(
                f"the CPI config (aws): '{missing}' is missing", suggestion="Give both keys, or credentials_source: env_or_profile.")
        given = Credentials(key, secret, config.get("session_token", ""))
        base = Fetched(lambda: given, origin=lambda: "the CPI config", renewable=False, clock=clock)
    else:
        base = Searched(lambda: _search(config, ca_file))
    role = config.get("role_arn")
    if not role:
        return base
    return Fetched(lambda: assume(base, str(role)), origin=lambda: f"the role of the CPI config, and {base.origin}", clock=clock)


def _search(config: Mapping[str, Any], ca_file: str) -> _Found:
    # Imported here: who gives keys needs none of it.
    from cpis.aws.chain import Chain, Reach

    reach = Reach(str(config["region"]), str(config.get("sts_endpoint") or ""), str(config.get("proxy_url") or ""), ca_file)
    return Chain(str(config.get("profile") or ""), reach).load()
