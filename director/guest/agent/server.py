"""The loop: requests from standard input, answers to standard output, until the input ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import queue
import sys
import threading
import time
from typing import IO, Any, Dict, Iterable, Mapping, Optional

from .actions import ACTIONS
from .actions.base import Action
from .errors import ActionError
from .host import VERSION, Call, Host, Tree

END_SECONDS = 15.0
LOG_BYTES = 5 << 20


class Request:
    """One request being answered."""

    def __init__(self, number: int, name: str, action: Action, arguments: Tree) -> None:
        self.number = number
        self.name = name
        self.action = action
        self.arguments = arguments
        self.cancelled = threading.Event()


class Server:
    """Answers requests read from `lines` on `out`. `actions` is the table."""

    def __init__(self, host: Host, out: IO[bytes], actions: Mapping[str, Action] = ACTIONS) -> None:
        self._host = host
        self._out = out
        self._actions = actions
        self._write_lock = threading.Lock()
        self._lock = threading.Lock()
        self._open: Dict[int, Request] = {}
        self._threads: Dict[int, threading.Thread] = {}
        self._queue: "queue.Queue[Optional[Request]]" = queue.Queue()
        self._log = Log(host)

    def serve(self, lines: Iterable[bytes]) -> None:
        """Until the lines end; then everything that still runs is cancelled and waited for, 15 s at most."""
        self._send({"hello": {
            "protocol": VERSION, "agent_digest": self._host.agent_digest, "boot_id": self._host.boot_id(), "python": sys.version.split()[0],
        }})
        worker = threading.Thread(target=self._work, name="asynchronous", daemon=True)
        worker.start()
        for line in lines:
            if line.strip():
                self._receive(line)
        with self._lock:
            for request in self._open.values():
                request.cancelled.set()
            threads = [*self._threads.values(), worker]
        self._queue.put(None)
        deadline = time.monotonic() + END_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line.decode("utf-8"))
            if "cancel" in message:
                with self._lock:
                    found = self._open.get(message["cancel"])
                if found is not None:
                    found.cancelled.set()
                return
            number, name, arguments = int(message["id"]), str(message["action"]), dict(message.get("arguments") or {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._send({"id": None, "error": {"message": "Not a request: %s" % error, "kind": "invalid", "output": ""}})
            return
        action = self._actions.get(name)
        if action is None:
            self._send({"id": number, "error": {"message": "unknown message %s" % name, "kind": "unknown", "output": ""}})
            return
        request = Request(number, name, action, arguments)
        with self._lock:
            self._open[number] = request
        if action.asynchronous:
            self._queue.put(request)
        else:
            thread = threading.Thread(target=self._answer, args=(request,), name=name, daemon=True)
            with self._lock:
                self._threads[number] = thread
            thread.start()

    def _work(self) -> None:
        while True:
            request = self._queue.get()
            if request is None:
                return
            self._answer(request)

    def _answer(self, request: Request) -> None:
        started = time.monotonic()
        problem: Optional[Tree] = None
        result: Any = None

        def progress(message: Tree) -> None:
            self._send({"id": request.number, "progress": message})

        try:
            call = Call(self._host, progress, request.cancelled)
            if request.action.asynchronous:
                with Exclusive(self._host, call):
                    result = request.action.call(call, request.arguments)
            else:
                result = request.action.call(call, request.arguments)
        except Exception as error:
            problem = error_of(error)
        with self._lock:
            self._open.pop(request.number, None)
            self._threads.pop(request.number, None)
        self._log.write(request, time.monotonic() - started, problem)
        self._send({"id": request.number, "result": result} if problem is None else {"id": request.number, "error": problem})

    def _send(self, message: Tree) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._write_lock:
            try:
                self._out.write(data)
                self._out.flush()
            except (BrokenPipeError, ValueError):
                pass  # the director is gone; the end of the input tells the loop


def error_of(error: Exception) -> Tree:
    """The error member of an answer."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"message": "No space left on the machine's disk%s" % _usage(error), "kind": "disk_full", "output": ""}
    if isinstance(error, ActionError):
        if "No space left on device" in error.message + error.output:
            return {"message": "No space left on the machine's disk: %s" % error.message, "kind": "disk_full", "output": error.output}
        return {"message": error.message, "kind": error.kind, "output": error.output}
    import traceback  # a defect is rare, and this is a tenth of the agent's start

    return {"message": "%s: %s" % (type(error).__name__, error), "kind": "internal", "output": traceback.format_exc()[-4000:]}


def _usage(error: OSError) -> str:
    name = str(error.filename or "/var/vcap/data")
    place = name if os.path.exists(name) else os.path.dirname(name)
    try:
        facts = os.statvfs(place or "/")
    except OSError:
        return ""
    return " at %s (%d MB free of %d MB)" % (name, facts.f_bavail * facts.f_frsize >> 20, facts.f_blocks * facts.f_frsize >> 20)


class Exclusive:
    """Held while an asynchronous action runs, so that two agents on a machine (a new director, a dying one) do not cross."""

    def __init__(self, host: Host, call: Call) -> None:
        self._host = host
        self._call = call
        self._handle: Optional[IO[str]] = None

    def __enter__(self) -> None:
        self._host.layout.bosh.mkdir(parents=True, exist_ok=True)
        handle = self._host.layout.lock.open("a")
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._handle = handle
                    return
                except BlockingIOError:
                    self._call.pause(0.05)
        except BaseException:
            handle.close()
            raise

    def __exit__(self, *unused: object) -> None:
        if self._handle is not None:
            self._handle.close()


class Log:
    """The agent's own log, a line per request; arguments only of actions that are loggable."""

    def __init__(self, host: Host) -> None:
        self._path = host.layout.agent_log
        self._lock = threading.Lock()

    def write(self, request: Request, seconds: float, problem: Optional[Tree]) -> None:
        arguments = json.dumps(request.arguments)[:500] if request.action.loggable else "<redacted>"
        outcome = "ok" if problem is None else "%s: %s" % (problem["kind"], problem["message"] if request.action.loggable else "<redacted>")
        line = "%s %s %s %.3fs %s\n" % (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), request.name, arguments, seconds, outcome)
        with self._lock:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                if self._path.exists() and self._path.stat().st_size > LOG_BYTES:
                    os.replace(str(self._path), str(self._path) + ".1")
                with self._path.open("a") as stream:
                    os.fchmod(stream.fileno(), 0o640)
                    stream.write(line)
            except OSError:
                pass  # a full disk must not keep the agent from answering


