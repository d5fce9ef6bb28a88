"""A question about our own names to its answer. Source: DNS contract, sections 5 to 8.2."""

from __future__ import annotations

import ipaddress
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from . import health
from .aliases import Aliases
from .records import AGENT_ZONE, NOTHING, BadName, Records, Selection
from .wire import AA, AAAA, ANY, FORMERR, NOERROR, NXDOMAIN, RA, A, Address, Labels, address_record, labels_of, pointer_record

_ADDRESS_TYPES = (A, AAAA, ANY)
_LOOPBACK: Tuple[Address, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


class Answer(NamedTuple):
    """Records in no particular order; `edns` says whether an OPT record of the question is answered by one."""

    code: int
    flags: int
    records: Tuple[bytes, ...] = ()
    edns: bool = True


class Local:
    """Immutable: new records or aliases make a new one. `states` may change its mind at any time."""

    def __init__(
        self, records: Records, aliases: Aliases, *, upchecks: Sequence[str] = ("upcheck.bosh-dns.",), states: health.States = health.off,
        reverse: bool = True,
    ) -> None:
        self.records = records
        self._aliases = aliases
        self._upchecks = frozenset(labels_of(name) for name in upchecks)
        self._states = states
        self._serves_reverse = reverse

    def answer(self, labels: Labels, kind: int) -> Optional[Answer]:
        """None for a name that is not ours: it is another server's business."""
        if not labels or any("." in label for label in labels):
            return None
        if labels[-1] == "arpa":
            return self._reverse(labels) if self._serves_reverse else None
        targets = self._aliases.of(labels)
        if targets is None and any(labels[start:] in self._upchecks for start in range(len(labels))):
            return _addresses(_LOOPBACK, kind)
        try:
            if targets is not None:
                return self._aliased(targets, kind)
            selection = self._select(labels)
        except BadName:
            return Answer(FORMERR if kind in _ADDRESS_TYPES else NOERROR, AA | RA)
        if selection is None:
            return None
        if not selection.records:
            return Answer(NXDOMAIN, AA | RA)
        return _addresses([record.address for record in health.admitted(selection, self._states)], kind)

    def _select(self, labels: Labels) -> Optional[Selection]:
        domain = self.records.domain_of(labels)
        if domain is not None:
            return self.records.select(labels, domain)
        if labels[-1:] == AGENT_ZONE:
            return self.records.agent(labels) if self.records.count else None
        if self._aliases.in_zone(labels):
            # Below an alias, an instance is still found by its id.
            return self.records.instance(labels[0])
        return None

    def _aliased(self, targets: Sequence[object], kind: int) -> Answer:
        found: List[Address] = []
        known = False
        for target in targets:
            if not isinstance(target, tuple):
                assert isinstance(target, (ipaddress.IPv4Address, ipaddress.IPv6Address))
                known = True
                found.append(target)
                continue
            selection = self._select(target)
            if selection is None:
                selection = self.records.instance(target[0]) if target else NOTHING
            known = known or bool(selection.records)
            found.extend(record.address for record in health.admitted(selection, self._states))
        return _addresses(found, kind) if known else Answer(NXDOMAIN, AA | RA)

    def _reverse(self, labels: Labels) -> Optional[Answer]:
        if labels[-2:] not in (("in-addr", "arpa"), ("ip6", "arpa")):
            return Answer(FORMERR, AA)
        address = _address_of(labels)
        names = self.records.hosts.get(address) if address is not None else None
        if not names:
            return None
        texts: Dict[str, None] = {}
        for name in names:
            texts[name] = None
            for alias in self._aliases.names_of(labels_of(name)):
                texts[".".join(alias)] = None
        pointers = []
        for text in texts:
            try:
                pointers.append(pointer_record(text))
            except ValueError:
                continue
        return Answer(NOERROR, AA, tuple(pointers), edns=False)


def _address_of(labels: Labels) -> Optional[Address]:
    """The address that a reverse name spells; None when it is none, or only a part of one."""
    parts = labels[-3::-1]
    try:
        if labels[-2] == "in-addr":
            return ipaddress.IPv4Address(".".join(parts)) if len(parts) == 4 else None
        if len(parts) != 32:
            return None
        return ipaddress.IPv6Address(":".join("".join(parts[start : start + 4]) for start in range(0, 32, 4)))
    except ValueError:
        return None


def _addresses(addresses: Sequence[Address], kind: int) -> Answer:
    """Each address once, of the wanted family."""
    wanted = (4, 6) if kind == ANY else (4,) if kind == A else (6,) if kind == AAAA else ()
    unique = dict.fromkeys(address for address in addresses if address.version in wanted)
    return Answer(NOERROR, AA | RA, tuple(address_record(address) for address in unique))
