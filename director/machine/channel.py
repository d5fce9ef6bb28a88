"""The agent's channel: JSON lines both ways, many requests at once. Protocol: `director/guest/agent/__init__.py`."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko

from director.diagnostics import Diagnostic
from director.errors import AgentError, Cancelled, MachineError, NotFetched, ScriptFailed, Unreachable
from director.machine.agent import Cancel, Tree
from director.machine.endpoint import Endpoint

CANCEL_SECONDS = 30.0
LOST = "Do it again: what was done is not repeated. A machine that stays silent is replaced by a deploy with --fix."
LOG = "director.machine.ssh"
Progress = Callable[[Tree], None]

logging.getLogger(LOG).addHandler(logging.NullHandler())


class _Pending:
    """A request that waits for its answer. Messages are handled by the waiting thread, so that a callback may make calls itself."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Tree | None] = queue.SimpleQueue()


class AgentChannel:
    """JSON lines both ways, many requests at once."""

    def __init__(self, endpoint: Endpoint, channel: paramiko.Channel) -> None:
        self._endpoint = endpoint
        self._channel = channel
        self._lock = threading.Lock()
        self._pending: dict[int, _Pending] = {}
        self._last = 0
        self._received = b""
        self.is_lost = False

    def first(self, seconds: float) -> Tree:
        """A line read before `listen`. Raises AgentError with what was said on stderr when the command ended instead."""
        self._channel.settimeout(seconds)
        try:
            while b"\n" not in self._received:
                piece = self._channel.recv(65536)
                if not piece:
                    raise AgentError(self._not_started())
                self._received += piece
        except TimeoutError as error:
            raise Unreachable(f"The agent of machine '{self._endpoint.cid}' did not start within {seconds:.0f} seconds") from error
        line, _, self._received = self._received.partition(b"\n")
        return self._decode(line)

    def _not_started(self) -> Diagnostic:
        said = b""
        while piece := self._channel.recv_stderr(65536):
            said += piece
        text = said.decode("utf-8", "replace").strip()
        suggestion = ""
        if "sudo" in text and ("password" in text or "not found" in text):
            suggestion = f"User '{self._endpoint.user}' must be able to use sudo without a password."
        elif "python3" in text:
            suggestion = "The image needs Python 3.8 or later as `python3`."
        return Diagnostic(f"The agent of machine '{self._endpoint.cid}' cannot be started", detail=text, suggestion=suggestion)

    def listen(self) -> None:
        """Begin to receive answers."""
        self._channel.settimeout(None)
        threading.Thread(target=self._receive, name=f"agent {self._endpoint.cid}", daemon=True).start()

    def send_raw(self, data: bytes) -> None:
        self._channel.sendall(data)

    def call(
        self, action: str, arguments: Tree, timeout: float, on_progress: Progress | None, cancel: Cancel | None,
    ) -> Any:
        pending = _Pending()
        with self._lock:
            self._last += 1
            number = self._last
            self._pending[number] = pending
        try:
            self._send({"id": number, "action": action, "arguments": arguments})
            return self._await(number, pending, action, timeout, on_progress, cancel)
        finally:
            with self._lock:
                self._pending.pop(number, None)

    def _await(
        self, number: int, pending: _Pending, action: str, timeout: float, on_progress: Progress | None, cancel: Cancel | None,
    ) -> Any:
        deadline = time.monotonic() + timeout
        cancelling = False
        while True:
            left = deadline - time.monotonic()
            try:
                message = pending.messages.get(timeout=max(0.0, min(left, 0.2 if cancel is not None and not cancelling else left)))
            except queue.Empty:
                if cancel is not None and cancel.is_set() and not cancelling:
                    cancelling = True
                    deadline = min(deadline, time.monotonic() + CANCEL_SECONDS)
                    self._send({"cancel": number})
                elif time.monotonic() >= deadline:
                    if cancelling:
                        raise Cancelled(f"'{action}' was cancelled, and machine '{self._endpoint.cid}' did not answer") from None
                    self._send({"cancel": number})
                    name = self._endpoint.cid
                    raise Unreachable(
                        f"Timed out sending '{action}' to machine '{name}' after {timeout:.0f} seconds", suggestion=LOST) from None
                continue
            if message is None:
                raise _lost(self._endpoint, f" during '{action}'")
            if "progress" in message:
                if on_progress is not None:
                    on_progress(message["progress"])
                continue
            if "error" in message:
                raise _error(self._endpoint, action, message["error"])
            return message.get("result")

    def _send(self, message: Tree) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock:
            if self.is_lost:
                raise _lost(self._endpoint)
            try:
                self._channel.sendall(data)
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise _lost(self._endpoint) from error

    def _receive(self) -> None:
        buffer = self._received
        try:
            while piece := self._channel.recv(1 << 20):
                *lines, buffer = (buffer + piece).split(b"\n")
                for line in lines:
                    self._deliver(line)
                if self._channel.recv_stderr_ready():
                    self._channel.recv_stderr(65536)  # sudo's or Python's warnings; drained so that the window never closes
        except (OSError, EOFError, paramiko.SSHException) as error:
            logging.getLogger(LOG).info("machine %s: %s", self._endpoint.cid, error)
        finally:
            with self._lock:
                self.is_lost = True
                waiting = list(self._pending.values())
            for pending in waiting:
                pending.messages.put(None)

    def _deliver(self, line: bytes) -> None:
        message = self._decode(line)
        with self._lock:
            pending = self._pending.get(message.get("id") or 0)
        if pending is not None:
            pending.messages.put(message)

    def _decode(self, line: bytes) -> Tree:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        return message if isinstance(message, dict) else {"refused": line.decode("utf-8", "replace")}


def _lost(endpoint: Endpoint, when: str = "") -> Unreachable:
    return Unreachable(f"The connection to machine '{endpoint.cid}' was lost{when}", suggestion=LOST)


def _error(endpoint: Endpoint, action: str, error: Tree) -> MachineError | Cancelled:
    message, kind, output = str(error.get("message")), error.get("kind"), str(error.get("output") or "")
    if kind == "cancelled":
        return Cancelled(message)
    if kind == "script_failed":
        return ScriptFailed(Diagnostic(message, detail=output, suggestion="The whole output is in the machine's logs: `caisson logs`."))
    if kind == "not_fetched":
        return NotFetched(Diagnostic(message, detail=output))
    if kind == "disk_full":
        return AgentError(Diagnostic(
            message, detail=output, suggestion=(
                f"Give machine '{endpoint.cid}' a bigger disk, remove what fills it (`caisson ssh`), "
                "or replace it: caisson recreate INSTANCE --fix."),
        ))
    if kind == "internal":
        return AgentError(Diagnostic(f"Action '{action}' failed on the machine: {message}", detail=output))
    return AgentError(Diagnostic(message, detail=output))
