"""Requests to the services: under limits, tried again where that is safe, with answers that are what they should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from cpis.cloud import faults
from cpis.cloud.calls import Caller
from cpis.cloud.drivers import PerThread
from cpis.cloud.limits import Rate, shared
from cpis.contract import CpiError, Denied, Unavailable
from cpis.openstack.account import Account
from cpis.openstack.driver import Identity, OpenStackDriver
from cpis.openstack.errors import Explain, busy
from cpis.openstack.session import Session

Result = TypeVar("Result")

# OpenStack publishes no rates; operators set them in front. These are what one director may reasonably ask for; refusals lower them.
FAMILIES: Mapping[str, Rate] = {"read": Rate(100.0, 200.0), "write": Rate(30.0, 60.0)}

_DAEMON = {"compute": "nova", "image": "glance", "network": "neutron", "volume": "cinder", "load_balancer": "octavia"}
_MOST_PAGES = 10_000


class Api:
    """Requests of one account, from any thread. Services are compute, image, network, volume, load_balancer."""

    def __init__(
        self, account: Account, *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.account = account
        self.explain = Explain(account.secrets, clock)
        self._identity = Identity(account)
        self.session = Session(account, self._identity.ask, self.explain, clock)
        self._drivers: PerThread[OpenStackDriver] = PerThread(
            lambda: OpenStackDriver(account, self.session), lambda driver: driver.close())
        limiter = shared(f"openstack|{account.key}", FAMILIES, clock=clock, sleep=sleep)
        self._caller = Caller(limiter, self.explain, renew=self._renew, clock=clock, sleep=sleep)

    def _renew(self, error: Denied) -> bool:
        """After a refused token: the next try logs in anew. Wrong credentials are not tried again, nor a missing right."""
        if error.code != "401":
            return False
        self.session.forget(self._drivers.get().used_token)
        return True

    def do(
        self, what: str, action: Callable[[OpenStackDriver], Result], *, family: str = "write", repeatable: bool = True,
        also: Callable[[CpiError], bool] | None = busy,
    ) -> Result:
        """The answer of `action` with this thread's driver. Deletions and changes are repeatable: done twice is done."""
        return self._caller(what, lambda: action(self._drivers.get()), family=family, repeatable=repeatable, also=also)

    def get(
        self, service: str, path: str, read: Callable[[Any], Result], params: Mapping[str, Any] | None = None,
        *, headers: Mapping[str, str] | None = None,
    ) -> Result:
        """What `read` makes of the JSON answered. Raises NotFound, Unavailable when it is not what it should be."""
        return self.do(f"{_DAEMON[service]} GET {path}", lambda driver: read(_json(
            driver.connection_of(service).request(path, params=dict(params or {}), headers=dict(headers or {})))),
            family="read", also=None)

    def send(
        self, method: str, service: str, path: str, data: Any = None, *, headers: Mapping[str, str] | None = None,
        also: Callable[[CpiError], bool] | None = busy,
    ) -> None:
        """A request that changes something, of which no more matters than that it is done. It may be repeated."""
        self._sent(method, service, path, data, lambda answer: None, True, headers or {}, also, json=False)

    def made(
        self, method: str, service: str, path: str, data: Any, read: Callable[[Any], Result], *, repeatable: bool = True,
    ) -> Result:
        """What `read` makes of the answer to a request that changes something."""
        return self._sent(method, service, path, data, read, repeatable, {}, busy)

    def create(self, service: str, path: str, data: Any, read: Callable[[Any], Result]) -> Result:
        """A creating POST: sent once, and again only when it certainly had no effect. Raises Unavailable when it may have had one."""
        return self._sent("POST", service, path, data, read, False, {}, busy)

    def _sent(
        self, method: str, service: str, path: str, data: Any, read: Callable[[Any], Result], repeatable: bool,
        headers: Mapping[str, str], also: Callable[[CpiError], bool] | None, json: bool = True,
    ) -> Result:
        def action(driver: OpenStackDriver) -> Result:
            answer = driver.connection_of(service).request(path, method=method, data=data or "", headers=dict(headers))
            if json:
                return read(_json(answer))
            if answer.body and not answer.has_content_type("application/json"):
                raise TypeError(f"the answer is a page: {str(answer.body)[:80]}")
            return read(None)

        return self.do(f"{_DAEMON[service]} {method} {path}", action, repeatable=repeatable, also=also)

    def pages(
        self, service: str, path: str, key: str, read: Callable[[Any], Result], params: Mapping[str, Any] | None = None,
    ) -> Iterator[Result]:
        """All entries of a list, page by page."""
        query: Mapping[str, Any] = dict(params or {})
        for _ in range(_MOST_PAGES):
            found, following = self.get(service, path, lambda answer: ([read(item) for item in answer[key]], _next(answer, key)), query)
            yield from found
            if not following or following == query:
                return
            query = following
        raise Unavailable(f"{_DAEMON[service]} GET {path}: the pages have no end", code=faults.MALFORMED)

    def close(self) -> None:
        self._drivers.close()
        self._identity.close()


def _next(answer: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """The query of the next page: Glance has `next`, the others `<key>_links`."""
    links = [link["href"] for link in answer.get(f"{key}_links") or () if link["rel"] == "next"]
    url = answer.get("next") or (links[0] if links else None)
    return parse_qs(urlsplit(url).query) if url else None


def _json(answer: Any) -> Any:
    """Raises TypeError for text where JSON belongs: a proxy's page."""
    if not isinstance(answer.object, Mapping):
        raise TypeError(f"the answer is text, not JSON: {str(answer.body)[:80]}")
    return answer.object
