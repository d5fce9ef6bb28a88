"""HAProxy's runtime API: routes go into a map, endpoints into backends that were declared empty at the start.

Nothing here reloads HAProxy. Source: the foundation contract, section 8.2.
"""

from __future__ import annotations

import socket
from typing import Dict, List, Set, Tuple

from .table import Endpoint

IN_MAINTENANCE = 1  # bit of `srv_admin_state`


class ProxyError(Exception):
    """HAProxy is not there or refused a command."""


class Full(ProxyError):
    """More URIs than backends were declared: raise `router.max_routes`."""


class Proxy:
    """What a running HAProxy routes, as last read from it or written to it."""

    def __init__(self, socket_path: str, map_path: str, slots: int, timeout: float = 5.0) -> None:
        self._socket_path = socket_path
        self._map = map_path
        self._slots = slots
        self._timeout = timeout
        self._slot_of: Dict[str, str] = {}
        self._servers: Dict[str, Set[Endpoint]] = {}
        self._leaving: Set[Tuple[str, Endpoint]] = set()
        self._free: List[str] = []

    def command(self, text: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout)
                connection.connect(self._socket_path)
                connection.sendall(text.encode() + b"\n")
                answer = b""
                while True:
                    data = connection.recv(65536)
                    if not data:
                        return answer.decode("utf-8", "replace").strip()
                    answer += data
        except OSError as error:
            raise ProxyError("HAProxy's runtime socket: %s" % error) from error

    def process(self) -> str:
        """Identity of the running process; another one has forgotten all routes."""
        for line in self.command("show info").splitlines():
            if line.startswith("Pid:"):
                return line
        raise ProxyError("HAProxy told no process id")

    def read(self) -> Dict[str, Set[Endpoint]]:
        """Learns the routes of the running process and answers them."""
        self._slot_of, self._servers, self._leaving = {}, {}, set()
        for line in self.command("show map " + self._map).splitlines():
            words = line.split()
            if len(words) == 3 and words[0].startswith("0x"):
                self._slot_of[words[1]] = words[2]
        for line in self.command("show servers state").splitlines():
            words = line.split()
            if len(words) > 6 and words[1].startswith("rt"):
                endpoint = Endpoint.from_name(words[3])
                self._servers.setdefault(words[1], set()).add(endpoint)
                if int(words[6]) & IN_MAINTENANCE:
                    self._leaving.add((words[1], endpoint))
        used = set(self._slot_of.values())
        for slot in set(self._servers) - used:
            self._leaving |= {(slot, endpoint) for endpoint in self._servers[slot]}
        names = ["rt%05d" % number for number in range(self._slots)]
        self._free = [name for name in reversed(names) if name not in used and name not in self._servers]
        return {key: self._present(slot) for key, slot in self._slot_of.items()}

    def route(self, key: str, endpoints: Set[Endpoint]) -> None:
        """Makes HAProxy send `key` to exactly these endpoints; none takes the route away."""
        slot = self._slot_of.get(key)
        if slot is None:
            if not endpoints:
                return
            if not self._free:
                raise Full("no backend left for %s: %d routes are the limit; raise router.max_routes" % (key, self._slots))
            slot = self._free.pop()
            for endpoint in endpoints:
                self._add(slot, endpoint)
            self._checked("add map %s %s %s" % (self._map, key, slot), "")
            self._slot_of[key] = slot
            return
        if not endpoints:
            self._checked("del map %s %s" % (self._map, key), "")
            del self._slot_of[key]
        present = self._present(slot)
        for endpoint in endpoints - present:
            self._add(slot, endpoint)
        for endpoint in present - endpoints:
            self._checked("set server %s/%s state maint" % (slot, endpoint.name), "")
            self._leaving.add((slot, endpoint))
        self.sweep()

    def _present(self, slot: str) -> Set[Endpoint]:
        return {endpoint for endpoint in self._servers.get(slot, ()) if (slot, endpoint) not in self._leaving}

    def _add(self, slot: str, endpoint: Endpoint) -> None:
        name = "%s/%s" % (slot, endpoint.name)
        if (slot, endpoint) in self._leaving:
            self._leaving.discard((slot, endpoint))
        else:
            host = "[%s]" % endpoint.host if ":" in endpoint.host else endpoint.host
            self._checked("add server %s %s:%d" % (name, host, endpoint.port), "New server registered.")
            self._servers.setdefault(slot, set()).add(endpoint)
        self._checked("set server %s state ready" % name, "")

    def sweep(self) -> None:
        """Deletes servers in maintenance whose last connection ended; what is still busy stays for the next time."""
        for slot, endpoint in list(self._leaving):
            if self.command("del server %s/%s" % (slot, endpoint.name)) != "Server deleted.":
                continue
            self._leaving.discard((slot, endpoint))
            self._servers[slot].discard(endpoint)
            if not self._servers[slot]:
                del self._servers[slot]
                if slot not in self._slot_of.values():
                    self._free.append(slot)

    def _checked(self, text: str, expected: str) -> None:
        answer = self.command(text)
        if answer != expected:
            raise ProxyError("HAProxy refused `%s`: %s" % (text, answer))
