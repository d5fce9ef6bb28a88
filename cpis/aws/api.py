"""Requests to AWS: a driver for each thread, one limiter for the account and region, errors of the contract, pages, batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cpis.aws.credentials import Source
from cpis.aws.driver import Ec2, Place, Sts, Tree, filters, items
from cpis.aws.errors import explain
from cpis.cloud.calls import PATIENCE_SECONDS, Caller
from cpis.cloud.drivers import PerThread
from cpis.cloud.limits import Rate, shared
from cpis.cloud.text import redact
from cpis.cloud.waiting import wait_for
from cpis.contract import CpiError, Denied, Invalid

Result = TypeVar("Result")

# Per account and region. Source: CPI contract, section 6.4; those of ELB are not published.
FAMILIES: Mapping[str, Rate] = {
    "read": Rate(20, 100), "mutate": Rate(5, 50), "run": Rate(2, 5), "balancer": Rate(10, 40), "storage": Rate(100, 100),
}
_EXPIRED = frozenset({
    "RequestExpired", "ExpiredToken", "ExpiredTokenException", "AuthFailure", "InvalidClientTokenId", "InvalidAccessKeyId", "InvalidToken",
    "InvalidSecurityToken", "UnrecognizedClientException",
})
_PAGE = 1000
_MOST_FILTER_VALUES = 200
_BATCHES_AT_ONCE = 4


class Api:
    """EC2 for many threads. `clock` and `sleep` serve all waiting. Errors are those of the contract, without secrets."""

    def __init__(
        self, place: Place, source: Source, config: Mapping[str, Any], clock: Callable[[], float], sleep: Callable[[float], None],
    ) -> None:
        self.place = place
        self.source = source
        self._secrets = tuple(str(config.get(key) or "") for key in ("secret_access_key", "session_token"))
        self._clock = clock
        self._sleep = sleep
        self._every = float(config.get("poll_interval", 2.0))
        self._drivers = PerThread(lambda: Ec2(source, place), Ec2.end)
        who = " ".join(str(config.get(key) or "") for key in ("access_key_id", "profile", "role_arn"))
        limiter = shared(f"aws {place.region} {place.url('ec2')} {who}", _rates(config), clock=clock, sleep=sleep)
        tries = int(config.get("max_retries", 8)) + 1
        self._caller = Caller(limiter, self._explain, renew=self._renew, clock=clock, sleep=sleep, tries=tries)

    def _explain(self, what: str, error: Exception) -> CpiError:
        explained = explain(what, error)
        hidden = redact(explained.message, (*self._secrets, *self.source.secrets()))
        if hidden != explained.message:
            explained.message = hidden
            explained.args = (hidden,)
        return explained

    def _renew(self, error: Denied) -> bool:
        used = self._drivers.get().used
        return error.code in _EXPIRED and used is not None and self.source.renew(used)

    def call(
        self, what: str, action: Callable[[], Result], *, family: str, repeatable: bool = True,
        also: Callable[[CpiError], bool] | None = None, patience: float = PATIENCE_SECONDS,
    ) -> Result:
        """`action` under the limit of its family, repeated as its errors allow: see `Caller`."""
        return self._caller(what, action, family=family, repeatable=repeatable, also=also, patience=patience)

    def ask(
        self, action: str, params: Mapping[str, Any] | None = None, *, repeatable: bool = True,
        also: Callable[[CpiError], bool] | None = None, patience: float = PATIENCE_SECONDS,
    ) -> Tree:
        """The answer of an action of EC2."""
        def send() -> Tree:
            return self._drivers.get().ask(action, params)

        return self.call(action, send, family=_family(action), repeatable=repeatable, also=also, patience=patience)

    def do(
        self, action: str, method: Callable[[Ec2], object], *, also: Callable[[CpiError], bool] | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """A method of Libcloud's driver that is one request; `action` names it; what it returns depends on namespaces."""
        self.call(action, lambda: method(self._drivers.get()), family=_family(action), also=also, patience=patience)

    def pages(self, action: str, name: str, params: Mapping[str, Any] | None = None) -> list[Tree]:
        """All items of the set `name` of a list, whatever the number of pages."""
        found: list[Tree] = []
        more: dict[str, Any] = {}
        while True:
            answer = self.ask(action, {"MaxResults": _PAGE if action != "DescribeInstanceTypes" else 100, **(params or {}), **more})
            found += items(answer, name)
            if not answer.get("nextToken"):
                return found
            more = {"NextToken": answer["nextToken"]}

    def wait(self, what: str, look: Callable[[], Result | None], deadline: float = 300.0) -> Result:
        """What `look` finds at last; see `wait_for`."""
        return wait_for(what, look, deadline=deadline, every=self._every, clock=self._clock, sleep=self._sleep)

    def dry_run(self, action: str, params: Mapping[str, Any] | None = None) -> CpiError | None:
        """The error with which a request would be refused; None for one that would be done."""
        try:
            self.ask(action, {**(params or {}), "DryRun": "true"}, patience=30.0)
        except CpiError as error:
            return None if error.code == "DryRunOperation" else error
        return None

    def identity(self) -> tuple[Tree, str]:
        """Who the credentials belong to (Account, Arn, UserId), and the `Date` of the answer."""
        sts = Sts(self.source, self.place)
        answer = self.call("GetCallerIdentity", lambda: sts.ask("GetCallerIdentity"), family="read", patience=30.0)
        response: Any = sts.connection.connection
        return answer.get("GetCallerIdentityResult") or {}, str(response.getresponse().headers.get("date") or "")

    def close(self) -> None:
        """End the connections of all threads."""
        self._drivers.close()


def _family(action: str) -> str:
    if action == "RunInstances":
        return "run"
    return "read" if action.startswith(("Describe", "Get")) else "mutate"


def _rates(config: Mapping[str, Any]) -> Mapping[str, Rate]:
    """The usual rates, or those that the configuration has for this account. Raises Invalid."""
    rates = dict(FAMILIES)
    for family, pair in (config.get("request_rates") or {}).items():
        if family not in rates:
            raise Invalid(f"request_rates: there is no family '{family}'", suggestion=f"known: {', '.join(rates)}")
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(
                isinstance(number, int | float) and not isinstance(number, bool) and number > 0 for number in pair)):
            raise Invalid(f"request_rates: '{family}' must be requests per second and burst, [2, 5], not {pair!r}")
        rates[family] = Rate(float(pair[0]), float(pair[1]))
    return rates


class _Entry:
    def __init__(self) -> None:
        self.ready = threading.Event()
        self.found: Tree | None = None
        self.error: CpiError | None = None


class Batch:
    """Looks at single things, many in one request when many threads look at once. Source: CPI contract, section 6.4, "Rate limits".

    `name` is the filter by which ids are given, `of` gives the things of an answer, `id_of` the id of one. What is not there is None.
    """

    def __init__(self, ask: Callable[[dict[str, str]], Sequence[Tree]], name: str, id_of: str) -> None:
        self._ask = ask
        self._name = name
        self._id_of = id_of
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, _Entry]] = []
        self._turns = threading.Semaphore(_BATCHES_AT_ONCE)

    def get(self, cid: str) -> Tree | None:
        """The thing as it is now, or None. Raises CpiError when it cannot be told."""
        entry = _Entry()
        with self._lock:
            self._waiting.append((cid, entry))
        while not entry.ready.is_set():
            with self._turns:
                with self._lock:
                    batch, self._waiting = self._waiting[:_MOST_FILTER_VALUES], self._waiting[_MOST_FILTER_VALUES:]
                if batch:
                    self._look(batch)
            if not batch:
                entry.ready.wait()  # another thread is asking for it
        if entry.error is not None:
            raise entry.error
        return entry.found

    def _look(self, batch: Sequence[tuple[str, _Entry]]) -> None:
        try:
            ids = list(dict.fromkeys(cid for cid, _ in batch))
            found = {thing[self._id_of]: thing for thing in self._ask(filters(**{self._name: ids}))}
            for cid, entry in batch:
                entry.found = found.get(cid)
        except Exception as error:
            explained = explain("look", error)
            for _, entry in batch:
                entry.error = explained
        finally:
            for _, entry in batch:
                entry.ready.set()
