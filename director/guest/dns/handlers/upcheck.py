"""Names that are always answered: whether the resolver lives is a question that dig can ask. Source: DNS contract, section 7."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional, Sequence

from ..answer import Answer, Done, Result
from ..wire import AA, AAAA, ANY, NOERROR, RA, A, Labels, Query, address_record, labels_of

_LOOPBACK = {A: (b"\x7f\0\0\1",), AAAA: (b"\0" * 15 + b"\1",), ANY: (b"\x7f\0\0\1", b"\0" * 15 + b"\1")}


class Upcheck:
    name = "upcheck"

    def __init__(self, names: Sequence[str]) -> None:
        self._zones = tuple(labels_of(name) for name in names)

    @property
    def zones(self) -> Iterable[Labels]:
        return self._zones

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        found = tuple([address_record(packed) for packed in _LOOPBACK.get(query.type, ())])
        return Answer(NOERROR, AA | RA, found, edns=False)

    def explain(self, query: Query) -> Dict[str, Any]:
        return {"rule": "always 127.0.0.1 and ::1"}
