"""What handlers that ask others have in common; each has its own file, name and page."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from .answer import Done, Result
from .forwarding import Forwarder
from .wire import Labels, Query


class Passing:
    """Passes every question of its zone on to a forwarder."""

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
