"""Names of instances and queries for them, in the domains of the director's records."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from ..answer import Done, Result
from ..lookup import Lookup
from ..wire import Labels, Query


class Records:
    name = "records"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    @property
    def zones(self) -> Iterable[Labels]:
        return self._lookup.records.domains

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        return self._lookup.answer(query, self._lookup.meaning, done)

    def explain(self, query: Query) -> Dict[str, Any]:
        return self._lookup.explain(query, self._lookup.meaning)
