"""Requests to Compute Engine and Cloud Storage: under the project's limits, tried again where that is safe, waited for to the end."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from cpis.cloud.calls import PATIENCE_SECONDS, Caller
from cpis.cloud.drivers import PerThread
from cpis.cloud.faults import MALFORMED
from cpis.cloud.limits import Rate, shared
from cpis.contract import Conflict, NotFound, Unavailable
from cpis.gcp.credentials import Tokens
from cpis.gcp.driver import API, WAIT_TIMEOUT_SECONDS, GceDriver, Place, PlainConnection
from cpis.gcp.errors import NOT_READY, STALE, Explainer
from cpis.gcp.names import last, request_id

# 1500 a minute for each group of methods. `operations.wait` and Cloud Storage count apart. Source: CPI contract, section 8.4.
FAMILIES = {
    "read": Rate(20.0, 300.0), "mutating": Rate(20.0, 300.0), "operations": Rate(40.0, 600.0), "storage": Rate(50.0, 100.0),
}
OPERATION_SECONDS = 900.0
_STALE_TRIES = 8
_SHORTEST_POLL, _LONGEST_POLL = 0.2, 10.0
_PAGE = 500

log = logging.getLogger("cpis")

Body = dict[str, Any]
Result = TypeVar("Result")


class Compute:
    """`path` is below the project (`/zones/us-central1-a/instances/vm-1`), or whole (`/compute/v1/projects/other/global/images/i`)."""

    def __init__(
        self, project: str, place: Place, storage: Place, resources: Place, tokens: Tokens, *, user_agent: str = "",
        clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.project = project
        self.explain = Explainer(clock)
        self._clock = clock
        self._sleep = sleep
        limiter = shared(f"gcp/{project}/{place.host}:{place.port}", FAMILIES, clock=clock, sleep=sleep)
        self._caller = Caller(limiter, self.explain, renew=tokens.renew, clock=clock, sleep=sleep)
        self._drivers = PerThread(lambda: self._driver(place, tokens, user_agent), _end)
        self._stores = PerThread(lambda: PlainConnection(storage, tokens, user_agent), _disconnect)
        self._managers = PerThread(lambda: PlainConnection(resources, tokens, user_agent), _disconnect)

    def _driver(self, place: Place, tokens: Tokens, user_agent: str) -> GceDriver:
        driver = GceDriver(self.project, place, tokens, user_agent)
        connection: Any = driver.connection
        connection.operate = self.run
        return driver

    def call(
        self, what: str, action: Callable[[], Result], *, family: str = "read", repeatable: bool = True, patience: float = PATIENCE_SECONDS,
    ) -> Result:
        """As `cpis.cloud.calls.Caller`; what is not ready yet is waited for."""
        return self._caller(
            what, action, family=family, repeatable=repeatable, patience=patience, also=lambda error: error.code in NOT_READY)

    @property
    def driver(self) -> Any:
        """Libcloud's driver of this thread. Its methods that change something come back here through `GceConnection.async_request`."""
        return self._drivers.get()

    @property
    def storage(self) -> Any:
        """The connection of this thread to Cloud Storage."""
        return self._stores.get()

    @property
    def resources(self) -> Any:
        """The connection of this thread to the Resource Manager, which knows what we may do."""
        return self._managers.get()

    def close(self) -> None:
        self._managers.close()
        self._drivers.close()
        self._stores.close()

    # Reading. Raw requests: Libcloud's `ex_get_node` and `list_volumes` list all disks of the project each time.

    def get(self, path: str, params: Mapping[str, str] | None = None, patience: float = PATIENCE_SECONDS) -> Body:
        """Raises NotFound and other errors of the contract."""
        return self.call(f"GET {path}", lambda: self._request("GET", path, params), patience=patience)

    def look(self, path: str) -> Body | None:
        """The resource, or None when it certainly does not exist."""
        with contextlib.suppress(NotFound):
            return self.get(path)
        return None

    def pages(self, path: str, **params: str) -> Iterator[Body]:
        """The pages of a list, as answered. A page that is not whole is an error: what it lacks may be there all the same."""
        tokens = [""]
        while True:
            asked = {"maxResults": str(_PAGE), **params, **({"pageToken": tokens[-1]} if tokens[-1] else {})}
            page = self.get(path, asked)
            _whole(path, page)
            yield page
            if not page.get("nextPageToken"):
                return
            tokens.append(next_page(path, tokens, page))

    def all(self, path: str, **params: str) -> list[Body]:
        return [item for page in self.pages(path, **params) for item in page.get("items") or []]

    def aggregated(self, kind: str, **params: str) -> list[Body]:
        """The resources of a kind (`instances`) in all zones."""
        found: list[Body] = []
        for page in self.pages(f"/aggregated/{kind}", **params):
            for scope, content in dict(page.get("items") or {}).items():
                _whole(f"/aggregated/{kind} in {scope}", content)
                found += [{"zone": scope, **item} for item in content.get(kind) or ()]
        return found

    # Changing

    def run(self, method: str, path: str, body: Any = None, *, seconds: float = OPERATION_SECONDS, once: bool = True) -> None:
        """Change something and wait until it has happened. Busy resources are waited for. Raises the operation's error."""
        self.wait(self.start(method, path, body, once=once), f"{method} {path}", seconds=seconds)

    def start(self, method: str, path: str, body: Any = None, *, once: bool = True) -> Body:
        """Send a change; answers its operation. It may be sent again and again: `requestId` makes it one change. (Libcloud sends none.)

        `once` False is for methods that take no `requestId`, and are harmless a second time for another reason.
        """
        params = {"requestId": request_id()} if once else {}
        return self.call(
            f"{method} {path}", lambda: self._request(method, path, params, body), family="mutating")

    def wait(self, operation: Body, what: str, *, seconds: float = OPERATION_SECONDS) -> None:
        """Until the operation is done. Raises its error, or Unavailable (with the operation's name) after so many seconds."""
        started, asked_at, pause = self._clock(), float("-inf"), _SHORTEST_POLL
        while operation.get("status") != "DONE":
            name = operation.get("name")
            if not isinstance(name, str) or not name:
                raise Unavailable(f"{what}: the answer is no operation: {str(operation)[:200]}", code=MALFORMED)
            passed = self._clock() - started
            if passed >= seconds:
                raise Unavailable(
                    f"{what}: operation {name} is {operation.get('status')} after {passed:.0f} s", code="timeout", request_id=name,
                    resource=last(operation.get("targetLink")),
                    suggestion=f"Look at it with `gcloud compute operations describe {name}`; the same call later finds what it made.")
            if self._clock() - asked_at < pause:  # the answer was not held: a server that does not wait
                self._sleep(min(pause, max(0.0, seconds - passed)))
                pause = min(_LONGEST_POLL, pause * 2)
            asked_at = self._clock()
            path = f"{_scope_of(operation)}/operations/{name}/wait"
            # `wait` holds its answer for up to two minutes and counts in a family of its own; Libcloud polls `get` every two seconds.
            operation = self.call(
                f"wait for {what}", lambda path=path: self._request("POST", path, timeout=WAIT_TIMEOUT_SECONDS),  # type: ignore[misc]
                family="operations")
        error = self.explain.of_operation(what, operation)
        if error is not None:
            raise error

    def relabel(self, path: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        """Set the labels that `change` makes of the present ones. When somebody else was faster, it begins anew with theirs.

        Raises NotFound. Libcloud's methods replace all labels, by a fingerprint that was read at another time.
        """
        for left in range(_STALE_TRIES - 1, -1, -1):
            resource = self.get(path)
            labels = resource.get("labels") or {}
            wanted = dict(change(labels))
            if wanted == labels:
                break
            body = {"labels": wanted, "labelFingerprint": resource.get("labelFingerprint") or ""}
            try:
                # The fingerprint keeps it from happening twice; a `requestId` is refused for snapshots.
                self.run("POST", f"{path}/setLabels", body, once=False)
                break
            except Conflict as error:
                if error.code != STALE or not left:
                    raise
                log.info("labels of %s were changed by somebody else meanwhile: reading them again", path)

    def _request(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: Any = None, timeout: float | None = None,
    ) -> Body:
        connection: Any = self.driver.connection
        extra = {} if timeout is None else {"timeout": timeout}
        answer = connection.request(path, params=dict(params or {}), data=body, method=method, **extra).object
        _check_form(f"{method} {path}", answer, dict)
        return dict(answer)


def _end(driver: GceDriver) -> None:
    _disconnect(driver.connection)


def _disconnect(connection: Any) -> None:
    if connection.connection is not None:
        connection.connection.session.close()


# The forms of fields that are looked into. What a proxy or a faulty server answers instead must not pass for a resource.
_FORMS: Mapping[str, type | tuple[type, ...]] = {
    "name": str, "status": str, "zone": str, "region": str, "selfLink": str, "labelFingerprint": str, "nextPageToken": str, "labels": dict,
    "disks": list, "networkInterfaces": list, "accessConfigs": list, "users": list, "quotas": list, "backends": list,
    "items": (list, dict), "error": dict, "warning": dict, "instances": list, "sizeGb": (str, int), "networkIP": str,
}
_OF_OBJECTS = ("disks", "networkInterfaces", "accessConfigs", "quotas", "backends", "instances")


def _check_form(where: str, value: Any, form: type | tuple[type, ...]) -> None:
    """Raises Unavailable for a value of another form, or one with fields of another form."""
    if not isinstance(value, form):
        raise Unavailable(
            f"{where}: the answer has another form than the API's: {str(value)[:200]}", code=MALFORMED,
            suggestion="Does a proxy answer in the cloud's place? Is the endpoint the API's?")
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _FORMS and inner is not None and key != "labels":
                _check_form(where, inner, _FORMS[key])
            if key in _OF_OBJECTS or (key == "items" and isinstance(inner, list) and "fingerprint" not in value):
                for item in inner or ():
                    _check_form(where, item, dict)
            if key == "items" and isinstance(inner, dict):
                for item in inner.values():
                    _check_form(where, item, dict)
            if key == "sizeGb" and not str(inner).isdecimal():
                _check_form(where, inner, ())
            if key == "labels" and not (isinstance(inner, dict) and all(isinstance(item, str) for item in inner.values())):
                _check_form(where, inner, ())


def next_page(where: str, before: Sequence[str], page: Mapping[str, Any]) -> str:
    """The token of the next page. Raises Unavailable for one that was there before: such a list never ends."""
    token = str(page["nextPageToken"])
    if token in before:
        raise Unavailable(f"{where}: the list goes round in circles (page '{token}')", code=MALFORMED)
    return token


def _whole(where: str, page: Mapping[str, Any]) -> None:
    warning = page.get("warning")
    if isinstance(warning, Mapping) and warning.get("code") == "UNREACHABLE":
        raise Unavailable(f"{where}: {warning.get('message') or 'a part of the cloud cannot be reached'}", code="UNREACHABLE")


def _scope_of(operation: Mapping[str, Any]) -> str:
    """Where an operation is, from what it says; its link may name a host that we do not go to."""
    if operation.get("zone"):
        return f"/zones/{last(operation['zone'])}"
    if operation.get("region"):
        return f"/regions/{last(operation['region'])}"
    return "/global"


def absolute(link: str, project: str) -> str:
    """The API's path of a link: a URL, `projects/p/...`, or a path below the project."""
    _, found, rest = link.partition("projects/")
    return f"{API}/{rest}" if found else f"{API}/{project}/{link.lstrip('/')}"


def quoted(name: str) -> str:
    """A name that came from outside, as one piece of a path."""
    return quote(name, safe="")


class Places:
    """Where machines and disks are. A CID is a name; its zone is remembered, or found by looking through all zones."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._zones: dict[tuple[str, str], str] = {}

    def remember(self, kind: str, name: str, zone: str) -> None:
        self._zones[kind, name] = zone

    def zone(self, kind: str, name: str) -> str:
        """The zone that is remembered, or ''."""
        return self._zones.get((kind, name), "")

    def forget(self, kind: str, name: str) -> None:
        self._zones.pop((kind, name), None)

    def find(self, kind: str, name: str) -> Body | None:
        """The resource, with `zone`; None when it certainly exists nowhere. `kind` is instances or disks."""
        zone = self.zone(kind, name)
        if zone:
            found = self._compute.look(f"/zones/{zone}/{kind}/{quoted(name)}")
            if found is None:
                self.forget(kind, name)
                return None
            if found.get("name") != name:
                raise Unavailable(f"GET {name}: the answer is about '{found.get('name')}'", code=MALFORMED, resource=name)
            return {**found, "zone": f"zones/{zone}"}
        if not name.replace("-", "").isalnum() or not name.isascii():
            return None  # no name of a resource, and so no part of a filter either
        same = [item for item in self._compute.aggregated(kind, filter=f"name={name}") if item.get("name") == name]
        if len(same) > 1:
            zones = " and ".join(sorted(last(item.get("zone")) for item in same))
            raise Conflict(f"'{name}' is in {zones}", resource=name, suggestion="Delete the one that is not wanted with gcloud.")
        if same:
            self.remember(kind, name, last(same[0].get("zone")))
        return same[0] if same else None

    def get(self, kind: str, name: str) -> Body:
        """Raises NotFound."""
        found = self.find(kind, name)
        if found is None:
            word = "machine" if kind == "instances" else "disk"
            raise NotFound(f"there is no {word} '{name}' in project {self._compute.project}", resource=name, code="notFound")
        return found
