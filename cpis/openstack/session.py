"""One login for all threads of a CPI: the token, and where the services are. Libcloud's connections would log in one by one."""

from __future__ import annotations

import dataclasses
import datetime
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cpis.cloud import faults
from cpis.contract import Conflict, CpiError, Denied, Invalid, NotFound, Unavailable
from cpis.hurry import asking
from cpis.openstack.account import Account

_EARLIER_SECONDS = 60.0
_LEAST_SECONDS = 5.0

# Types of a service in catalogs, the usual one first. Names are not looked at: every cloud has its own.
# Source: OpenStack's service-types-authority.
TYPES: Mapping[str, tuple[str, ...]] = {
    "compute": ("compute",),
    "image": ("image",),
    "network": ("network",),
    "volume": ("volumev3", "block-storage", "block-store", "volume"),
    "load_balancer": ("load-balancer",),
}
_PEOPLE = {"compute": "Nova", "image": "Glance", "network": "Neutron", "volume": "Cinder", "load_balancer": "Octavia"}


@dataclasses.dataclass(frozen=True)
class Login:
    """A token with the services that it is good for, and the roles it has. `renew_at` is by the session's clock; `ahead_seconds` tells how
    far that is before Keystone's."""

    token: str = dataclasses.field(repr=False)
    project: str
    addresses: Mapping[str, str]
    renew_at: float
    roles: tuple[str, ...] = ()
    ahead_seconds: float = 0.0


class Session:
    """`ask(body)` sends Keystone's `POST /v3/auth/tokens`: (token, answer). Safe to use from many threads."""

    def __init__(
        self, account: Account, ask: Callable[[str], tuple[str, Any]], explain: Callable[[str, Exception], CpiError],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._ask = ask
        self._explain = explain
        self._clock = clock
        self._lock = threading.Lock()
        self._login: Login | None = None

    def current(self) -> Login:
        """The login, made anew when it ends soon. Raises Denied for wrong credentials, Unavailable with code NOT_SENT when Keystone fails,
        since then the request that it was for has not left."""
        with self._lock:
            if self._login is None or self._clock() >= self._login.renew_at:
                self._login = self._new()
            return self._login

    def forget(self, token: str) -> None:
        """A service refused this token; unless another thread has a newer one already, the next request logs in."""
        with self._lock:
            if self._login is not None and self._login.token == token:
                self._login = None

    def address(self, service: str) -> str:
        """URL of a service. Raises Invalid when the catalog has none."""
        given = self._account.endpoints.get(service)
        login = self.current()
        found = given or login.addresses.get(service)
        if not found:
            raise Invalid(
                f"the service catalog has no {_PEOPLE[service]} ({service.replace('_', '-')}) with interface {self._account.interface}"
                + (f" in region {self._account.region}" if self._account.region else ""),
                suggestion=f"It has: {', '.join(sorted(login.addresses)) or 'nothing of use'}. Look at region and endpoint_type.")
        return found

    def _new(self) -> Login:
        what = "keystone POST /auth/tokens"
        try:
            with asking(f"keystone {self._account.auth_url}"):
                token, answer = self._ask(json.dumps(self._account.login()))
            return self._read(token, answer["token"])
        except Exception as error:
            found = self._explain(what, error)
            if isinstance(found, Unavailable):
                found.code = faults.NOT_SENT
            elif isinstance(found, Denied) and found.code != "tls":
                found.code = "credentials"
                if self._account.token:
                    found.suggestion = (
                        "A token that was given ends, and cannot be renewed: get another with `openstack token issue`, or take an "
                        "application credential.")
            elif isinstance(found, NotFound | Conflict):
                # Keystone's word for an application credential that is gone is 404; it must not pass for a machine that is not there.
                found = Denied(
                    found.message, code="credentials", request_id=found.request_id,
                    suggestion="Does the application credential still exist? Is auth_url the address of Keystone?")
            raise found from None  # the cause's text may have the request's body, with the password

    def _read(self, token: str, answer: Mapping[str, Any]) -> Login:
        """The time to renew is counted from the token's life, not from its end: this computer's clock may be wrong."""
        issued = _time(answer["issued_at"])
        life = _time(answer["expires_at"]) - issued
        renew_at = self._clock() + max(_LEAST_SECONDS, life - _EARLIER_SECONDS)
        project = str((answer.get("project") or {}).get("id") or "")
        if not project:
            raise Invalid("the login is for no project", suggestion="Name the project with project or project_id.")
        roles = tuple(str(role.get("name")) for role in answer.get("roles") or ())
        return Login(
            token, project, addresses(answer["catalog"], self._account, project), renew_at, roles, self._clock() - issued)


def _time(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def addresses(catalog: Sequence[Mapping[str, Any]], account: Account, project: str) -> dict[str, str]:
    """URL of each service that the catalog has for the account's region and interface. Raises Invalid for an unknown region.

    Only the regions of services that a CPI uses count: an object store or Keystone itself may be in one of its own.
    """
    used = {kind for types in TYPES.values() for kind in types}
    regions = sorted({
        region for entry in catalog if entry["type"] in used for point in entry["endpoints"]
        if (region := str(point.get("region_id") or point.get("region") or ""))})
    if account.region and account.region not in regions:
        raise Invalid(f"there is no region '{account.region}'", suggestion=f"known: {', '.join(regions)}")
    if not account.region and len(regions) > 1:
        raise Invalid("the cloud has several regions and the CPI config names none", suggestion=f"region: one of {', '.join(regions)}")
    found = {}
    for service, types in TYPES.items():
        urls = [
            str(point["url"]) for kind in types for entry in catalog if entry["type"] == kind for point in entry["endpoints"]
            if point["interface"] == account.interface and account.region in ("", point.get("region_id"), point.get("region"))]
        if urls:
            found[service] = versioned(service, urls[0], project)
    return found


def versioned(service: str, url: str, project: str) -> str:
    """The address with the version that we speak, whatever version (or none) the catalog has in it."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if service == "compute":
        path = _up_to_version(path) + "/v2.1"
    elif service == "volume":
        path = f"{_up_to_version(path)}/v3/{project}"
    else:  # paths of requests have the version
        path = _up_to_version(path)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _up_to_version(path: str) -> str:
    kept = []
    for part in path.split("/"):
        if part[:1] == "v" and part[1:].replace(".", "").isdigit():
            break
        kept.append(part)
    return "/".join(kept).rstrip("/")
