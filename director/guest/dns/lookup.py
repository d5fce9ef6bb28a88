"""Names of ours to addresses: aliases, then records, then health. Shared by the handlers of zones that are ours.

Source: DNS contract, sections 4 to 6 and their corrections.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .aliases import Aliases
from .answer import Answer, Done
from .grammar import AGENT_ZONE, BadName, Selection, agent, domain_of, instance, select
from .health import FILTERS, UNCHECKED, Health, admitted, matters
from .records import Record, Records, text_of
from .wire import AA, AAAA, ANY, FORMERR, NOERROR, NXDOMAIN, RA, A, Labels, Query, address_record

PATIENCE = 1.0
_OURS = AA | RA
_FAMILIES = {A: (4,), AAAA: (16,), ANY: (4, 16)}
_NO_NAME = Answer(NXDOMAIN, _OURS)
_MALFORMED = Answer(FORMERR, _OURS)
_EMPTY = Answer(NOERROR, _OURS)

Later = Callable[[float, Callable[[], None]], Any]


class Meaning(NamedTuple):
    """What a name stands for: selections of records, and addresses that an alias names itself."""

    selections: Tuple[Selection, ...] = ()
    addresses: Tuple[bytes, ...] = ()


class Lookup:
    """Records and aliases of one moment, with the health of now. `later` is the loop's; it ends the wait for first health checks."""

    def __init__(self, records: Records, aliases: Aliases, health: Health, later: Later, patience: float = PATIENCE) -> None:
        self.records = records
        self.aliases = aliases
        self.health = health
        self._later = later
        self._patience = patience

    def named(self, labels: Labels) -> Selection:
        """A name in a record domain, or below one of the zones that have no forms of their own. Raises BadName."""
        domain = domain_of(self.records, labels)
        if domain is not None:
            return select(self.records, labels, domain)
        if labels[-1:] == AGENT_ZONE:
            return agent(self.records, labels)
        return instance(self.records, labels)

    def meaning(self, labels: Labels) -> Meaning:
        """Raises BadName."""
        targets = self.aliases.of(labels)
        if targets is None:
            return Meaning((self.named(labels),))
        selections = tuple([self.named(target) for target in targets if isinstance(target, tuple)])
        return Meaning(selections, tuple([target for target in targets if isinstance(target, bytes)]))

    def answer(self, query: Query, meaning: Callable[[Labels], Meaning], done: Done) -> Optional[Answer]:
        """The answer, or None where first health checks are waited for: then `done` gets it, in time."""
        families = _FAMILIES.get(query.type, ())
        try:
            found = meaning(query.labels)
        except BadName:
            # Other types are empty, whatever the name looks like.
            return _MALFORMED if families else _EMPTY
        if not found.addresses and not any(selection.records for selection in found.selections):
            return _NO_NAME
        if not families:
            return _EMPTY
        if self.health.enabled:
            unchecked = self._follow(found.selections, query.labels)
            if unchecked:
                self._wait(unchecked, lambda: done(self._addresses(found, families)))
                return None
        return self._addresses(found, families)

    def _follow(self, selections: Sequence[Selection], name: Labels) -> List[Any]:
        """Tells health who is asked for; gives those whose first check is to be waited for."""
        followed = [selection for selection in selections if matters(selection)]
        if not followed:
            return []
        self.health.interested(_records(followed), name)
        return [
            record for selection in followed if selection.waits for record in selection.records
            if self.health.state(record, selection.group_id) == UNCHECKED
        ]

    def followed(self, name: Labels) -> Sequence[Record]:
        """Whose health the answers to that name depend on."""
        try:
            return _records([selection for selection in self.meaning(name).selections if matters(selection)])
        except BadName:
            return ()

    def _wait(self, unchecked: List[Any], ready: Callable[[], None]) -> None:
        ended: List[bool] = []

        def end() -> None:
            if not ended:
                ended.append(True)
                timer.cancel()
                ready()

        timer = self._later(self._patience, end)
        # Never within the question itself: whoever asks has been told to wait.
        self.health.check(unchecked, lambda: self._later(0.0, end))

    def _addresses(self, found: Meaning, families: Tuple[int, ...]) -> Answer:
        return Answer(NOERROR, _OURS, tuple([address_record(packed) for packed in self._named(found, families)]))

    def _named(self, found: Meaning, families: Tuple[int, ...]) -> List[bytes]:
        """Each address once, of the wanted families."""
        unique: Dict[bytes, None] = {}
        for selection in found.selections:
            for record in admitted(selection, self.health):
                if len(record.packed) in families:
                    unique[record.packed] = None
        for address in found.addresses:
            if len(address) in families:
                unique[address] = None
        return list(unique)

    def explain(self, query: Query, meaning: Callable[[Labels], Meaning]) -> Dict[str, Any]:
        """What of records and health makes the answer; follows nobody and waits for nothing."""
        targets = self.aliases.of(query.labels)
        tree: Dict[str, Any] = {"records_version": self.records.version}
        if targets is not None:
            tree["alias"] = {
                "from": self.aliases.origin(query.labels),
                "targets": [text_of(target) if isinstance(target, bytes) else ".".join(target) for target in targets],
            }
        try:
            found = meaning(query.labels)
        except BadName as error:
            return {**tree, "code": "FORMERR" if query.type in _FAMILIES else "NOERROR", "problem": str(error)}
        known = found.addresses or any(selection.records for selection in found.selections)
        return {
            **tree, "code": "NOERROR" if known else "NXDOMAIN",
            "addresses": [text_of(packed) for packed in self._named(found, _FAMILIES.get(query.type, ()))],
            "selections": [self._explained(selection) for selection in found.selections],
        }

    def _explained(self, selection: Selection) -> Dict[str, Any]:
        given = {record.packed for record in admitted(selection, self.health)}
        return {
            "form": selection.form,
            "filter": FILTERS.get(selection.status, "smart"),
            "health": "on" if self.health.enabled else "off: every instance counts as running",
            "records": [
                {
                    "instance": "%s/%s" % (record.group, record.id), "deployment": record.deployment, "network": record.network,
                    "ip": record.ip, "state": self.health.state(record, selection.group_id), "named": record.packed in given,
                }
                for record in selection.records
            ],
        }


def _records(selections: Sequence[Selection]) -> Sequence[Record]:
    """Of all of them, each once."""
    if len(selections) == 1:
        return selections[0].records
    return tuple(dict.fromkeys([record for selection in selections for record in selection.records]))
