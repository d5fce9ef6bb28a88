"""Addresses to names. Source: DNS contract, section 8.2 and its corrections."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Tuple

from .. import wire
from ..answer import Answer, Done, Result
from ..lookup import Lookup
from ..records import packed_of, text_of
from ..wire import Labels, Query
from . import Handler

_ROOT: Labels = ("arpa",)
_HEX = frozenset("0123456789abcdef")


class Reverse:
    """Names of known addresses are ours; all others are asked of `beyond`."""

    name = "reverse"

    def __init__(self, lookup: Lookup, beyond: Handler) -> None:
        self._lookup = lookup
        self._beyond = beyond

    @property
    def zones(self) -> Iterable[Labels]:
        return (_ROOT,)

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        if query.labels[-2:] not in (("in-addr", "arpa"), ("ip6", "arpa")):
            return Answer(wire.FORMERR, wire.AA, edns=False)
        packed = packed_in(query.labels)
        names = self._names(packed) if packed is not None else []
        if not names:
            return self._beyond.answer(query, done)
        return Answer(wire.NOERROR, wire.AA, tuple([wire.record(wire.PTR, 0, name) for name in names]), edns=False)

    def _names(self, packed: bytes) -> List[bytes]:
        texts: Dict[str, None] = {}
        for name in self._lookup.records.names_of(packed):
            texts[name] = None
            for alias in self._lookup.aliases.names_of(wire.labels_of(name)):
                texts[".".join(alias)] = None
        found = []
        for text in texts:
            try:
                found.append(wire.encode_name(text))
            except ValueError:
                continue  # A host's name in the records that is no domain name names nobody.
        return found

    def explain(self, query: Query) -> Dict[str, Any]:
        packed = packed_in(query.labels)
        names: Tuple[str, ...] = self._lookup.records.names_of(packed) if packed is not None else ()
        tree: Dict[str, Any] = {"address": text_of(packed) if packed is not None else None, "names": list(names)}
        return tree if names else {**tree, "beyond": self._beyond.explain(query)}


def packed_in(labels: Labels) -> Optional[bytes]:
    """The address that a reverse name spells; None when it is none, or only a part of one."""
    parts = labels[-3::-1]
    try:
        if labels[-2] == "in-addr":
            return packed_of(".".join(parts)) if len(parts) == 4 and all(part.isdigit() for part in parts) else None
        if len(parts) != 32 or not all(len(part) == 1 and part in _HEX for part in parts):
            return None
        return bytes.fromhex("".join(parts))
    except ValueError:
        return None
