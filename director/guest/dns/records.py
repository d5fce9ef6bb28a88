"""The director's records, indexed so that no question needs a scan. Source: DNS contract, sections 2 and 3."""

from __future__ import annotations

import socket
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from .wire import Labels

Place = Tuple[str, str, str]
Hosts = Dict[bytes, Union[str, Tuple[str, ...]]]


class Record(NamedTuple):
    """One instance on one network. Texts are in lower case; `packed` is its address, 4 or 16 bytes."""

    id: str
    num_id: str
    group: str
    group_ids: Tuple[str, ...]
    az_id: str
    network: str
    network_id: str
    deployment: str
    packed: bytes
    domain: Labels
    agent_id: str
    instance_index: int

    @property
    def ip(self) -> str:
        return text_of(self.packed)


class Records:
    """Records with their indexes; `add` and `remove` change it in place, at a cost that does not depend on how many there are.

    `raw_aliases` is section 5's part of the document, `warnings` says what of it was left out.
    """

    def __init__(
        self, records: Iterable[Record] = (), raw_aliases: Optional[Mapping[str, Any]] = None, version: int = 0,
        warnings: Sequence[str] = (),
    ) -> None:
        self.version = version
        self.warnings: List[str] = list(warnings)
        self.raw_aliases: Mapping[str, Any] = raw_aliases or {}
        self.count = 0
        self._hosts: Hosts = {}
        self._by_id: Dict[str, Tuple[Record, ...]] = {}
        self._by_agent: Dict[str, Tuple[Record, ...]] = {}
        self._by_group_id: Dict[Tuple[Labels, str], List[Record]] = {}
        self._by_place: Dict[Labels, Dict[Place, List[Record]]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        self.count += 1
        self._by_id[record.id] = (*self._by_id.get(record.id, ()), record)
        if record.agent_id:
            self._by_agent[record.agent_id] = (*self._by_agent.get(record.agent_id, ()), record)
        for group_id in record.group_ids:
            self._by_group_id.setdefault((record.domain, group_id), []).append(record)
        self._by_place.setdefault(record.domain, {}).setdefault(_place(record), []).append(record)

    def remove(self, record: Record) -> None:
        """An equal record goes. KeyError when there is none."""
        left = list(self._by_id[record.id])
        if record not in left:
            raise KeyError(record)
        self.count -= 1
        for index, key in ((self._by_id, record.id), (self._by_agent, record.agent_id)):
            left = list(index.get(key, ()))
            if record in left:
                left.remove(record)
            if left:
                index[key] = tuple(left)
            else:
                index.pop(key, None)
        for group_id in record.group_ids:
            _take(self._by_group_id, (record.domain, group_id), record)
        places = self._by_place[record.domain]
        _take(places, _place(record), record)
        if not places:
            del self._by_place[record.domain]

    def add_host(self, packed: bytes, name: str) -> None:
        """A name for reverse look-ups of that address."""
        known = self._hosts.get(packed)
        # Nearly every address has one name; a list for each would double the memory.
        self._hosts[packed] = name if known is None else (known, name) if isinstance(known, str) else (*known, name)

    def remove_host(self, packed: bytes, name: str) -> None:
        names = tuple(known for known in self.names_of(packed) if known != name)
        if names:
            self._hosts[packed] = names[0] if len(names) == 1 else names
        else:
            self._hosts.pop(packed, None)

    def names_of(self, packed: bytes) -> Tuple[str, ...]:
        """The names of an address."""
        known = self._hosts.get(packed, ())
        return (known,) if isinstance(known, str) else known

    @property
    def domains(self) -> Iterable[Labels]:
        return self._by_place.keys()

    def __iter__(self) -> Iterator[Record]:
        return (record for records in self._by_id.values() for record in records)

    def with_id(self, label: str) -> Tuple[Record, ...]:
        return self._by_id.get(label, ())

    def with_agent(self, label: str) -> Tuple[Record, ...]:
        return self._by_agent.get(label, ())

    def in_group(self, domain: Labels, group_id: str) -> Sequence[Record]:
        return self._by_group_id.get((domain, group_id), ())

    def in_domain(self, domain: Labels) -> Iterable[Record]:
        return (record for records in self._by_place.get(domain, {}).values() for record in records)

    def places(self, domain: Labels) -> Mapping[Place, Sequence[Record]]:
        """Records by (group, network, deployment)."""
        return self._by_place.get(domain, {})


def _place(record: Record) -> Place:
    return record.group, record.network, record.deployment


def _take(index: Dict[Any, List[Record]], key: Any, record: Record) -> None:
    left = index[key]
    left.remove(record)
    if not left:
        del index[key]


def packed_of(text: str) -> bytes:
    """The 4 or 16 bytes of an address. ValueError for anything else."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, UnicodeEncodeError, ValueError) as error:
        raise ValueError("%r is no IP address" % text) from error


def text_of(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
