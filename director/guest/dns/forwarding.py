"""A name that is another's: from the cache, or asked for once however many ask, or stale when nobody answers.

Source: DNS contract, section 8. Deviation: when no recursor gives an answer, the asker hears NXDOMAIN only if a recursor said so, else
SERVFAIL. The reference says NXDOMAIN for both, and applications then take a cut cable for "does not exist"; `denies_failures` does too.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Protocol

from . import wire
from .answer import Answer, Done, Relayed, Result
from .cache import RECHECK, STALE_TTL, Cache, Entry
from .loop import Loop, Timer
from .message import Message
from .upstream import Answered, Asking
from .wire import Query

PATIENCE = 1.8
MOST_WAITING = 5000
_NOT_RELAYED = frozenset((wire.OPT, 249, 250, 251, 252))
FAILED = Answer(wire.SERVFAIL, wire.RA, kept=False)
DENIED = Answer(wire.NXDOMAIN, 0, edns=False, kept=False)


class Asker(Protocol):
    """Whoever can be asked: name servers, a web server."""

    def ask(self, asking: Asking, answered: Answered) -> None:
        """`answered` is called once, never before this returns."""

    def tell(self) -> List[Dict[str, Any]]:
        """What is remembered of each server."""

    def close(self) -> None:
        """Gives up what is on its way."""


class _Flight:
    """A question on its way and all who wait for it; those who were given a stale answer do not wait any more."""

    def __init__(self) -> None:
        self.waiting: List[Done] = []
        self.timer: Optional[Timer] = None


class Forwarder:
    """`cache` None keeps nothing. Stale answers are given after PATIENCE seconds, or at once within RECHECK seconds after a failure."""

    def __init__(self, loop: Loop, pool: Asker, cache: Optional[Cache] = None, *, denies_failures: bool = False) -> None:
        self._loop = loop
        self.pool = pool
        self.cache = cache
        self._failure = DENIED if denies_failures else FAILED
        self._flights: Dict[bytes, _Flight] = {}
        self._waiting = 0
        self.shared = self.unanswered = 0

    def ask(self, query: Query, done: Done) -> Optional[Result]:
        """None when `done` gets the answer later."""
        if query.type in _NOT_RELAYED or query.flags & wire.OPCODE:
            return Answer(wire.REFUSED, 0, edns=False)
        key = _key(query)
        cache = self.cache if query.flags & wire.RD else None
        entry = cache.get(key) if cache is not None else None
        if cache is not None and entry is not None:
            left = cache.left(entry)
            if left > 0:
                cache.hits += 1
                return Relayed(entry.message, left)
            if entry.recheck_at > self._loop.clock():
                return self._stale(entry, 1)
        if self._waiting >= MOST_WAITING:
            return self._failure if entry is None else self._stale(entry, 1)
        if cache is not None:
            cache.misses += 1
        self._waiting += 1
        flight = self._flights.get(key)
        if flight is not None:
            self.shared += 1
            flight.waiting.append(done)
            return None
        self._begin(key, query, entry).waiting.append(done)
        return None

    def _begin(self, key: bytes, query: Query, entry: Optional[Entry]) -> _Flight:
        flight = self._flights[key] = _Flight()
        if entry is not None:
            flight.timer = self._loop.later(PATIENCE, lambda: self._hand_out(flight, self._stale(entry, len(flight.waiting))))
        dnssec = query.edns is not None and query.edns.dnssec
        asking = Asking(query.question, query.flags & (wire.RD | wire.CD), dnssec)
        self.pool.ask(asking, lambda answer: self._arrived(key, query, flight, entry, answer))
        return flight

    def _arrived(self, key: bytes, query: Query, flight: _Flight, entry: Optional[Entry], answer: Optional[Message]) -> None:
        del self._flights[key]
        if flight.timer is not None:
            flight.timer.cancel()
        result: Result = self._failure
        self.unanswered += answer is None
        if answer is not None:
            ttl = self.cache.put(key, answer) if self.cache is not None and query.flags & wire.RD else None
            result = Relayed(answer, ttl)
        elif entry is not None:
            entry.recheck_at = self._loop.clock() + RECHECK
            result = self._stale(entry, len(flight.waiting))
        self._hand_out(flight, result)

    def _stale(self, entry: Entry, times: int) -> Relayed:
        if self.cache is not None:
            self.cache.stale_hits += times
        return Relayed(entry.message, STALE_TTL)

    def _hand_out(self, flight: _Flight, result: Result) -> None:
        waiting, flight.waiting = flight.waiting, []
        self._waiting -= len(waiting)
        for done in waiting:
            done(result)

    def explain(self, query: Query) -> Dict[str, Any]:
        tree: Dict[str, Any] = {"recursors": self.pool.tell()}
        tree["cache"] = self.cache.explain(_key(query)) if self.cache is not None else {"state": "off"}
        return tree


def _key(query: Query) -> bytes:
    """Askers with equal keys get the same answer."""
    dnssec = query.edns is not None and query.edns.dnssec
    return wire.lowered(query.question) + bytes((query.flags >> 8 & 1, query.flags >> 4 & 1, dnssec))
