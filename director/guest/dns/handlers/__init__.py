"""One file per behaviour; the order and the list are in `chain`. Each has a page of the same name beside it, with fixed headings.

A handler has zones. It gets every question whose longest zone is one of its own, and must answer it: at once, or by calling `done` once,
later. Handlers do not know each other.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional, Protocol

from ..answer import Done, Result
from ..wire import Labels, Query


class Handler(Protocol):
    """`name` is that of its file."""

    name: str

    @property
    def zones(self) -> Iterable[Labels]:
        """In lower case; the empty name is everything."""

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        """None when `done` gets the answer later."""

    def explain(self, query: Query) -> Dict[str, Any]:
        """Why the answer is as it is, without an effect on anything."""
