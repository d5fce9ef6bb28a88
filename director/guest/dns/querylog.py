"""Who asks what, on demand: a line for each question, but never so many that writing them is the work."""

from __future__ import annotations

import logging
from typing import Callable

from . import wire
from .wire import Query

LINES_PER_SECOND = 50

log = logging.getLogger("bosh-dns.queries")


class QueryLog:
    """`resolver.watcher` while it is on. Of a second's questions the first LINES_PER_SECOND are written, then how many were not."""

    def __init__(self, clock: Callable[[], float], lines: int = LINES_PER_SECOND) -> None:
        self._clock = clock
        self._lines = lines
        self._second = -1
        self._written = self._left_out = 0

    def __call__(self, asker: str, query: Query, handler: str, answer: bytes) -> None:
        second = int(self._clock())
        if second != self._second:
            self.flush()
            self._second = second
        if self._written >= self._lines:
            self._left_out += 1
            return
        self._written += 1
        flags, _, answers = wire.COUNTS.unpack_from(answer)[:3]
        log.info(
            "%s asks %s %s: %s, %d records, %d bytes, by %s", asker, printable(query.name), wire.type_name(query.type),
            wire.CODES.get(flags & 0xF, flags & 0xF), answers, len(answer) + 2, handler)

    def flush(self) -> None:
        if self._left_out:
            log.info("%d more questions in that second", self._left_out)
        self._written = self._left_out = 0


def printable(name: str) -> str:
    """The name without what could forge a line or steer a terminal."""
    return "".join(sign if sign.isprintable() and sign != "\\" else "\\x%02x" % ord(sign) for sign in name)
