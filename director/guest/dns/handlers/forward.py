"""A domain with servers of its own. Source: DNS contract, section 9."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from ..answer import Done, Result
from ..forwarding import Forwarder
from ..wire import Labels, Query


class Forward:
    name = "forward"

    def __init__(self, zone: Labels, forwarder: Forwarder) -> None:
        self._zone = zone
        self._forwarder = forwarder

    @property
    def zones(self) -> Iterable[Labels]:
        return (self._zone,)

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        return self._forwarder.ask(query, done)

    def explain(self, query: Query) -> Dict[str, Any]:
        return self._forwarder.explain(query)
