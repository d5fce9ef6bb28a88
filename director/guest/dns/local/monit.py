"""The instance's state as monit tells it, and, between two of monit's looks, as the processes themselves tell it.

Source: agent contract, sections 4.4 and 4.5. The agent has a reader of its own (`guest/agent/monit.py`); the resolver is shipped alone.
"""

from __future__ import annotations

import json
import os
import socket
from typing import List, NamedTuple, Tuple
from xml.etree import ElementTree

GROUP = "vcap"
PATIENCE = 2.0
RUNNING, FAILING, STARTING, STOPPED = "running", "failing", "starting", "stopped"


class Places(NamedTuple):
    """Where things are on a machine."""

    monit_socket: str = "/var/vcap/monit/monit.sock"
    stopped: str = "/var/vcap/monit/stopped"
    health: str = "/var/vcap/instance/health.json"
    jobs: str = "/var/vcap/jobs"


class Monit:
    """`look` asks monit; `glance` looks only whether what it saw is still there."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._state = FAILING
        self._pids: Tuple[int, ...] = ()

    def look(self) -> str:
        """The state of the instance. Without a monit it is what the agent wrote last."""
        if not os.path.exists(self._places.monit_socket):
            self._state, self._pids = self._written(), ()
        else:
            try:
                self._state, self._pids = read(_ask(self._places.monit_socket))
            except (OSError, ValueError, ElementTree.ParseError):
                self._state, self._pids = FAILING, ()
        return self.glance()

    def glance(self) -> str:
        if os.path.exists(self._places.stopped):
            return STOPPED
        if self._state == RUNNING and not all(_lives(pid) for pid in self._pids):
            return FAILING
        return self._state

    def _written(self) -> str:
        try:
            with open(self._places.health, encoding="utf-8") as file:
                tree = json.load(file)
            return str(tree["state"])
        except (OSError, ValueError, KeyError, TypeError):
            return FAILING


def read(text: bytes) -> Tuple[str, Tuple[int, ...]]:
    """The state of monit's status document, and the processes it has seen. ValueError, ParseError."""
    root = ElementTree.fromstring(text)
    members = set()
    for group in root.iter("servicegroup"):
        if group.get("name") == GROUP:
            members = {item.text for item in group.iter("service")}
    states: List[str] = []
    pids = []
    for item in root.findall("services/service"):
        if item.get("name") not in members:
            continue
        monitored, status = int(item.findtext("monitor") or 0), int(item.findtext("status") or 0)
        states.append(STARTING if monitored == 2 else RUNNING if monitored == 1 and status == 0 else FAILING)
        pid = int(item.findtext("pid") or 0)
        if states[-1] == RUNNING and pid > 0:
            pids.append(pid)
    if STARTING in states:
        return STARTING, ()
    return (RUNNING if all(state == RUNNING for state in states) else FAILING), tuple(pids)


def _ask(path: str) -> bytes:
    """OSError, ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(path)
        sock.sendall(b"GET /_status2?format=xml HTTP/1.0\r\nHost: localhost\r\n\r\n")
        received = []
        while True:
            data = sock.recv(65536)
            if not data:
                break
            received.append(data)
    head, _, body = b"".join(received).partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0] + b" ":
        raise ValueError("monit gives no status")
    return body


def _lives(pid: int) -> bool:
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False
