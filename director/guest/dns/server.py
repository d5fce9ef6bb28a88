"""A packet in, an answer out. Source: DNS contract, section 6.

Three ways, from the quickest to the slowest: the same bytes were answered before (a look-up and a copy); the same question was, only
spelled otherwise or with other flags; the question is new, and the chain of handlers makes the answer, now or later.
"""

from __future__ import annotations

import logging
from typing import Callable, List, Optional

from . import wire
from .answer import Answer, Relayed, Result
from .chain import Chain
from .handlers import Handler
from .message import relay
from .prepared import Prepared, Table, prepare
from .wire import Query

Reply = Callable[[bytes], None]
Watcher = Callable[[str, Query, str, bytes], None]

_REFUSED = Answer(wire.REFUSED, 0)
_FAILED = Answer(wire.SERVFAIL, wire.RA, kept=False)

log = logging.getLogger("bosh-dns")


class Resolver:
    """Answers one packet at a time. `replace` and `forget` may be called at any time; answers made before are then made anew.

    `codes` counts answers by the low byte of their flags. `watcher` is told of each question that did not take the first way: who
    asked, the question, its handler and the answer; while there is one, no question takes the first way.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.table = Table()
        self._tcp_table = Table(most=2048)
        self._forgotten = 0
        self.codes: List[int] = [0] * 256
        self.by_handler: "dict[str, int]" = {}
        self.ignored = 0
        self.watcher: Optional[Watcher] = None

    def replace(self, chain: Chain) -> None:
        self.chain = chain
        self.forget()

    def forget(self) -> None:
        """To be called when health changed: it is part of the prepared answers."""
        self._forgotten += 1
        self.table.clear()
        self._tcp_table.clear()

    def handle(self, packet: bytes, reply: Reply, *, tcp: bool = False, asker: str = "") -> None:
        """`asker` is an address, for the log. Calls `reply` once, now or later, or never when no answer is due."""
        key = packet[2:]
        prepared = (self._tcp_table if tcp else self.table).get(key) if self.watcher is None else None
        if prepared is not None:
            answer = prepared if isinstance(prepared, bytes) else prepared.bytes()
            self.codes[answer[1]] += 1
            reply(packet[:2] + answer)
            return
        try:
            query = wire.parse(packet)
        except wire.Ignored:
            self.ignored += 1
        except wire.Malformed as error:
            self._give(error.packet, reply)
        else:
            self._resolve(packet, query, reply, tcp, asker)

    def _give(self, packet: bytes, reply: Reply) -> None:
        self.codes[packet[3]] += 1
        reply(packet)

    def _resolve(self, packet: bytes, query: Query, reply: Reply, tcp: bool, asker: str) -> None:
        table = self._tcp_table if tcp else self.table
        handler = self.chain.handler_of(query.labels)
        keys = [query.canonical()]
        if packet[2:] != keys[0] and query.size == len(packet) and _repeats(query):
            # Equal bytes may skip all this next time; not those of a kind that never comes again: random spelling, cookies.
            keys.append(packet[2:])

        asked_at = self._forgotten

        def give(result: Result) -> None:
            limit = wire.TCP_LIMIT if tcp else query.limit
            if isinstance(result, Relayed):
                answer = relay(result.message, query, limit=limit, udp=not tcp, ttl=result.ttl)
            else:
                lowered = wire.lowered(query.question)
                plain = query if lowered == query.question else query._replace(question=lowered)
                made = prepare(plain, result, limit=limit, udp=not tcp)
                # One that was waited for may be of records that are no more.
                if result.kept and asked_at == self._forgotten:
                    _keep(table, keys, made)
                answer = _spelled(made, query.question)
            self._told(asker, query, handler, answer)
            self._give(packet[:2] + answer, reply)

        def arrived(result: Result) -> None:
            try:
                give(result)
            except Exception:
                log.exception("no answer to %r", query.question)
                give(_FAILED)

        prepared = table.get(keys[0])
        if prepared is not None:
            _keep(table, keys, prepared)
            answer = _spelled(prepared, query.question)
            self._told(asker, query, handler, answer)
            self._give(packet[:2] + answer, reply)
            return
        self.by_handler[handler.name] = self.by_handler.get(handler.name, 0) + 1
        result = self._ask(handler, query, arrived)
        if result is not None:
            arrived(result)

    def _ask(self, handler: Handler, query: Query, give: Callable[[Result], None]) -> Optional[Result]:
        if query.klass not in (wire.IN, wire.ANY):
            return _REFUSED
        try:
            return handler.answer(query, give)
        except Exception:
            # A bug in one answer must not end all of them.
            log.exception("no answer to %r", query.question)
            return _FAILED

    def _told(self, asker: str, query: Query, handler: Handler, answer: bytes) -> None:
        if self.watcher is not None:
            self.watcher(asker, query, handler.name, answer)


def _keep(table: Table, keys: List[bytes], prepared: Prepared) -> None:
    for key in keys:
        if key not in table.young:
            table.put(key, prepared)


def _spelled(prepared: Prepared, question: bytes) -> bytes:
    """The answer with the question as it was asked."""
    answer = prepared if isinstance(prepared, bytes) else prepared.bytes()
    if answer[10 : 10 + len(question)] == question:
        return answer
    return answer[:10] + question + answer[10 + len(question) :]


def _repeats(query: Query) -> bool:
    return wire.lowered(query.question) == query.question and (query.edns is None or query.edns.bare)
