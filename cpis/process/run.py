"""One call of an executable, exactly as a BOSH director makes it. Source: CPI contract, section 1."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cpis import hurry
from cpis.cloud.text import HIDDEN, first_line, redact
from cpis.contract import Invalid, Unavailable
from cpis.wire import errors, secrets

Tree = dict[str, Any]

_LOG = logging.getLogger("cpis.process")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_OPEN_ENV = ("group", "groups", "tags")


@dataclasses.dataclass(frozen=True)
class Ended:
    """What a process said: both streams, and its exit code, which nobody may lean on."""

    stdout: str
    stderr: str
    code: int


Runner = Callable[[Sequence[str], str], Ended]
"""Runs a command with a text on stdin until it ends. Raises OSError when it cannot be started, TimeoutExpired in a hurry."""


def run(command: Sequence[str], text: str) -> Ended:
    """The real one. Nothing of our environment is inherited but TMPDIR. No time limit: a CPI waits out rate limits by itself; but in a
    hurry, as checks are, it is ended with its time. In a session of its own, so that Ctrl-C for the director does not end a creation in
    its middle."""
    waiting = hurry.current()
    environment = {"PATH": _PATH, **({"TMPDIR": os.environ["TMPDIR"]} if "TMPDIR" in os.environ else {})}
    ended = subprocess.run(
        command, input=text.encode(), capture_output=True, env=environment, check=False, start_new_session=True,
        timeout=None if waiting is None else max(0.1, waiting.left()))
    return Ended(ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"), ended.returncode)


class Executable:
    """Calls methods of a BOSH CPI. `properties` travel in the context of each call, where they win over the executable's own file."""

    def __init__(
        self, command: Sequence[str], director_uuid: str, properties: Mapping[str, Any], runner: Runner = run,
        number: Callable[[], int] = lambda: random.randrange(100_000, 1_000_000),
    ) -> None:
        self._command = tuple(command)
        self.path = self._command[0]
        self._director_uuid = director_uuid
        self._properties = dict(properties)
        self._runner = runner
        self._number = number

    def call(self, method: str, arguments: Sequence[Any], *, version: int | None = None, more: Mapping[str, Any] | None = None) -> Any:
        """The `result`. `version` is the contract version spoken, None before `info` has told one; `more` is put into the context.

        Raises the CpiError that the answer says, Unavailable for an answer that is none, Invalid when the executable cannot be started.
        """
        request_id = f"cpi-{self._number():06d}"
        own = {"director_uuid": self._director_uuid, "request_id": request_id, **(more or {})}
        request: Tree = {"method": method, "arguments": list(arguments), "context": {**self._properties, **own}}
        if version is not None:
            request["api_version"] = version
        hidden = [*secrets.of_config(self._properties), *_hidden(method, arguments, more or {})]
        shown = {**request, "arguments": _redacted(method, arguments), "context": self._shown_context(own)}
        _LOG.debug("%s request: %s", request_id, redact(json.dumps(shown), hidden))
        try:
            with hurry.asking(f"{method} of {self._command[0]}"):
                ended = self._runner(self._command, json.dumps(request))
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                f"the CPI {self._command[0]} did not answer {method} within {error.timeout:.0f} s", code="timeout",
                resource=self._command[0], request_id=request_id, suggestion="Does its cloud answer? Its log may say.") from None
        except OSError as error:
            raise Invalid(
                f"the CPI {self._command[0]} cannot be started: {error.strerror}", resource=self._command[0],
                suggestion="Is `path` the executable of a BOSH CPI, and may the director's user run it?") from error
        if ended.stderr.strip():
            _LOG.debug("%s stderr: %s", request_id, redact(ended.stderr, hidden))
        answer = self._answer(ended, method, request_id, hidden)
        if answer["log"]:
            _LOG.debug("%s log: %s", request_id, redact(answer["log"], hidden))
        if answer["error"] is not None:
            failed = errors.error_from(answer["error"], method, request_id)
            failed.message = redact(failed.message, hidden)
            failed.args = (failed.message,)
            raise failed
        return answer["result"]

    def _shown_context(self, own: Mapping[str, Any]) -> Tree:
        """As a director logs it: nothing that came from the CPI config, and no login."""
        shown = {key: HIDDEN if key == "caisson" else value for key, value in own.items()}
        return {**dict.fromkeys(self._properties, HIDDEN), **shown}

    def _answer(self, ended: Ended, method: str, request_id: str, hidden: Sequence[str]) -> Tree:
        """Checked as a director does: three keys, of their types. Raises Unavailable, for what it did is not known."""
        try:
            answer = json.loads(ended.stdout)
        except ValueError:
            answer, wrong = None, "is not JSON" if ended.stdout.strip() else "is empty"
        else:
            wrong = _wrong(answer)
        if wrong:
            said = first_line(ended.stdout) or (ended.stderr.strip().splitlines() or [""])[-1]
            raise Unavailable(
                redact(f"the answer of {self._command[0]} to {method} {wrong} (exit code {ended.code}): {said}", hidden),
                resource=self._command[0], request_id=request_id, suggestion="What it did is not known. The debug log has all it said.")
        assert isinstance(answer, dict)
        return answer


def _wrong(answer: Any) -> str:
    if not isinstance(answer, dict):
        return "is no hash"
    missing = [key for key in ("result", "error", "log") if key not in answer]
    if missing:
        return f"lacks '{missing[0]}'"
    if not isinstance(answer["log"], str):
        return "has a 'log' that is no string"
    error = answer["error"]
    kinds = {"type": str, "message": str, "ok_to_retry": bool}
    if error is not None and not (isinstance(error, dict) and all(isinstance(error.get(key), kind) for key, kind in kinds.items())):
        return "has an 'error' without type, message and ok_to_retry"
    return ""


def _hidden(method: str, arguments: Sequence[Any], more: Mapping[str, Any]) -> list[str]:
    found = list(secrets.of_config(list(arguments[2:4]))) if method == "create_vm" else []
    if method == "create_vm":
        found += secrets.of_env(arguments[5])
    login = more.get("caisson", {}).get("login")
    return [*found, *secrets.leaves(login.get("host_private_key"))] if isinstance(login, Mapping) else found


def _redacted(method: str, arguments: Sequence[Any]) -> list[Any]:
    """Arguments as a director logs them."""
    shown = list(arguments)
    if method == "create_vm":
        shown[2] = dict.fromkeys(shown[2], HIDDEN)
        shown[3] = {
            name: {**entry, "cloud_properties": dict.fromkeys(entry.get("cloud_properties") or {}, HIDDEN)}
            for name, entry in shown[3].items()
        }
        bosh = {key: value if key in _OPEN_ENV else HIDDEN for key, value in (shown[5].get("bosh") or {}).items()}
        shown[5] = {**dict.fromkeys(shown[5], HIDDEN), "bosh": bosh}
    elif method == "create_disk":
        shown[1] = dict.fromkeys(shown[1], HIDDEN)
    return shown
