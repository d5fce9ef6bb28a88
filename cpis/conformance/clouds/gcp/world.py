"""What exists in the fake Compute Engine, and operations, which take their time. Source: cloud-emulators reference, section 5.

A thing is known by its path below the project (`zones/us-central1-a/instances/vm-1`). A change is answered at once with an operation; its
effect comes when the operation is done, `latency` seconds later. What has been refused in an operation leaves nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

LINKS = "https://www.googleapis.com/compute/v1/projects"
Body = dict[str, Any]


class Refused(Exception):
    """An answer that is no success: HTTP status, the error's reason, its message."""

    def __init__(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.headers = dict(headers or {})

    def body(self) -> Body:
        errors = [{"reason": self.reason, "message": self.message, "domain": "global"}]
        return {"error": {"code": self.status, "message": self.message, "errors": errors}}


class Failed(Exception):
    """What makes an operation fail: a code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclasses.dataclass
class Operation:
    """`effect` happens when it is done; `undo` when it fails. `polls` answers more say RUNNING, whatever the time."""

    body: Body
    ready_at: float
    effect: Callable[[], None]
    undo: Callable[[], None]
    polls: int = 0


class World:
    """All of it under one lock. `limits` are quotas by metric (INSTANCES, DISKS, SNAPSHOTS)."""

    def __init__(self, project: str, latency: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.project = project
        self.latency = latency
        self.clock = clock
        self.lock = threading.RLock()
        self.things: dict[str, Body] = {}
        self.born: set[str] = set()
        self.foreign: dict[str, Body] = {}
        self.operations: dict[str, Operation] = {}
        self.limits: dict[str, int] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.buckets: dict[str, Body] = {}
        self.unreachable: set[str] = set()
        self._requests: dict[str, tuple[str, str]] = {}
        self._numbers = itertools.count(1)
        self._prints = itertools.count(1)

    # Things

    def number(self) -> str:
        return str(4_000_000_000_000_000_000 + next(self._numbers))

    def link(self, path: str) -> str:
        return f"{LINKS}/{self.project}/{path}"

    def path(self, link: str) -> str:
        """The path of a link of this project (URL, `projects/p/..` or the path itself)."""
        _, found, rest = link.partition(f"projects/{self.project}/")
        return rest if found else link.lstrip("/")

    def seed(self, path: str, body: Body) -> Body:
        """Something that the cloud was born with."""
        self.born.add(path)
        return self.put(path, body)

    def put(self, path: str, body: Body) -> Body:
        kind = path.rsplit("/", 2)[-2].rstrip("s")
        self.things[path] = {
            "kind": f"compute#{kind}", "id": self.number(), "name": path.rsplit("/", 1)[-1], "selfLink": self.link(path),
            "creationTimestamp": now_text(), **body,
        }
        return self.things[path]

    def get(self, path: str) -> Body:
        if path not in self.things:
            raise not_found(self.project, path)
        return self.things[path]

    def remove(self, path: str) -> None:
        self.things.pop(path, None)

    def within(self, folder: str) -> list[Body]:
        return [body for path, body in self.things.items() if path.rsplit("/", 1)[0] == folder]

    def fingerprint(self) -> str:
        return base64.b64encode(hashlib.sha256(str(next(self._prints)).encode()).digest()[:9]).decode()

    # Operations

    def once(self, request_id: str, shape: str, change: Callable[[], Operation]) -> Body:
        """The operation of a change; the same `requestId` again answers with the same one. Raises Refused."""
        if request_id:
            if not _is_uuid(request_id) or set(request_id) <= set("0-"):
                raise Refused(400, "invalid", f"Invalid value for field 'requestId': '{request_id}'. It must be a UUID that is not zero.")
            if request_id in self._requests:
                name, before = self._requests[request_id]
                if before != shape:
                    raise Refused(400, "invalid", f"Invalid value for field 'requestId': '{request_id}' was used for another request.")
                return self.operations[name].body
        operation = change()
        if request_id:
            self._requests[request_id] = (operation.body["name"], shape)
        return operation.body

    def operate(
        self, kind: str, target: str, effect: Callable[[], None], undo: Callable[[], None] = lambda: None,
    ) -> Operation:
        name = f"operation-{next(self._numbers)}-{hashlib.sha256(target.encode()).hexdigest()[:12]}"
        scope = "/".join(target.split("/")[:2]) if not target.startswith("global/") else "global"
        body: Body = {
            "kind": "compute#operation", "id": self.number(), "name": name, "operationType": kind, "targetLink": self.link(target),
            "status": "PENDING", "progress": 0, "insertTime": now_text(), "selfLink": self.link(f"{scope}/operations/{name}"),
            "user": "director@fake.iam.gserviceaccount.com",
        }
        if scope.startswith("zones/"):
            body["zone"] = self.link(scope)
        elif scope.startswith("regions/"):
            body["region"] = self.link(scope)
        self.operations[name] = Operation(body, self.clock() + self.latency, effect, undo)
        return self.operations[name]

    def settle(self) -> None:
        """Let happen what is due."""
        now = self.clock()
        for operation in list(self.operations.values()):
            body = operation.body
            if body["status"] == "DONE":
                continue
            if now < operation.ready_at or operation.polls > 0:
                body["status"], body["progress"] = "RUNNING", 50
                continue
            try:
                operation.effect()
            except Failed as error:
                operation.undo()
                body["error"] = {"errors": [{"code": error.code, "message": error.message}]}
                body["httpErrorStatusCode"], body["httpErrorMessage"] = 400, "BAD REQUEST"
            body.update(status="DONE", progress=100, endTime=now_text())

    def quota(self, metric: str, folder: str) -> None:
        """Raises Failed when one more is too many."""
        limit = self.limits.get(metric)
        used = sum(1 for path in self.things if path not in self.born and f"/{folder}/" in f"/{path}")
        if limit is not None and used > limit:
            raise Failed("QUOTA_EXCEEDED", f"Quota '{metric}' exceeded.  Limit: {limit:.1f} in region us-central1.")


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def not_found(project: str, path: str) -> Refused:
    return Refused(404, "notFound", f"The resource 'projects/{project}/{path}' was not found")


def _is_uuid(text: str) -> bool:
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(char in "0123456789abcdefABCDEF" for part in parts for char in part)
