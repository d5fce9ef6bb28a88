"""An answer to prebuilt bytes: giving it once more costs one slice. Source: DNS contract, section 6."""

from __future__ import annotations

import random
from typing import List

from .local import Answer
from .wire import QR, RD, TC, Query, head, opt_record

_SHUFFLE_EVERY = 64


class Prepared:
    """The bytes of one answer to one question on one transport, without the id.

    The order of addresses is all the load balancing there is: every answer starts at a random place of an order that is itself shuffled
    now and then, so each address is first equally often.
    """

    def __init__(self, query: Query, answer: Answer, *, limit: int, udp: bool) -> None:
        tail = opt_record(query.edns or 0) if query.edns is not None and udp and answer.edns else b""
        flags = QR | answer.flags | (query.flags & RD) | answer.code
        room = limit - 12 - len(query.question) - len(tail)
        self._parts: List[bytes] = list(answer.records)
        self._kept = _fitting(self._parts, room)
        if self._kept < len(self._parts):
            flags |= TC
        self._head = head(flags, query.question, self._kept, 1 if tail else 0)
        self._tail = tail
        self._even = len({len(part) for part in self._parts}) == 1
        self._loop = b""
        self._given = 0
        self._fixed = self._head + b"".join(self._parts) + tail if len(self._parts) < 2 and self._kept == len(self._parts) else None

    def bytes_for(self, number: bytes) -> bytes:
        """The answer to the question with that id."""
        if self._fixed is not None:
            return number + self._fixed
        if self._given % _SHUFFLE_EVERY == 0:
            random.shuffle(self._parts)
            self._loop = b"".join(self._parts) * 2 if self._even else b""
        self._given += 1
        start = int(random.random() * len(self._parts))
        if self._even:
            size = len(self._parts[0])
            section = self._loop[start * size : (start + self._kept) * size]
        else:
            section = b"".join((self._parts[start:] + self._parts[:start])[: self._kept])
        return number + self._head + section + self._tail


def _fitting(parts: List[bytes], room: int) -> int:
    """How many records fit whatever their order: the longest first."""
    kept = 0
    for part in sorted(parts, key=len, reverse=True):
        room -= len(part)
        if room < 0:
            break
        kept += 1
    return kept
