"""Which handler a question goes to: the one with the longest zone that the name lies in; of equal zones, the one named first here.

Source: DNS contract, section 7.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .answer import Done, Result
from .handlers import Handler
from .handlers.agents import Agents
from .handlers.aliases import Aliases
from .handlers.records import Records
from .handlers.recursion import Recursion
from .handlers.refusal import Refusal
from .handlers.reverse import Reverse
from .handlers.upcheck import Upcheck
from .lookup import Lookup
from .wire import Labels, Query


class Parts(NamedTuple):
    """What handlers are made of. `lookup` changes with the records, everything else lives as long as the process.

    `recursion` None means that names of others are refused; `domains` are the handlers of single domains.
    """

    lookup: Lookup
    upchecks: Sequence[str] = ("upcheck.bosh-dns.",)
    recursion: Optional[Recursion] = None
    domains: Sequence[Handler] = ()


def _reverse(parts: Parts) -> Sequence[Handler]:
    # Without recursors there is nobody to ask about other addresses: reverse names are refused as a whole.
    return [Reverse(parts.lookup, parts.recursion)] if parts.recursion is not None else []


TABLE: Tuple[Tuple[str, Callable[[Parts], Sequence[Handler]]], ...] = (
    ("aliases", lambda parts: [Aliases(parts.lookup)]),
    ("records", lambda parts: [Records(parts.lookup)]),
    ("agents", lambda parts: [Agents(parts.lookup)]),
    ("upcheck", lambda parts: [Upcheck(parts.upchecks)]),
    ("domains", lambda parts: parts.domains),
    ("reverse", _reverse),
    ("recursion", lambda parts: [parts.recursion] if parts.recursion is not None else []),
    ("refusal", lambda parts: [Refusal()]),
)


class Chain:
    """Immutable: other records, aliases or settings make another."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._zones: Dict[Labels, Handler] = {}
        self.handlers: List[Handler] = [handler for _, make in TABLE for handler in make(parts)]
        for handler in self.handlers:
            for zone in handler.zones:
                self._zones.setdefault(zone, handler)

    @property
    def names(self) -> List[str]:
        """Names of the zones that are answered from what is known here; neither everything else nor reverse names."""
        return [".".join(zone) for zone, handler in self._zones.items() if zone and handler.name not in ("recursion", "refusal", "reverse")]

    def zone_of(self, labels: Labels) -> Labels:
        """The longest zone that the name lies in."""
        zones = self._zones
        for start in range(len(labels)):
            if labels[start:] in zones:
                return labels[start:]
        return ()

    def handler_of(self, labels: Labels) -> Handler:
        return self._zones[self.zone_of(labels)]

    def answer(self, query: Query, done: Done) -> Optional[Result]:
        """None when `done` gets the answer later."""
        return self.handler_of(query.labels).answer(query, done)
