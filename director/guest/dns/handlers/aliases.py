"""Names that stand for others."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from ..answer import Done, Result
from ..lookup import Lookup
from ..wire import Labels, Query


class Aliases:
    """Every alias is a zone of ours: what lies below it and is nothing does not exist, and nobody else is asked."""

    name = "aliases"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    @property
    def zones(self) -> Iterable[Labels]:
        return self._lookup.aliases.zones

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        return self._lookup.answer(query, self._lookup.meaning, done)

    def explain(self, query: Query) -> Dict[str, Any]:
        return self._lookup.explain(query, self._lookup.meaning)
