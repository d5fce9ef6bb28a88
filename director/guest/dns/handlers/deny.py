"""A domain that shall not be found. Source: DNS contract, section 9."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional

from ..answer import Answer, Done, Result
from ..wire import AA, CODES, Labels, Query


class Deny:
    name = "deny"

    def __init__(self, zone: Labels, code: int) -> None:
        self._zone = zone
        self._code = code

    @property
    def zones(self) -> Iterable[Labels]:
        return (self._zone,)

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        return Answer(self._code, AA)

    def explain(self, query: Query) -> Dict[str, Any]:
        return {"rule": "always %s" % CODES[self._code]}
