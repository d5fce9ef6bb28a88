"""Other servers, and which of them to ask first. Source: DNS contract, section 8."""

from __future__ import annotations

import ipaddress
import random
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

Server = Tuple[str, int]

ASSUMED = 0.05
"""Seconds that a server is thought to need before it was ever asked."""
HALF_LIFE = 60.0
LONGEST_REST = 60.0
_WEIGHT = 0.3


class _Memory:
    """What is remembered of one server: its usual time to answer, how often in a row it failed, until when it rests."""

    __slots__ = ("failures", "rests_until", "seconds", "seen")

    def __init__(self) -> None:
        self.seconds: Optional[float] = None
        self.seen = 0.0
        self.failures = 0
        self.rests_until = 0.0


class Servers:
    """`smart`: the quickest first, those that failed last, for a time that doubles with each failure in a row. Otherwise as listed."""

    def __init__(
        self, servers: Sequence[Server], clock: Callable[[], float], *, smart: bool = True, chance: Optional[random.Random] = None,
    ) -> None:
        self._clock = clock
        self._smart = smart
        self._chance = chance or random.Random()
        self._memory: Dict[Server, _Memory] = {}
        self._listed: List[Server] = []
        self._given: List[Server] = []
        self.use(servers)

    def use(self, servers: Sequence[Server]) -> None:
        """From now on these; what is remembered of those that stay is kept."""
        unique = list(dict.fromkeys(servers))
        if unique == self._given:
            return
        self._given = unique
        self._listed = list(unique)
        if self._smart:
            # Not every machine shall begin with the same server.
            self._chance.shuffle(self._listed)
        self._memory = {server: self._memory.get(server) or _Memory() for server in self._listed}

    def order(self) -> List[Server]:
        if not self._smart or len(self._listed) < 2:
            return list(self._listed)
        now = self._clock()
        return sorted(self._listed, key=lambda server: self._rank(self._memory[server], now))

    def _rank(self, memory: _Memory, now: float) -> Tuple[bool, float]:
        if memory.rests_until > now:
            return True, memory.rests_until
        # An old measurement fades, so that a server that was slow once is asked again some day.
        seconds = ASSUMED if memory.seconds is None else memory.seconds * 0.5 ** ((now - memory.seen) / HALF_LIFE)
        return False, seconds

    def rests(self, server: Server) -> bool:
        memory = self._memory.get(server)
        return memory is not None and memory.rests_until > self._clock()

    def answered(self, server: Server, seconds: float) -> None:
        memory = self._memory.get(server)
        if memory is not None:
            memory.seconds = seconds if memory.seconds is None else memory.seconds + _WEIGHT * (seconds - memory.seconds)
            memory.seen = self._clock()
            memory.failures, memory.rests_until = 0, 0.0

    def failed(self, server: Server, seconds: float) -> None:
        """It was silent for so long, or could not be reached at all."""
        memory = self._memory.get(server)
        if memory is not None:
            memory.failures += 1
            memory.seconds = max(memory.seconds or 0.0, seconds)
            memory.seen = self._clock()
            rest = min(LONGEST_REST, 2.0 ** min(memory.failures - 1, 10))
            memory.rests_until = memory.seen + rest * self._chance.uniform(0.75, 1.25)

    def tell(self) -> List[Dict[str, Any]]:
        """In the order in which they would be asked now."""
        now = self._clock()
        told = []
        for server in self.order():
            memory = self._memory[server]
            told.append({
                "server": text_of(server), "usual_seconds": None if memory.seconds is None else round(memory.seconds, 4),
                "failures_in_a_row": memory.failures, "rests_for_seconds": round(max(0.0, memory.rests_until - now), 1),
            })
        return told


def server_of(text: str) -> Server:
    """`ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`. ValueError for anything else."""
    try:
        return str(ipaddress.ip_address(text.strip("[]"))), 53
    except ValueError:
        address, _, port = text.rpartition(":")
        try:
            number = int(port)
            if not 0 <= number < 65536:
                raise ValueError("no port")
            return str(ipaddress.ip_address(address.strip("[]"))), number
        except ValueError:
            raise ValueError("Invalid IP address %s" % text) from None


def text_of(server: Server) -> str:
    return "[%s]:%d" % server if ":" in server[0] else "%s:%d" % server
