"""Answers of other servers, for as long as they allow, and a while longer in case nobody answers.

Source: DNS contract, section 8.1; RFC 2308 (denials); RFC 8767 (stale answers).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Callable, Dict, Optional

from . import wire
from .message import Message

SHORTEST, LONGEST, LONGEST_DENIAL = 5, 3600, 1800
STALE_TTL = 30
RECHECK = 30.0
MOST_BYTES = 8 << 20


class Entry:
    """An answer and until when it holds; `recheck_at` is when a stale one is worth asking for again."""

    __slots__ = ("holds_until", "message", "recheck_at")

    def __init__(self, message: Message, holds_until: float) -> None:
        self.message = message
        self.holds_until = holds_until
        self.recheck_at = 0.0


class Cache:
    """At most `most` answers and MOST_BYTES; the least recently used go first. Expired ones are kept for `stale_for` seconds more."""

    def __init__(self, clock: Callable[[], float], most: int = 10000, stale_for: float = 86400.0) -> None:
        self._clock = clock
        self._most = most
        self._stale_for = stale_for
        self._entries: "OrderedDict[bytes, Entry]" = OrderedDict()
        self._bytes = 0
        self.hits = self.misses = self.stale_hits = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Optional[Entry]:
        """Fresh or stale; an entry that is too old even for that is dropped."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() - entry.holds_until > self._stale_for:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def left(self, entry: Entry) -> int:
        """Seconds for which the entry still holds; 0 or less when it is stale."""
        return int(entry.holds_until - self._clock() + 0.999)

    def put(self, key: bytes, message: Message) -> Optional[int]:
        """Keeps what may be kept; gives for how long, None for what may not. What was known before is no more, either way."""
        if key in self._entries:
            self._drop(key)
        ttl = term(message)
        if ttl is None:
            return None
        self._entries[key] = Entry(message, self._clock() + ttl)
        self._bytes += _size(message)
        while len(self._entries) > self._most or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._entries)))
        return ttl

    def _drop(self, key: bytes) -> None:
        self._bytes -= _size(self._entries.pop(key).message)

    def explain(self, key: bytes) -> Dict[str, Any]:
        entry = self._entries.get(key)
        if entry is None:
            return {"state": "absent"}
        left = self.left(entry)
        return {"state": "fresh" if left > 0 else "stale", "seconds_left": left, "code": wire.CODES.get(entry.message.code)}


def _size(message: Message) -> int:
    return len(message.packet) + 100 * len(message.parts) + 300


def term(message: Message) -> Optional[int]:
    """For how many seconds an answer may be kept: complete ones, positive or with the SOA record that says for how long they are not."""
    if message.flags & wire.TC or message.code not in (wire.NOERROR, wire.NXDOMAIN):
        return None
    ttls = [part.ttl for part in message.parts]
    if message.code == wire.NXDOMAIN or not message.answers:
        soas = [part.ttl for part in message.parts if part.section == 1 and part.kind == wire.SOA]
        if soas and message.minimum is not None:
            return max(SHORTEST, min(*soas, message.minimum, LONGEST_DENIAL) if soas else 0)
        # Empty without a term: as short as can be, but not asked for again at once.
        return SHORTEST if message.code == wire.NOERROR and not message.parts else None
    return max(SHORTEST, min(*ttls, LONGEST))
