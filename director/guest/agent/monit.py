"""Monit, asked over its own socket: status as XML, actions as form posts, both understood at once without waiting for a cycle.

Monit checks every 10 seconds, as the job authors' "for 3 cycles" expect; an action wakes it up. Whether monit runs the configuration
that is on disk is told by the name of its system service, which holds a digest of the configuration.
Source: the releases contract, section 14; the agent contract, sections 4.4 and 4.5.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Set, Tuple
from urllib.parse import urlencode

from . import files
from .errors import ActionError
from .layout import Layout
from .shell import Shell

GROUP = "vcap"
UNIT = "caisson-monit.service"
CYCLE_SECONDS = 10
TOKEN = "agent"
SYSTEM_TYPE = "5"
NOT_EXISTING = 0x200
NOT_MONITORED, MONITORED, INITIALIZING = 0, 1, 2


class Service(NamedTuple):
    """A service of group vcap. `monitor` is 0 not, 1 monitored, 2 initializing; `status` a bit set of failures; `pid` 0 when unknown."""

    name: str
    monitor: int
    status: int
    pending: bool
    pid: int = 0
    uptime: int = 0
    memory_kib: int = 0
    memory_percent: float = 0.0
    cpu_percent: float = 0.0

    @property
    def state(self) -> str:
        if self.monitor == NOT_MONITORED:
            return "unknown"
        if self.monitor != MONITORED:
            return "starting"
        return "running" if self.status == 0 else "failing"


class Status(NamedTuple):
    generation: str
    services: List[Service]


class Unavailable(Exception):
    """Monit does not answer."""


def aggregate(states: Sequence[str], stopped: bool) -> str:
    """The instance's job state of its services' states."""
    if stopped:
        return "stopped"
    if "starting" in states:
        return "starting"
    return "running" if all(state == "running" for state in states) else "failing"


def parse(text: bytes) -> Status:
    """Read the status document; only services of group vcap count."""
    found = _Document(text)
    generation = ""
    for name, facts in found.services:
        if facts.get("type") == SYSTEM_TYPE:
            generation = name.rpartition("_")[2]
    return Status(generation, [_service(name, facts) for name, facts in found.services if name in found.members])


class _Document:
    """`services` are (name, path of each element below it -> text), `members` the names in group vcap. Raises Unavailable.

    By expat itself: the tree of `xml.etree` is not needed, and importing it takes as long as ten documents.
    """

    def __init__(self, text: bytes) -> None:
        from xml.parsers import expat

        self.services: List[Tuple[str, Dict[str, str]]] = []
        self.members: Set[str] = set()
        self._path: List[str] = []
        self._text: List[str] = []
        self._ours = False
        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = self._start, self._end, self._text.append
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            raise Unavailable("its status cannot be read: %s" % error) from error

    def _start(self, tag: str, attributes: Dict[str, str]) -> None:
        self._path.append(tag)
        self._text.clear()
        if self._path[1:] == ["services", "service"]:
            self.services.append((attributes.get("name", ""), {}))
        elif tag == "servicegroup":
            self._ours = attributes.get("name") == GROUP

    def _end(self, tag: str) -> None:
        text = "".join(self._text)
        if self._path[-2:] == ["servicegroup", "service"]:
            if self._ours:
                self.members.add(text)
        elif self._path[1:3] == ["services", "service"]:
            self.services[-1][1].setdefault("/".join(self._path[3:]), text)
        self._text.clear()
        self._path.pop()


def _service(name: str, facts: Dict[str, str]) -> Service:
    def number(path: str) -> float:
        return float(facts.get(path) or 0)

    return Service(
        name, int(number("monitor")), int(number("status")), int(number("pendingaction")) != 0, int(number("pid")), int(number("uptime")),
        int(number("memory/kilobytetotal")), number("memory/percenttotal"), number("cpu/percenttotal"),
    )


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return pid > 0 and Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


class Monit:
    """The running monit of a machine."""

    def __init__(
        self, layout: Layout, shell: Shell, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._shell = shell
        self._sleep = sleep
        self._clock = clock

    @property
    def is_alive(self) -> bool:
        """Whether the process in its pid file lives and is a monit: after a reboot the number may be another's."""
        pid = self._pid()
        try:
            return lives(pid) and Path("/proc/%d/comm" % pid).read_text().strip() == "monit"
        except OSError:
            return False

    def status(self) -> Status:
        """Raises Unavailable."""
        return parse(self._request("GET", "/_status2?format=xml", {}))

    def act(self, action: str, names: Sequence[str]) -> None:
        """Let monit start, stop, monitor or unmonitor services, all in one request; answers before it is done. Raises Unavailable."""
        if names:
            self._request("POST", "/_doaction", [("securitytoken", TOKEN)] + [("service", name) for name in names] + [("action", action)])

    def wake(self) -> None:
        """Begin the next cycle now."""
        self._signal(signal.SIGUSR1)

    def await_status(self, seconds: float = 20.0) -> Status:
        """The status, waiting for a monit that is just starting; one that is not running is started. Raises ActionError."""
        deadline = self._clock() + seconds
        started = False
        pause = 0.01
        while True:
            try:
                return self.status()
            except Unavailable as error:
                if self._clock() > deadline:
                    raise ActionError("Monit does not answer: %s" % error, self._log()) from error
            if not started and not self.is_alive:
                self._shell.run(["systemctl", "start", UNIT], check=False)
                started = True
            self._sleep(pause)
            pause = min(pause * 2, 0.25)

    def configure(self, name: str) -> bool:
        """Write the control file for the snippets that are there; answers whether monit must be reloaded to know them."""
        layout = self._layout
        digest = hashlib.sha256()
        for path in sorted(layout.monit_jobs.glob("*.monitrc")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        lines = [
            "set daemon %d" % CYCLE_SECONDS,
            "set onreboot laststate",
            "set pidfile %s" % layout.monit_pid,
            "set statefile %s" % (layout.monit / "monit.state"),
            "set idfile %s" % (layout.monit / "monit.id"),
            "set logfile %s" % (layout.monit / "monit.log"),
            "set httpd unixsocket %s permission 0600" % layout.monit_socket,
            "  allow localhost",
            "check system %s_%s" % (name, digest.hexdigest()[:12]),
            "include %s/*.monitrc" % layout.monit_jobs,
            "",
        ]
        return files.write(layout.monitrc, "\n".join(lines), 0o600)

    def reload(self, name: str, seconds: float = 60.0) -> None:
        """Make monit run the snippets on disk; nothing when it does so already. Raises ActionError with monit's complaint."""
        self.configure(name)
        wanted = self._wanted()
        before = self.await_status().generation
        if before == wanted:
            return
        check = self._shell.run(["monit", "-t", "-c", str(self._layout.monitrc)], check=False)
        if check.exit_code != 0:
            raise ActionError("Monit refuses the jobs' configuration", (check.stdout + check.stderr)[-10000:])
        self._signal(signal.SIGHUP)
        deadline = self._clock() + seconds
        pause = 0.01
        while True:
            self._sleep(pause)
            now = self.await_status().generation
            if now == wanted:
                return
            if self._clock() > deadline:
                raise ActionError("Failed to reload monit: before=%s after=%s" % (before, now), self._log())
            pause = min(pause * 2, 0.25)

    def pid_file(self, name: str) -> str:
        """The path in the service's `check process`, or ''."""
        for path in self._layout.monit_jobs.glob("*.monitrc"):
            for block in re.split(r"(?im)^[ \t]*check[ \t]+", path.read_text()):
                pattern = r"process[ \t]+[\"']?%s[\"']?\s.*?pidfile[ \t]+[\"']?([^\s\"']+)" % re.escape(name)
                found = re.match(pattern, block, re.DOTALL | re.IGNORECASE)
                if found:
                    return found.group(1)
        return ""

    def live_pid(self, service: Service) -> int:
        """The service's process, as monit or its pid file tells, if it lives; else 0."""
        pid = service.pid
        if not pid:
            path = self.pid_file(service.name)
            try:
                pid = int(Path(path).read_text()) if path else 0
            except (OSError, ValueError):
                pid = 0
        return pid if lives(pid) else 0

    def _wanted(self) -> str:
        for line in self._layout.monitrc.read_text().splitlines():
            if line.startswith("check system "):
                return line.rpartition("_")[2]
        return ""

    def _pid(self) -> int:
        try:
            return int(self._layout.monit_pid.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _signal(self, number: int) -> None:
        pid = self._pid()
        if pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _log(self) -> str:
        return files.tail(self._layout.monit / "monit.log", 2000)

    def _request(self, method: str, path: str, form: Any) -> bytes:
        body = urlencode(form).encode() if form else b""
        head = (
            "%s %s HTTP/1.0\r\nHost: localhost\r\nCookie: securitytoken=%s\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % (method, path, TOKEN, len(body))
        )
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10.0)
        received: List[bytes] = []
        try:
            connection.connect(str(self._layout.monit_socket))
            connection.sendall(head.encode() + body)
            while True:
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received.append(chunk)
        except OSError as error:
            raise Unavailable(str(error)) from error
        finally:
            connection.close()
        headers, _, content = b"".join(received).partition(b"\r\n\r\n")
        first = headers.split(b"\r\n")[0].decode("latin-1")
        if not (" 200 " in first + " " or " 302 " in first + " "):
            raise Unavailable("%s: %s" % (path, first or "no answer"))
        return content


def snippets(jobs: Sequence[Any]) -> Dict[str, str]:
    """File name -> text of the monit snippets of jobs, given as (name, folder), in the order of the spec: the last gets 0000."""
    made: Dict[str, str] = {}
    for position, (name, folder) in enumerate(reversed(list(jobs))):
        main = folder / "monit"
        found = [("%04d_%s.monitrc" % (position, name), main)] if main.is_file() else []
        found += [("%04d_%s_%s.monitrc" % (position, name, path.stem), path) for path in sorted(folder.glob("*.monit"))]
        for file_name, path in found:
            text = path.read_text()
            if text.strip():
                made[file_name] = text if text.endswith("\n") else text + "\n"
    return made
