"""Azure Resource Manager: requests that are tried again, operations that are waited for, lists that have pages.

Requests are raw ones on the connection of Libcloud's driver, with versions of the interface of our own choice, because nothing in Libcloud
3.9.1's `AzureNodeDriver` waits for an operation: its methods answer at 201 and throw away the headers that say where to look (CPI contract,
section 7.2), and because each of its methods speaks a version of its own, some of 2015, which Azure's own libraries no longer know.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from libcloud.common.types import MalformedResponseError

from cpis.azure.driver import Driver, Drivers
from cpis.azure.errors import BUSY, EXPIRED, Explain, of_operation
from cpis.azure.settings import Settings
from cpis.cloud import faults
from cpis.cloud.calls import Caller
from cpis.cloud.limits import Rate, shared
from cpis.cloud.schema import Schema
from cpis.cloud.waiting import wait_for
from cpis.contract import CpiError, Denied, NotFound, Unavailable

Tree = dict[str, Any]
Result = TypeVar("Result")

# A subscription's token buckets in one region; machines have wider ones, lists of the compute provider narrower ones. Source: CPI
# contract, section 7.4.
RATES = {"read": Rate(25.0, 250.0), "write": Rate(10.0, 200.0), "delete": Rate(10.0, 200.0), "list": Rate(5.0, 100.0)}
# When Azure does not say when to look, and when it says that it will not be long (0).
_FIRST_LOOK_SECONDS = 0.25
_SOON_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 10.0
_LONGEST_ASKED_SECONDS = 60.0
_GOOD, _BAD = ("succeeded",), ("failed", "canceled", "cancelled")
_FAMILIES = {"GET": "read", "PUT": "write", "PATCH": "write", "POST": "write", "DELETE": "delete"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """`headers` have lower-case names."""

    status: int
    body: Tree
    headers: Mapping[str, str]


class Arm:
    """One subscription. Ids are paths. All methods raise CpiError, and may be called from many threads."""

    def __init__(
        self, settings: Settings, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.sleep = sleep
        self.drivers = Drivers(settings)
        self._clock = clock
        secrets = [*Schema.of("azure").secrets(settings.config), *(settings.environ.get(key, "") for key in ("AZURE_CLIENT_SECRET",))]
        self._explain = Explain(secrets)
        self._caller: Caller | None = None

    def _call(self) -> Caller:
        if self._caller is None:
            config = self.settings.config
            key = f"azure {self.settings.place.arm} {self.settings.subscription} {config.get('location', '')}"
            limiter = shared(key, RATES, clock=self._clock, sleep=self.sleep)
            self._caller = Caller(limiter, self._explain, renew=self._renew, clock=self._clock, sleep=self.sleep)
        return self._caller

    def _renew(self, error: Denied) -> bool:
        """The token was refused (it ended, or the principal has a new role): the next request gets a new one."""
        if error.code not in EXPIRED:
            return False
        self.drivers.tokens.forget(self.drivers.get().line.used_token)
        return True

    def call(
        self, what: str, action: Callable[[Driver], Result], *, family: str = "read", repeatable: bool = True,
        also: Callable[[CpiError], bool] | None = None, patience: float = 900.0,
    ) -> Result:
        """One call on this thread's driver. `what` is said in errors. What is busy passes by itself and is asked again."""
        def again(error: CpiError) -> bool:
            return error.code in BUSY or (also is not None and also(error))
        return self._call()(
            what, lambda: action(self.drivers.get()), family=family, repeatable=repeatable, also=again, patience=patience)

    def send(
        self, method: str, path: str, what: str, body: Tree | None = None, *, params: Mapping[str, str] | None = None, family: str = "",
        repeatable: bool = True, also: Callable[[CpiError], bool] | None = None, patience: float = 900.0, version: str = "",
    ) -> Answer:
        """One request."""
        query = {"api-version": version or self.settings.version(path), **(params or {})}

        def action(driver: Driver) -> Answer:
            response = driver.line.request(path, params=query, data=body, method=method)
            if not isinstance(response.object, dict):
                raise MalformedResponseError("not an object", body=response.body, driver=None)
            return Answer(response.status, response.object, response.headers)
        return self.call(what, action, family=family or _FAMILIES[method], repeatable=repeatable, also=also, patience=patience)

    def bounded(self, seconds: float, passes: Callable[[CpiError], bool]) -> Callable[[CpiError], bool]:
        """For `also`: what passes by itself, but is an error when it has not after so many seconds. Rates are waited out longer."""
        since: list[float] = []

        def again(error: CpiError) -> bool:
            if not passes(error):
                return False
            since.append(self._clock())
            return since[-1] - since[0] < seconds
        return again

    def get(self, path: str, what: str, params: Mapping[str, str] | None = None) -> Tree:
        """Raises NotFound."""
        return self.send("GET", path, what, params=params).body

    def find(self, path: str, what: str, params: Mapping[str, str] | None = None) -> Tree | None:
        """None when it certainly does not exist."""
        try:
            return self.get(path, what, params)
        except NotFound:
            return None

    def put(self, path: str, what: str, body: Tree, *, deadline: float = 900.0, repeatable: bool = True) -> Tree:
        """Make or replace, and wait. Answers the resource as it was when the request was taken. Raises what ended it late."""
        return self.finished(self.send("PUT", path, what, body, repeatable=repeatable), path, what, deadline=deadline).body

    def patch(self, path: str, what: str, body: Tree, *, deadline: float = 900.0) -> Tree:
        return self.finished(self.send("PATCH", path, what, body), path, what, deadline=deadline).body

    def post(self, path: str, what: str, body: Tree | None = None, *, deadline: float = 900.0) -> Tree:
        """An action, waited for. Answers its output, when it has one."""
        return self.finished(self.send("POST", path, what, body), path.rsplit("/", 1)[0], what, deadline=deadline).body

    def delete(
        self, path: str, what: str, *, also: Callable[[CpiError], bool] | None = None, deadline: float = 1800.0,
    ) -> None:
        """Certainly gone when this answers. Gone before is success."""
        try:
            answer = self.send("DELETE", path, what, also=also)
        except NotFound:
            return
        if answer.status != 204:
            self.finished(answer, path, what, deadline=deadline, gone=True)

    def pages(self, path: str, what: str, params: Mapping[str, str] | None = None, *, family: str = "list") -> Iterator[Tree]:
        """The items of a list, of all its pages."""
        answer = self.send("GET", path, what, params=params, family=family).body
        seen = set()
        while True:
            yield from answer["value"]
            following = str(answer.get("nextLink") or "")
            if not following:
                return
            if following in seen:
                raise Unavailable(f"{what}: the pages of the list never end", code=faults.MALFORMED)
            seen.add(following)
            # Only path and query count: tokens are for our endpoint, and a proxy may stand in front of it.
            link = urlsplit(following)
            query = dict(parse_qsl(link.query, keep_blank_values=True))
            answer = self.send("GET", self._below(link.path), what, params=query, family=family, version=query.get("api-version", "")).body

    def _below(self, path: str) -> str:
        """The path without that of our endpoint, which the connection puts in front again."""
        return path.removeprefix(urlsplit(self.settings.place.arm).path.rstrip("/"))

    def whole(self, path: str, what: str) -> list[Tree]:
        """The items of a list that has no pages and is nothing but a list, as those of the market's images."""
        def action(driver: Driver) -> list[Tree]:
            response = driver.line.request(path, params={"api-version": self.settings.version(path)})
            if not isinstance(response.object, list) or not all(isinstance(item, dict) for item in response.object):
                raise MalformedResponseError("not a list of objects", body=response.body, driver=None)
            return response.object
        return self.call(what, action, family="list")

    def finished(self, answer: Answer, path: str, what: str, *, deadline: float = 900.0, gone: bool = False) -> Answer:
        """Wait for what a request began. Raises the operation's error, Unavailable after `deadline` seconds.

        `gone`: the resource itself is looked at when the operation cannot be, and must not exist.
        """
        address = answer.headers.get("azure-asyncoperation", "")
        later = answer.headers.get("location", "") if answer.status == 202 else ""
        state = str((answer.body.get("properties") or {}).get("provisioningState") or "succeeded").lower() if not gone else ""
        if not address and not later and state in _GOOD:
            return answer
        link = urlsplit(address or later)
        first = faults.retry_after(answer.headers)
        every = _FIRST_LOOK_SECONDS if first is None else _SOON_SECONDS
        asked = [first or 0.0]

        def look() -> Answer | None:
            if address:
                found = self._operation(link.path, link.query, what, asked)
            elif later:
                found = self._later(link.path, link.query, what, asked)
            else:
                found = None
            if found is None and (gone or not (address or later)):
                return self._resource(path, what, gone)
            return None if found is None or found.status == 202 else found

        def pause(seconds: float) -> None:
            self.sleep(max(seconds, min(asked[0], _LONGEST_ASKED_SECONDS)))

        pause(every)
        ended = wait_for(
            f"{what} to end", look, deadline=deadline, every=every, longest=_LONGEST_LOOK_SECONDS, clock=self._clock,
            sleep=pause)
        output = (ended.body.get("properties") or {}).get("output") if address else None
        if isinstance(output, dict):
            return Answer(200, output, ended.headers)
        return answer if address else ended

    def _operation(self, path: str, query: str, what: str, asked: list[float]) -> Answer | None:
        """A look at an operation: 202 while it is under way, None when nothing is known of it any more."""
        params = dict(parse_qsl(query, keep_blank_values=True))
        try:
            seen = self.send("GET", self._below(path), what, params=params, version=params.get("api-version", ""))
        except NotFound:
            return None
        asked[0] = faults.retry_after(seen.headers) or 0.0
        status = str(seen.body.get("status") or "").lower()
        if status in _BAD:
            raise of_operation(what, seen.body.get("error") or {"code": status.capitalize()}, seen.headers.get("x-ms-request-id", ""))
        return seen if status in _GOOD else Answer(202, {}, {})

    def _later(self, path: str, query: str, what: str, asked: list[float]) -> Answer | None:
        """The older way: the address answers 202 until the result is there."""
        params = dict(parse_qsl(query, keep_blank_values=True))
        try:
            seen = self.send("GET", self._below(path), what, params=params, version=params.get("api-version", ""))
        except NotFound:
            return None
        asked[0] = faults.retry_after(seen.headers) or 0.0
        return seen

    def _resource(self, path: str, what: str, gone: bool) -> Answer | None:
        """A look at the resource itself: what it is when it is ready, or an empty answer when it is gone as it should be."""
        found = self.find(path, what)
        if found is None:
            if gone:
                return Answer(204, {}, {})
            raise NotFound(f"{what}: it vanished while it was made", resource=path)
        state = str((found.get("properties") or {}).get("provisioningState") or "succeeded").lower()
        if gone:
            return None
        if state in _BAD:
            raise Unavailable(f"{what}: it ended in the state {state}", resource=path, code=state.capitalize())
        return Answer(200, found, {}) if state in _GOOD else None

    def settled(self, path: str, what: str, found: Tree, *, deadline: float = 900.0) -> Tree:
        """The resource, as it was found, when nobody is making or changing it; else as it is when that has ended."""
        return self.finished(Answer(200, found, {}), path, what, deadline=deadline).body

    def until(self, what: str, path: str, ready: Callable[[Tree], bool], *, deadline: float = 1800.0) -> Tree:
        """Wait until a resource is as it should be."""
        def look() -> Tree | None:
            found = self.get(path, what)
            return found if ready(found) else None
        return wait_for(
            f"{what} to be ready", look, deadline=deadline, every=_FIRST_LOOK_SECONDS, longest=_LONGEST_LOOK_SECONDS, clock=self._clock,
            sleep=self.sleep)

    def close(self) -> None:
        self.drivers.close()
