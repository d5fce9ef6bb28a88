"""The state of a pretended Azure Resource Manager: resources by id (in any case), and operations that take time."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Tree = dict[str, Any]
Size = tuple[int, float, int, int, str, bool, str]
"""Of a machine: cores, memory GiB, own disk MiB, data disks, zones, premium disks, family."""


class Refused(Exception):
    """An answer of ARM that is an error."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"[{code}] {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    @property
    def body(self) -> Tree:
        return {"error": {"code": self.code, "message": self.message}}


@dataclasses.dataclass
class Fault:
    """What goes wrong with requests of `method` whose path matches `path` (a regular expression), `times` times after `skip` such requests.

    `how`: `answer` refuses with status, code and message; `late` takes the request and lets its operation fail with code and message;
    `lost` does it and closes the connection without an answer; `before` closes the connection and does nothing; `html` answers a proxy's
    page; `cut` answers half.
    """

    method: str
    path: str
    how: str = "answer"
    status: int = 500
    code: str = "InternalServerError"
    message: str = "a fault was asked for"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    times: int = 1
    skip: int = 0

    def hits(self, method: str, path: str) -> bool:
        if self.times < 1 or self.method not in (method, "*") or not re.search(self.path, path, re.IGNORECASE):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclasses.dataclass
class Operation:
    """Something that is under way. `finish` has its effect and answers its output, or raises Refused."""

    id: str
    target: str
    ready_at: float
    finish: Callable[[], Tree | None]
    status: str = "InProgress"
    error: Tree | None = None
    output: Tree | None = None


@dataclasses.dataclass
class Switches:
    """How this cloud behaves. `operation_seconds` is what each operation takes; a listing by tag is `listing_lags` seconds old;
    a NIC stays reserved `nic_reserved_seconds` after its machine failed; `retry_after` goes with each operation; `tokens_live` in seconds.
    """

    operation_seconds: float = 0.02
    page_size: int = 100
    listing_lags: float = 0.0
    nic_reserved_seconds: float = 0.0
    retry_after: int | None = 0
    cores_quota: int = 1000
    tokens_live: float = 3600.0


class Store:
    """Resources and operations of one subscription. All methods are called with `lock` held. `more_sizes` of machines are sold by name
    beside those of every region."""

    def __init__(self, subscription: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.subscription = subscription
        self.clock = clock
        self.lock = threading.RLock()
        self.switches = Switches()
        self.faults: list[Fault] = []
        self.resources: dict[str, Tree] = {}
        self.operations: dict[str, Operation] = {}
        self.late: Refused | None = None
        self.more_sizes: dict[str, Size] = {}
        self._numbers = itertools.count(1)
        self._listings: list[tuple[float, list[Tree]]] = []

    # Resources

    def id_of(self, group: str, kind: str, name: str) -> str:
        """`kind` with its namespace, as `Microsoft.Compute/disks`."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{group}/providers/{kind}/{name}"

    def find(self, identity: str) -> Tree | None:
        return self.resources.get(identity.lower())

    def get(self, identity: str) -> Tree:
        found = self.find(identity)
        if found is None:
            parts = identity.strip("/").split("/")
            raise Refused(
                404, "ResourceNotFound",
                f"The Resource '{'/'.join(parts[5:])}' under resource group '{parts[3] if len(parts) > 3 else ''}' was not found.")
        return found

    def put(self, identity: str, kind: str, body: Tree, properties: Tree) -> Tree:
        """Add or replace a resource, with the tags, zones and so on of a request's body."""
        old = self.resources.get(identity.lower())
        made: Tree = {
            "id": old["id"] if old else identity, "name": identity.rsplit("/", 1)[-1], "type": kind,
            "_created": old["_created"] if old else datetime.datetime.now(datetime.UTC).isoformat(),
            "tags": dict(body.get("tags") or {}), "properties": properties,
        }
        made.update({key: body[key] for key in ("location", "zones", "sku", "identity", "priority", "plan") if body.get(key) is not None})
        if old is not None:
            made["_created"] = old["_created"]
        self.resources[identity.lower()] = made
        return made

    def drop(self, identity: str) -> None:
        self.resources.pop(identity.lower(), None)

    def of_type(self, kind: str, group: str = "") -> Iterator[Tree]:
        prefix = f"/subscriptions/{self.subscription}/resourcegroups/{group.lower()}/" if group else ""
        for key, resource in list(self.resources.items()):
            if resource["type"].lower() == kind.lower() and key.startswith(prefix):
                yield resource

    def tagged(self, name: str, value: str) -> list[Tree]:
        """What carries the tag, as it was `listing_lags` seconds ago: this list is a cache of ARM's."""
        now = self.clock()
        fresh = [dict(item) for item in self.resources.values() if "location" in item]
        self._listings = [item for item in self._listings if now - item[0] <= 60] + [(now, fresh)]
        lag = self.switches.listing_lags
        listing = next((items for at, items in reversed(self._listings) if now - at >= lag), self._listings[0][1]) if lag else fresh
        return [item for item in listing if {key.lower(): tag for key, tag in item["tags"].items()}.get(name.lower()) == value]

    def group_exists(self, group: str) -> bool:
        return f"/subscriptions/{self.subscription}/resourcegroups/{group}".lower() in self.resources

    # Operations

    def begin(self, target: str, finish: Callable[[], Tree | None], seconds: float | None = None) -> Operation:
        """Start something. A fault of the kind `late` for this request takes the place of its effect."""
        late, self.late = self.late, None

        def fail() -> Tree | None:
            assert late is not None
            found = self.find(target)
            if found is not None:
                found["properties"]["provisioningState"] = "Failed"
            raise late

        takes = self.switches.operation_seconds if seconds is None else seconds
        operation = Operation(f"op-{next(self._numbers):06d}", target.lower(), self.clock() + takes, fail if late else finish)
        self.operations[operation.id] = operation
        return operation

    def busy(self, target: str) -> bool:
        return any(item.status == "InProgress" and item.target == target.lower() for item in self.operations.values())

    def settle(self) -> None:
        """Let everything happen whose time has come, in its order."""
        due = [item for item in self.operations.values() if item.status == "InProgress" and item.ready_at <= self.clock()]
        for operation in sorted(due, key=lambda item: item.ready_at):
            try:
                operation.output = operation.finish()
                operation.status = "Succeeded"
            except Refused as refused:
                operation.status, operation.error = "Failed", refused.body["error"]


def shown(resource: Tree) -> Tree:
    """A resource as an answer shows it: without what only we know, and without secrets."""
    return {key: _shown(value) for key, value in resource.items() if not key.startswith("_")}


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items() if not key.startswith("_")}
    return [_shown(item) for item in value] if isinstance(value, list) else value
