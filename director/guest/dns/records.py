"""The director's records, indexed so that no question needs a scan. Source: DNS contract, sections 2 to 3.2 and its corrections."""

from __future__ import annotations

import fnmatch
import ipaddress
import json
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .wire import Address, Labels, labels_of

AGENT_ZONE: Labels = ("bosh-agent-id",)
_CODES = re.compile(r"([aismny])([0-9]+)")
_GROUP = re.compile(r"q-g([0-9]+)")


class BadRecords(Exception):
    """The file cannot be used; the records loaded before stay in use."""


class BadName(Exception):
    """The name is inside a zone of records but follows none of the forms: FORMERR."""


class Record(NamedTuple):
    """One instance on one network. Texts are in lower case."""

    id: str
    num_id: str
    group: str
    group_ids: Tuple[str, ...]
    az_id: str
    network: str
    network_id: str
    deployment: str
    address: Address
    domain: Labels
    agent_id: str
    instance_index: int


class Selection(NamedTuple):
    """What a name means: the matching records before health, the health filter (`s`), the group whose health counts."""

    records: Tuple[Record, ...]
    status: int = 0
    group_id: str = ""


NOTHING = Selection(())
_REQUIRED = ("id", "instance_group", "network", "deployment", "ip", "domain")


class Records:
    """An immutable set of records. `hosts` maps addresses to names (for PTR), `raw_aliases` is section 5's part of the file."""

    def __init__(
        self, records: Sequence[Record] = (), hosts: Sequence[Tuple[Address, str]] = (), raw_aliases: Optional[Mapping[str, Any]] = None,
        version: int = 0, warnings: Sequence[str] = (),
    ) -> None:
        self.version = version
        self.warnings = tuple(warnings)
        self.raw_aliases: Mapping[str, Any] = raw_aliases or {}
        self.count = len(records)
        self.hosts: Dict[Address, List[str]] = {}
        self._by_id: Dict[str, List[Record]] = {}
        self._by_agent: Dict[str, List[Record]] = {}
        self._by_group_id: Dict[Tuple[Labels, str], List[Record]] = {}
        self._by_place: Dict[Labels, Dict[Tuple[str, str, str], List[Record]]] = {}
        self._by_domain: Dict[Labels, List[Record]] = {}
        for address, name in hosts:
            self.hosts.setdefault(address, []).append(name)
        for record in records:
            self._by_id.setdefault(record.id, []).append(record)
            if record.agent_id:
                self._by_agent.setdefault(record.agent_id, []).append(record)
            for group_id in record.group_ids:
                self._by_group_id.setdefault((record.domain, group_id), []).append(record)
            place = (record.group, record.network, record.deployment)
            self._by_place.setdefault(record.domain, {}).setdefault(place, []).append(record)
            self._by_domain.setdefault(record.domain, []).append(record)

    @property
    def domains(self) -> Iterable[Labels]:
        return self._by_domain.keys()

    def in_group(self, domain: Labels, group_id: str) -> Sequence[Record]:
        return self._by_group_id.get((domain, group_id), ())

    def instance(self, label: str) -> Selection:
        """By instance id alone."""
        return Selection(tuple(self._by_id.get(label, ())))

    def domain_of(self, labels: Labels) -> Optional[Labels]:
        """The longest record domain that the name lies in, or is."""
        for start in range(len(labels)):
            if labels[start:] in self._by_domain:
                return labels[start:]
        return None

    def agent(self, labels: Labels) -> Selection:
        """A name below `bosh-agent-id`."""
        if len(labels) == 2:
            return Selection(tuple(self._by_agent.get(labels[0], ())))
        return self.instance(labels[0]) if len(labels) > 2 else NOTHING

    def select(self, labels: Labels, domain: Labels) -> Selection:
        """A name below `domain` in one of the forms of section 3.1; no records when nothing matches. Raises BadName."""
        rest = labels[: len(labels) - len(domain)]
        if not rest:
            return NOTHING
        first, place = rest[0], rest[1:]
        codes = _codes(first)
        if len(place) not in (1, 3):
            raise BadName("one or three labels are wanted between the first and the domain, not %d" % len(place))
        if codes is None:
            return Selection(tuple(record for record in self._by_id.get(first, ()) if record.domain == domain and _lies(record, place)))
        candidates, group_id = self._short(place[0], domain) if len(place) == 1 else (self._long(place, domain), "")
        wanted = {code: frozenset(numbers) for code, numbers in codes.items() if code in "aimn"}
        found = tuple(record for record in candidates if _matches(record, wanted)) if wanted else tuple(candidates)
        return Selection(found, int(codes["s"][0]) if "s" in codes else 0, group_id)

    def _short(self, label: str, domain: Labels) -> Tuple[Iterable[Record], str]:
        group = _GROUP.fullmatch(label)
        if group is None:
            # A single label that names no group is no filter: the whole domain.
            return self._by_domain.get(domain, ()), ""
        return self.in_group(domain, group.group(1)), group.group(1)

    def _long(self, place: Labels, domain: Labels) -> Iterable[Record]:
        places = self._by_place.get(domain, {})
        group, network, deployment = place
        if not any("*" in label for label in place):
            return places.get((group, network, deployment), ())
        return [
            record
            for key, records in places.items()
            if _like(key[0], group) and _like(key[1], network) and _like(key[2], deployment)
            for record in records
        ]


def _lies(record: Record, place: Labels) -> bool:
    """Whether the record is in a place of one label (a group's number, or anything) or of three: group, network, deployment."""
    if len(place) == 1:
        group = _GROUP.fullmatch(place[0])
        return group is None or group.group(1) in record.group_ids
    return all(map(_like, (record.group, record.network, record.deployment), place))


def _like(text: str, pattern: str) -> bool:
    """`*`, `prefix*` and `*suffix`; other signs stand for themselves."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]")) if "*" in pattern else text == pattern


def _codes(label: str) -> Optional[Dict[str, List[str]]]:
    """The codes of a `q-` label, None for another label. Raises BadName without any valid code."""
    if not label.startswith("q-"):
        return None
    codes: Dict[str, List[str]] = {}
    for code, number in _CODES.findall(label[2:]):
        codes.setdefault(code, []).append(number.lstrip("0") or "0")
    if not codes:
        raise BadName("no code after q-")
    return codes


def _matches(record: Record, wanted: Mapping[str, Iterable[str]]) -> bool:
    values = {"a": record.az_id, "i": str(record.instance_index), "m": record.num_id, "n": record.network_id}
    return all(values[code] in numbers for code, numbers in wanted.items())


def load(text: str) -> Records:
    """Records from the file's text; single bad rows are left out with a warning. Raises BadRecords when there is nothing to use."""
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise BadRecords("no JSON: %s" % error) from error
    if not isinstance(tree, dict):
        raise BadRecords("no JSON object")
    keys, rows, hosts = _list(tree, "record_keys"), _list(tree, "record_infos"), _list(tree, "records")
    warnings: List[str] = []
    found = []
    for number, row in enumerate(rows):
        try:
            found.append(_record(keys, row))
        except (TypeError, ValueError) as error:
            warnings.append("row %d is left out: %s" % (number, error))
    aliases = tree.get("aliases")
    version = tree.get("version", tree.get("Version", 0))
    return Records(
        found, _hosts(hosts, warnings), aliases if isinstance(aliases, dict) else {},
        version if isinstance(version, int) else 0, warnings,
    )


def _list(tree: Mapping[str, Any], name: str) -> List[Any]:
    part = tree.get(name)
    if not isinstance(part, list):
        raise BadRecords("`%s` is no list" % name)
    return part


def _record(keys: Sequence[Any], row: Any) -> Record:
    if not isinstance(row, list) or len(row) != len(keys):
        raise ValueError("its length differs from that of `record_keys`")
    values = dict(zip(keys, row))  # noqa: B905 - `strict` came with Python 3.10
    for name in _REQUIRED:
        if not isinstance(values.get(name), str):
            raise ValueError("`%s` is no text" % name)
    group_ids = values.get("group_ids") or []
    if not isinstance(group_ids, list):
        raise ValueError("`group_ids` is no list")
    index = values.get("instance_index")

    def text(name: str) -> str:
        value = values.get(name)
        if value is not None and not isinstance(value, (str, int)):
            raise ValueError("`%s` is no text" % name)
        return str(value).lower() if value is not None else ""

    return Record(
        text("id"), text("num_id"), text("instance_group"), tuple(str(item) for item in group_ids), text("az_id"), text("network"),
        text("network_id"), text("deployment"), ipaddress.ip_address(values["ip"]), labels_of(values["domain"]), text("agent_id"),
        index if isinstance(index, int) else 0,
    )


def _hosts(rows: Sequence[Any], warnings: List[str]) -> List[Tuple[Address, str]]:
    found = []
    for number, row in enumerate(rows):
        try:
            address, name = row
            found.append((ipaddress.ip_address(address), str(name)))
        except (TypeError, ValueError) as error:
            warnings.append("host %d is left out: %s" % (number, error))
    return found
