"""What a name below a record domain means. Source: DNS contract, sections 3.1 and 3.2 and their corrections."""

from __future__ import annotations

import operator
import re
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from .records import Record, Records
from .wire import Labels

AGENT_ZONE: Labels = ("bosh-agent-id",)
_CODES = re.compile(r"([aismny])([0-9]+)")
_VALUES: Dict[str, Callable[[Record], str]] = {
    "a": operator.attrgetter("az_id"), "i": lambda record: str(record.instance_index), "m": operator.attrgetter("num_id"),
    "n": operator.attrgetter("network_id"),
}
_GROUP = re.compile(r"q-g([0-9]+)")


class BadName(Exception):
    """The name is inside a zone of records but follows none of the forms: FORMERR."""


class Selection(NamedTuple):
    """What a name means: the matching records before health, the health filter (`s`), the group whose health counts, whether to wait
    for first checks (`y1`), and the form of the name in words."""

    records: Tuple[Record, ...]
    status: int = 0
    group_id: str = ""
    waits: bool = False
    form: str = "an instance's id"


NOTHING = Selection((), form="nothing")


def domain_of(records: Records, labels: Labels) -> Optional[Labels]:
    """The longest record domain that the name lies in, or is; whole labels only."""
    domains = records.domains
    for start in range(len(labels)):
        if labels[start:] in domains:
            return labels[start:]
    return None


def agent(records: Records, labels: Labels) -> Selection:
    """A name below `bosh-agent-id`."""
    if len(labels) == 2:
        return Selection(records.with_agent(labels[0]), form="an agent's id")
    return instance(records, labels) if len(labels) > 2 else NOTHING


def instance(records: Records, labels: Labels) -> Selection:
    """By the first label, an instance's id, alone: so resolve names outside the record domains."""
    return Selection(records.with_id(labels[0])) if labels else NOTHING


def select(records: Records, labels: Labels, domain: Labels) -> Selection:
    """A name below `domain` in one of the forms; no records when nothing matches. Raises BadName."""
    place = labels[1 : len(labels) - len(domain)]
    if len(labels) == len(domain):
        return NOTHING
    first = labels[0]
    codes = _codes(first) if first[:2] == "q-" else None
    if len(place) not in (1, 3):
        raise BadName("one or three labels are wanted between the first and the domain, not %d" % len(place))
    if codes is None:
        found = tuple([record for record in records.with_id(first) if record.domain == domain and _lies(record, place)])
        return Selection(found)
    candidates, group_id, form = _short(records, place[0], domain) if len(place) == 1 else _long(records, place, domain)
    for code, numbers in codes.items():
        value = _VALUES.get(code)
        if value is not None:
            candidates = [record for record in candidates if value(record) in numbers]
    chosen = tuple(candidates)
    status = int(codes["s"][0][:6]) if "s" in codes else 0
    return Selection(chosen, status, group_id, codes.get("y", [""])[0] == "1", form)


def _short(records: Records, label: str, domain: Labels) -> Tuple[Iterable[Record], str, str]:
    group = _GROUP.fullmatch(label)
    if group is None:
        # A single label that names no group is no filter: the whole domain.
        return records.in_domain(domain), "", "a query for the whole domain"
    group_id = _number(group.group(1))
    return records.in_group(domain, group_id), group_id, "a short query"


def _long(records: Records, place: Labels, domain: Labels) -> Tuple[Iterable[Record], str, str]:
    places = records.places(domain)
    group, network, deployment = place
    asked = _GROUP.fullmatch(group)
    group_id = _number(asked.group(1)) if asked else ""
    if not any("*" in label for label in place):
        found: Sequence[Record] = places.get((group, network, deployment), ())
    else:
        keys = list(places)
        for column, pattern in enumerate(place):
            if "*" not in pattern:
                keys = [key for key in keys if key[column] == pattern]
            elif pattern != "*":
                keys = [key for key in keys if like(key[column], pattern)]
        found = [record for key in keys for record in places[key]]
    if group_id:
        # A group that is itself called like a number must also have that number.
        found = [record for record in found if group_id in record.group_ids]
    return found, group_id, "a long query"


def _lies(record: Record, place: Labels) -> bool:
    """Whether the record is in a place of one label (a group's number, or anything) or of three: group, network, deployment."""
    group = _GROUP.fullmatch(place[0])
    if group is not None and _number(group.group(1)) not in record.group_ids:
        return False
    return len(place) == 1 or all(map(like, (record.group, record.network, record.deployment), place))


def like(text: str, pattern: str) -> bool:
    """`*`, `prefix*`, `*suffix` and stars in between; other signs stand for themselves.

    Not by regular expression: a label of thirty stars is one that anybody can ask for, and must not cost more than its length.
    """
    if "*" not in pattern:
        return text == pattern
    first, *middle, last = pattern.split("*")
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _codes(label: str) -> Dict[str, List[str]]:
    """The codes of a `q-` label. Raises BadName without any valid code."""
    codes: Dict[str, List[str]] = {}
    for code, number in _CODES.findall(label[2:]):
        codes.setdefault(code, []).append(_number(number))
    if not codes:
        raise BadName("no code after q-")
    return codes


def _number(text: str) -> str:
    return text.lstrip("0") or "0"
