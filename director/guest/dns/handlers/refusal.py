"""The last: names that are nobody's."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from ..answer import Answer, Done, Result
from ..wire import REFUSED, Labels, Query

REFUSAL = Answer(REFUSED, 0, edns=False)


class Refusal:
    name = "refusal"

    @property
    def zones(self) -> Iterable[Labels]:
        return ((),)

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        return REFUSAL

    def explain(self, query: Query) -> Dict[str, Any]:
        return {"rule": "no zone of ours, and there are no recursors to ask"}
