"""Whole messages of other servers: read to the last byte before anything of them is passed on, cut to size, given other TTLs.

Source: RFC 1035, section 4; RFC 2308, section 5; DNS contract, section 6.1.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional, Tuple

from . import wire
from .wire import Query

MOST_RECORDS = 4096
_NAMES_IN_DATA = {wire.NS: (0, 1), wire.CNAME: (0, 1), wire.PTR: (0, 1), wire.MX: (2, 1), wire.SOA: (0, 2), wire.SRV: (6, 1)}
"""Types whose data may hold compressed names: bytes before the first, how many."""


class Part(NamedTuple):
    """One record: section 0 answers, 1 authority, 2 additional; `end` is where it ends in the packet, `ttl_at` where its TTL stands."""

    section: int
    kind: int
    ttl: int
    ttl_at: int
    end: int


class Message(NamedTuple):
    """`parts` are the records before the first OPT record. `minimum` is the last field of the SOA record that a denial brings."""

    packet: bytes
    flags: int
    question: bytes
    parts: Tuple[Part, ...]
    minimum: Optional[int]

    @property
    def code(self) -> int:
        return self.flags & 0xF

    @property
    def answers(self) -> int:
        return sum(part.section == 0 for part in self.parts)


def read(packet: bytes) -> Message:
    """Raises ValueError for whatever is no complete, valid answer to one question."""
    try:
        _, flags, questions, *counts = wire.HEAD.unpack_from(packet)
        if not flags & wire.QR or questions > 1 or sum(counts) > MOST_RECORDS:
            raise ValueError("no answer to one question")
        end = 12
        if questions:
            end = _name_end(packet, 12) + 4
        question = packet[12:end]
        parts, minimum, complete = [], None, True
        for section, count in enumerate(counts):
            for _ in range(count):
                start = end
                _name_end(packet, start)
                kind, _, ttl, length, end = wire.record_at(packet, start)
                _check_data(packet, kind, end - length, end)
                complete = complete and kind != wire.OPT
                if complete:
                    parts.append(Part(section, kind, ttl if ttl < 1 << 31 else 0, end - length - 6, end))
                if kind == wire.SOA and section == 1:
                    minimum = struct.unpack_from("!I", packet, end - 4)[0]
    except (struct.error, IndexError) as error:
        raise ValueError("the answer is cut off") from error
    if end != len(packet):
        raise ValueError("something stands behind the answer")
    return Message(packet, flags, question, tuple(parts), minimum)


def _check_data(packet: bytes, kind: int, start: int, end: int) -> None:
    if end - start != {wire.A: 4, wire.AAAA: 16}.get(kind, end - start):
        raise ValueError("an address of a wrong length")
    before, names = _NAMES_IN_DATA.get(kind, (0, 0))
    at = start + before
    for _ in range(names):
        at = _name_end(packet, at)
    if names and at + (20 if kind == wire.SOA else 0) != end:
        raise ValueError("a name in the data of a record ends elsewhere than the record")


def _name_end(packet: bytes, offset: int) -> int:
    """Where the name at `offset` ends; follows all pointers, each of which must lead back. ValueError, IndexError."""
    size, end, floor = 0, -1, offset
    while True:
        length = packet[offset]
        if length & 0xC0 == 0xC0:
            target = (length & 0x3F) << 8 | packet[offset + 1]
            if target >= floor or target < 12:
                raise ValueError("a pointer that does not lead back")
            end = offset + 2 if end < 0 else end
            offset = floor = target
            continue
        if length > 63:
            raise ValueError("a label of a wrong length")
        size += 1 + length
        if size > wire.LONGEST_NAME:
            raise ValueError("a name is too long")
        offset += 1 + length
        if length == 0:
            return offset if end < 0 else end


def relay(message: Message, query: Query, *, limit: int, udp: bool, ttl: Optional[int] = None) -> bytes:
    """The answer for one asker, without the two bytes of the id: the question as it was spelled, at most `limit` bytes."""
    tail = wire.opt_record(query.edns.size) if query.edns is not None and udp else b""
    flags = message.flags & ~wire.RD | (query.flags & wire.RD)
    start = 12 + len(query.question)
    parts = message.parts if len(message.question) == len(query.question) else ()
    end = parts[-1].end if parts else start
    if end + len(tail) > limit:
        flags |= wire.TC
        # Only what belongs to the answer itself is worth the room that there is.
        parts = tuple(part for part in parts if part.section == 0 and part.end + len(tail) <= limit)
        end = parts[-1].end if parts else start
    counts = [0, 0, 0]
    for part in parts:
        counts[part.section] += 1
    body = bytearray(message.packet[start:end])
    if ttl is not None:
        for part in parts:
            struct.pack_into("!I", body, part.ttl_at - start, ttl)
    return struct.pack("!HHHHH", flags, 1, counts[0], counts[1], counts[2] + bool(tail)) + query.question + body + tail
