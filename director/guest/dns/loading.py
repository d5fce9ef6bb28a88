"""A records document to Records, a slice at a time: a resolver that reads ten thousand rows goes on answering in between.

Source: DNS contract, section 2. Rows that cannot be read are left out and said; a document without records is refused as a whole.
"""

from __future__ import annotations

import json
import operator
import re
from typing import Any, Dict, Generator, Iterator, Sequence, Tuple

from .records import Record, Records, packed_of
from .wire import Labels, labels_of

SLICE = 40
MOST_WARNINGS = 100
_COLUMNS = (
    "id", "instance_group", "network", "deployment", "ip", "domain",  # these six must be texts
    "num_id", "az_id", "network_id", "agent_id", "group_ids", "instance_index",
)
_SPACE = re.compile(r"[ \t\r\n]*")
_NEXT = re.compile(r"[ \t\r\n]*([,\]])[ \t\r\n]*")
_DECODE = json.JSONDecoder().raw_decode

Steps = Generator[None, None, Records]


class BadRecords(Exception):
    """The document cannot be used; the records loaded before stay in use."""


def load(text: str) -> Records:
    """All at once. Raises BadRecords."""
    steps = loading(text)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            records: Records = end.value
            return records


def loading(text: str) -> Steps:
    """A generator that yields every few rows and returns the records. Raises BadRecords from any step."""
    reader = _Reader(text)
    records = Records()
    parts: Dict[str, Any] = {}
    listed = set()
    late = -1
    for name in reader.members():
        if name not in ("record_infos", "records") or not reader.is_at("["):
            parts[name] = reader.value()
            continue
        listed.add(name)
        if name == "records":
            yield from _hosts(reader, records)
        elif "record_keys" in parts:
            yield from _infos(reader, parts["record_keys"], records)
        else:
            late = reader.at
            for number, _ in enumerate(reader.items()):
                if number % SLICE == 0:
                    yield
    reader.end()
    for name in ("record_keys", "record_infos", "records"):
        if name not in listed and not isinstance(parts.get(name), list):
            raise BadRecords("`%s` is no list" % name)
    if late >= 0:
        reader.at = late
        yield from _infos(reader, parts["record_keys"], records)
    aliases, version = parts.get("aliases"), parts.get("version", parts.get("Version", 0))
    records.raw_aliases = aliases if isinstance(aliases, dict) else {}
    records.version = version if isinstance(version, int) and not isinstance(version, bool) else 0
    return records


def _infos(reader: "_Reader", keys: Any, records: Records) -> Iterator[None]:
    rows = Rows(keys if isinstance(keys, list) else [])
    for number, row in enumerate(reader.items()):
        try:
            records.add(rows.record(row))
        except (TypeError, ValueError) as error:
            _warn(records, "row %d is left out: %s" % (number, error))
        if number % SLICE == 0:
            yield


def _hosts(reader: "_Reader", records: Records) -> Iterator[None]:
    for number, row in enumerate(reader.items()):
        try:
            address, name = row
            records.add_host(packed_of(address), str(name))
        except (TypeError, ValueError) as error:
            _warn(records, "host %d is left out: %s" % (number, error))
        if number % (SLICE * 2) == 0:
            yield


def _warn(records: Records, text: str) -> None:
    if len(records.warnings) < MOST_WARNINGS:
        records.warnings.append(text)


class _Reader:
    """Walks a JSON document value by value. `at` is where it stands; every method raises BadRecords where the text is no JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def is_at(self, sign: str) -> bool:
        return self._text.startswith(sign, self.at)

    def value(self) -> Any:
        try:
            value, self.at = _DECODE(self._text, self.at)
        except (ValueError, RecursionError) as error:
            raise BadRecords("no JSON: %s" % error) from error
        return value

    def members(self) -> Iterator[str]:
        """The names of the object; whoever iterates takes each value before the next name is asked for."""
        self._space()
        if not self.is_at("{"):
            raise BadRecords("no JSON object")
        self._sign("{")
        while not self.is_at("}"):
            name = self.value()
            if not isinstance(name, str):
                raise BadRecords("no JSON: a name is expected before character %d" % self.at)
            self._sign(":")
            yield name
            self._space()
            if not self.is_at("}"):
                self._sign(",")
        self.at += 1

    def items(self) -> Iterator[Any]:
        """The items of the list that begins here."""
        self._sign("[")
        if self.is_at("]"):
            self.at += 1
            return
        while True:
            yield self.value()
            found = _NEXT.match(self._text, self.at)
            if found is None:
                raise BadRecords("no JSON: `,` or `]` is expected at character %d" % self.at)
            self.at = found.end()
            if found.group(1) == "]":
                return

    def end(self) -> None:
        self._space()
        if self.at != len(self._text):
            raise BadRecords("no JSON: something stands behind the document, at character %d" % self.at)

    def _space(self) -> None:
        found = _SPACE.match(self._text, self.at)
        if found is not None:
            self.at = found.end()

    def _sign(self, sign: str) -> None:
        """Goes behind that sign and the space around it."""
        self._space()
        if not self.is_at(sign):
            raise BadRecords("no JSON: %r is expected at character %d" % (sign, self.at))
        self.at += 1
        self._space()


class Rows:
    """Rows in the order of `keys` to records; equal texts become one object, since most columns repeat."""

    def __init__(self, keys: Sequence[Any]) -> None:
        self._length = len(keys)
        places = {key: place for place, key in enumerate(keys) if isinstance(key, str)}
        # A column that is missing is read from behind the row, where a None is put.
        self._columns = operator.itemgetter(*(places.get(name, len(keys)) for name in _COLUMNS))
        self._domains: Dict[str, Labels] = {}
        self._texts: Dict[str, str] = {}
        self._groups: Dict[Tuple[str, ...], Tuple[str, ...]] = {}

    def record(self, row: Any) -> Record:
        """Raises ValueError or TypeError with what is wrong with the row."""
        if not isinstance(row, list) or len(row) != self._length:
            raise ValueError("its length differs from that of `record_keys`")
        row.append(None)
        columns = self._columns(row)
        id_, group, network, deployment, ip, domain, num_id, az_id, network_id, agent_id, group_ids, index = columns
        for name, value in zip(_COLUMNS, columns[:6]):  # noqa: B905 - `strict` came with Python 3.10
            if not isinstance(value, str):
                raise ValueError("`%s` is no text" % name)
        labels = self._domains.get(domain)
        if labels is None:
            labels = self._domains[domain] = labels_of(domain)
        if not labels:
            raise ValueError("`domain` is empty")
        once = self._once
        return Record(
            id_.lower(), _text("num_id", num_id), once(group), self._group_ids(group_ids or ()), once(_text("az_id", az_id)), once(network),
            once(_text("network_id", network_id)), once(deployment), packed_of(ip), labels, _text("agent_id", agent_id),
            index if isinstance(index, int) else 0,
        )

    def _once(self, text: str) -> str:
        """The same text in lower case, as the one object for all that are equal."""
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = text.lower()
        return known

    def _group_ids(self, given: Any) -> Tuple[str, ...]:
        if not isinstance(given, (list, tuple)) or not all(isinstance(item, (str, int)) for item in given):
            raise ValueError("`group_ids` is no list of texts")
        key = tuple([str(item).lstrip("0") or "0" for item in given])
        return self._groups.setdefault(key, key)


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, (str, int)):
        raise ValueError("`%s` is no text" % name)
    return str(value).lower()
