"""Instances by the id of their agent."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from ..answer import Done, Result
from ..grammar import AGENT_ZONE
from ..lookup import Lookup
from ..wire import Labels, Query


class Agents:
    """A zone of ours as soon as there are records; without any, the name may be another's."""

    name = "agents"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    @property
    def zones(self) -> Iterable[Labels]:
        return (AGENT_ZONE,) if self._lookup.records.count else ()

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        return self._lookup.answer(query, self._lookup.meaning, done)

    def explain(self, query: Query) -> Dict[str, Any]:
        return self._lookup.explain(query, self._lookup.meaning)
