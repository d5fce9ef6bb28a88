"""A task's outputs as they are written: event lines that clients follow, the result, debug lines.

Source: API contract, section 5; planning contract, section 24. `director.execute.progress` says what operations expect of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from director import errors
from director.tasks.outputs import Outputs
from director.tasks.redact import Redactor

UNCLASSIFIED = 100


class TaskLog:
    """Writes whole lines, at once, so that a reader never sees half of one for long. Safe to use from many threads.

    All that is written goes through the redactor first. After `close` writing does nothing: a stray thread must not break anything.
    """

    def __init__(
        self, outputs: Outputs, task_id: int, *, redact: Redactor, clock: Callable[[], float], resumed: bool = False,
    ) -> None:
        """A resumed task goes on with its event and debug output, and begins its result anew."""
        self.task_id = task_id
        self._redact = redact
        self._clock = clock
        self._lock = threading.Lock()
        self._files = {
            "event": outputs.open(task_id, "event", fresh=not resumed),
            "debug": outputs.open(task_id, "debug", fresh=not resumed),
            "cpi": outputs.open(task_id, "cpi", fresh=not resumed),
            "result": outputs.open(task_id, "result", fresh=True),
        }

    def stage(self, name: str, total: int = 1, tags: tuple[str, ...] = ()) -> Stage:
        """A titled list of `total` steps; `tags` name what it belongs to (an instance group)."""
        return Stage(self, name, total, tags)

    def warning(self, message: str) -> None:
        """Something the operator should know; the task goes on."""
        self.event({"type": "warning", "message": message})

    def deprecation(self, message: str) -> None:
        """Something that works now and will not for ever."""
        self.event({"type": "deprecation", "message": message})

    def error(self, code: int, message: str, diagnostics: list[dict[str, object]] | None = None) -> None:
        """The task's end in error. `diagnostics` are `Diagnostic.to_dict()`s, for clients that show more than the message."""
        told: dict[str, Any] = {"code": code, "message": message}
        if diagnostics:
            told["diagnostics"] = diagnostics
        self.event({"error": told})

    def event(self, fields: dict[str, Any]) -> None:
        """One event line; the time is added."""
        line = {"time": int(self._clock()), **fields}
        self._write("event", json.dumps(self._redact.tree(line), ensure_ascii=False, separators=(",", ":")) + "\n")

    def result(self, text: str) -> None:
        """Add to the result output."""
        self._write("result", self._redact(text))

    def debug(self, message: str, *, output: str = "debug", level: str = "DEBUG") -> None:
        """A line, with time and thread, for those who look for a cause; `output` is debug or cpi."""
        now = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        head = f"{stamp}.{int(now % 1 * 1000):03d}Z {level} [{threading.current_thread().name}] "
        self._write(output, head + self._redact(message).replace("\n", "\n    ") + "\n")

    def close(self) -> None:
        """All is on disk as far as a crash of the process is concerned; nothing is written from now on."""
        with self._lock:
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()

    def _write(self, output: str, text: str) -> None:
        data = text.encode("utf-8", "surrogateescape")
        with self._lock:
            descriptor = self._files.get(output)
            while descriptor is not None and data:
                data = data[os.write(descriptor, data):]


class Stage:
    """Steps are numbered from 1 in the order they begin, also when many threads begin them."""

    def __init__(self, log: TaskLog, name: str, total: int, tags: tuple[str, ...]) -> None:
        self._log = log
        self._common = {"stage": name, "tags": list(tags), "total": total}
        self._lock = threading.Lock()
        self._begun = 0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """`started` on entering, `finished` on leaving, `failed` with the error when the block raises."""
        with self._lock:
            self._begun += 1
            index = self._begun
        step = Step(self._log, {**self._common, "task": name, "index": index})
        step.tell("started", 0)
        try:
            yield step
        except Exception as error:
            step.tell("failed", 100, {"error": error.message if isinstance(error, errors.CaissonError) else str(error)})
            raise
        step.tell("finished", 100)


class Step:
    """One line in the operator's eyes."""

    def __init__(self, log: TaskLog, common: dict[str, Any]) -> None:
        self._log = log
        self._common = common

    def status(self, text: str, progress: int) -> None:
        """Say what is done right now; `progress` is 0 to 100."""
        self.tell("in_progress", progress, {"status": text})

    def tell(self, state: str, progress: int, data: dict[str, str] | None = None) -> None:
        """Write the step's line for a state of the event log."""
        self._log.event({**self._common, "state": state, "progress": progress, **({"data": data} if data else {})})
