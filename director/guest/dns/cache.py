"""Answers of other servers, for as long as they allow. Source: DNS contract, section 8.1."""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Callable, NamedTuple, Optional, Tuple

from . import wire

SHORTEST, LONGEST, LONGEST_NEGATIVE = 5, 3600, 1800


class _Entry(NamedTuple):
    packet: bytes
    offsets: Tuple[int, ...]
    stored: float
    ttl: int


class Cache:
    """At most `size` answers, the least recently used go first. Keys are the question packet without its id, in lower case."""

    def __init__(self, clock: Callable[[], float], size: int = 10000) -> None:
        self._clock = clock
        self._size = size
        self._entries: "OrderedDict[bytes, _Entry]" = OrderedDict()

    def get(self, packet: bytes, query: wire.Query) -> Optional[bytes]:
        """The answer to `packet`, its TTLs counted down, its question spelled as asked."""
        key = _key(packet, query)
        entry = self._entries.get(key)
        if entry is None:
            return None
        left = entry.ttl - int(self._clock() - entry.stored)
        if left <= 0:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        answer = bytearray(entry.packet)
        answer[:2] = packet[:2]
        answer[12 : 12 + len(query.question)] = query.question
        for offset in entry.offsets:
            struct.pack_into("!I", answer, offset, left)
        return bytes(answer)

    def put(self, packet: bytes, query: wire.Query, answer: bytes) -> None:
        """Keeps an answer that may be kept: asked with recursion, complete, positive or with the SOA that says for how long it is not."""
        if not query.flags & wire.RD or len(answer) < 12:
            return
        _, flags, questions, answers, authorities, additional = struct.unpack_from("!HHHHHH", answer)
        code = flags & 0xF
        if flags & wire.TC or questions != 1 or code not in (wire.NOERROR, wire.NXDOMAIN):
            return
        try:
            found = wire.records(answer, 12 + len(query.question), answers + authorities + additional)
        except (ValueError, struct.error):
            return
        shown = [record for record in found if record[0] != wire.OPT]
        negative = code == wire.NXDOMAIN or answers == 0
        soas = [ttl for kind, _, ttl, _ in found[answers : answers + authorities] if kind == wire.SOA]
        if negative and not soas:
            return
        shortest = min(soas) if negative else min(ttl for _, _, ttl, _ in shown)
        ttl = max(SHORTEST, min(shortest, LONGEST_NEGATIVE if negative else LONGEST))
        self._entries[_key(packet, query)] = _Entry(answer, tuple(offset for _, _, _, offset in shown), self._clock(), ttl)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


def _key(packet: bytes, query: wire.Query) -> bytes:
    end = 12 + len(query.question)
    return packet[2:12] + query.question.lower() + packet[end:]
