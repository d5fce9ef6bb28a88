"""All other names: asked of other servers. Source: DNS contract, section 8."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from ..answer import Done, Result
from ..forwarding import Forwarder
from ..wire import Labels, Query


class Recursion:
    name = "recursion"

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    @property
    def zones(self) -> Iterable[Labels]:
        return ((),)

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        return self._forwarder.ask(query, done)

    def explain(self, query: Query) -> Dict[str, Any]:
        return self._forwarder.explain(query)
