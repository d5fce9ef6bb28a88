"""Following a task: its event lines as people read them, and the loop that asks for more.

Source: director API contract, sections 3.3, 3.6 and 5.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from director import diagnostics
from director.cli.client import DirectorError, diagnostic_of
from director.cli.ui import Interrupted, Ui
from director.errors import TaskError

if TYPE_CHECKING:
    from director.cli.client import Client

ACTIVE = ("queued", "processing", "cancelling")
FIRST_WAIT, BUSY_WAIT, LONGEST_WAIT = 0.05, 0.25, 0.5  # the second while there is news: a big deploy has some at any time
PATIENCE_SECONDS = 60.0  # for a director that does not answer: one that is started again goes on with the task


class Reporter(Protocol):
    """What shows a task's output while it grows."""

    def started(self, task_id: int) -> None: ...

    def chunk(self, task_id: int, data: bytes) -> None: ...

    def finished(self, task_id: int, state: str) -> None: ...

    def waiting(self, task_id: int) -> None:
        """The director does not answer; it is asked again."""


class EventReporter:
    """Renders event lines as the `bosh` command does: stages with their durations, the errors in red."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._quiet = True

    def started(self, task_id: int) -> None:
        self._ui.begin(f"Task {task_id}")

    def chunk(self, task_id: int, data: bytes) -> None:
        if not data:
            return
        if self._quiet:
            self._ui.begin("\n")
            self._quiet = False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._show(task_id, _event(line))

    def finished(self, task_id: int, state: str) -> None:
        if self._events:
            first, last = self._events[0]["time"], self._events[-1]["time"]
            self._ui.begin(
                f"\n\nTask {task_id} Started  {_day(first)}"
                f"\nTask {task_id} Finished {_day(last)}\nTask {task_id} Duration {duration(last - first)}"
            )
        if self._quiet:
            self._ui.end(f". {state.title()}")
        else:
            self._ui.begin(f"\nTask {task_id} {state}\n")
            if self._ui.manner == "plain":
                self._ui.block("\n")

    def waiting(self, task_id: int) -> None:
        self._ui.block(f"\nTask {task_id} | The director does not answer, asking again for {PATIENCE_SECONDS:.0f} s", "warn")

    def _show(self, task_id: int, event: dict[str, Any]) -> None:
        start = next((known for known in self._events if _same(known, event)), None)
        state = event.get("state")
        took = f" ({duration(event['time'] - (start or event)['time'])})"
        data = event.get("data") if isinstance(event.get("data"), dict) else {}
        prefix = f"\nTask {task_id} | {_clock(event['time'])} | "
        indent = " " * len(prefix.lstrip("\n"))
        follows = bool(self._events) and _same(self._events[-1], event)
        title = " ".join(filter(None, [str(event.get("stage") or ""), ", ".join(event.get("tags") or [])])) + f": {event.get('task', '')}"
        if event.get("type") in ("deprecation", "warning"):
            self._ui.block(("\n" if self._events and event["type"] == "deprecation" else "") + prefix)
            self._ui.block(f"{event['type'].title()}: {event.get('message', '')}", "warn")
        elif event.get("error"):
            self._ui.block(("\n" if self._events else "") + prefix)
            self._ui.block("Error: " + _told(event["error"]).replace("\n", "\n" + indent), "bad")
        elif state == "started":
            self._ui.block(prefix)
            self._ui.block(title)
        elif state == "in_progress" and data and data.get("status"):
            self._ui.block(prefix)
            self._ui.block(f"L {data['status']}: {event.get('task', '')}")
        elif state in ("finished", "failed"):
            self._ui.block(took if follows else f"{prefix}{title}{took}")
            if state == "failed" and data:
                error = str(data.get("error", "")).replace("\n", "\n" + indent)
                self._ui.block(f"\n{indent}L Error: {error}", "bad")
        if state in ("started", "finished", "failed", "in_progress") or event.get("error") or event.get("type"):
            self._events.append(event)


class RawReporter:
    """Passes the output on as it is: `--debug`, `--result`, `--event`."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._quiet = True

    def started(self, task_id: int) -> None:
        self._ui.begin(f"Task {task_id}")

    def chunk(self, task_id: int, data: bytes) -> None:
        if data:
            if self._quiet:
                self._ui.begin("\n\n")
                self._quiet = False
            self._ui.block(data.decode("utf-8", "replace"))

    def finished(self, task_id: int, state: str) -> None:
        self._ui.end(f". {state.title()}") if self._quiet else self._ui.begin(f"\nTask {task_id} {state}\n")

    def waiting(self, task_id: int) -> None: ...


class SilentReporter:
    """Shows nothing: reads such as `instances` are tasks too, and nobody wants to hear of it unless they fail: `errors` tells why."""

    def __init__(self) -> None:
        self._data = b""

    def started(self, task_id: int) -> None: ...

    def chunk(self, task_id: int, data: bytes) -> None:
        self._data += data

    def finished(self, task_id: int, state: str) -> None: ...

    def waiting(self, task_id: int) -> None: ...

    def errors(self) -> list[diagnostics.Diagnostic]:
        """What the task's error lines say."""
        lines = [_event(line) for line in self._data.splitlines() if line.strip()]
        return [item for line in lines if isinstance(line.get("error"), dict) for item in _diagnostics(line["error"])]


def follow(
    client: Client, task: dict[str, Any], reporter: Reporter, *, kind: str = "event", sleep: Callable[[float], None] = time.sleep
) -> bytes:
    """Show a task until it ends and return its result bytes; raises TaskError when it does not end well, Interrupted on Ctrl-C."""
    task_id = int(task["id"])
    try:
        reporter.started(task_id)
        state = _watch(client, task_id, reporter, kind, sleep)
    except KeyboardInterrupt:
        raise Interrupted(task_id) from None
    reporter.finished(task_id, state)
    if state != "done":
        if isinstance(reporter, SilentReporter) and (told := reporter.errors()):
            raise TaskError(*told)
        raise TaskError(
            f"Expected task '{task_id}' to succeed but state is '{state}'",
            suggestion=f"See everything it wrote with 'caisson task {task_id} --debug'." if state != "cancelled" else "",
        )
    return client.task_output(task_id, "result") if kind == "event" else b""


def _watch(client: Client, task_id: int, reporter: Reporter, kind: str, sleep: Callable[[float], None]) -> str:
    offset, wait, silent = 0, FIRST_WAIT, 0.0
    while True:
        try:
            state, data = client.task_news(task_id, kind, offset)
            if not state:
                # The state is asked for before the output, so that the output of a final state is complete.
                state = str(client.task(task_id)["state"])
                data += client.task_output(task_id, kind, offset=offset + len(data))
        except DirectorError as error:
            if error.status or silent >= PATIENCE_SECONDS:
                raise _unheard(task_id, error) from error
            if not silent:
                reporter.waiting(task_id)
            sleep(LONGEST_WAIT)
            silent += LONGEST_WAIT
            continue
        silent = 0.0
        offset += len(data)
        reporter.chunk(task_id, data)
        if state not in ACTIVE:
            return state
        sleep(wait)
        wait = min(wait * 1.5, BUSY_WAIT if data else LONGEST_WAIT)


def _unheard(task_id: int, error: DirectorError) -> DirectorError:
    """The error, with how to go on following when it is the director that does not answer."""
    if error.status:
        return error
    hint = f"The task goes on once the director runs: 'caisson director start', then follow it with 'caisson task {task_id}'."
    return DirectorError(*(dataclasses.replace(item, suggestion=hint) for item in error.diagnostics))


def duration(seconds: float) -> str:
    """`00:01:09`."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("time"), int):
        raise TaskError(
            f"The director sent an event line that cannot be read: {line[:200].decode('utf-8', 'replace')}",
            suggestion="The task goes on. Is this a director of another version?",
        )
    return event


def _told(error: dict[str, Any]) -> str:
    """The message; with details and next steps where our own director sends them beside it."""
    return diagnostics.render(_diagnostics(error))


def _diagnostics(error: dict[str, Any]) -> list[diagnostics.Diagnostic]:
    told = error.get("diagnostics")
    if not isinstance(told, list) or not told:
        return [diagnostics.Diagnostic(str(error.get("message", "")))]
    return [diagnostic_of(item) for item in told if isinstance(item, dict)]


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if not one.get("stage"):
        return False
    return all(one.get(key) == other.get(key) for key in ("stage", "tags", "task"))


def _clock(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%H:%M:%S")


def _day(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%a %b %e %H:%M:%S UTC %Y")
