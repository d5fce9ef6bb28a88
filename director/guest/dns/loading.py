"""A records document to Records, a slice at a time: a resolver that reads ten thousand rows goes on answering in between.

Source: DNS contract, section 2. Rows that cannot be read are left out and said; a document without records is refused as a whole.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Dict, Generator, Iterator, List, Mapping, Sequence, Tuple

from .records import Record, Records, packed_of
from .wire import Labels, labels_of

SLICE = 40
MOST_WARNINGS = 100
_REQUIRED = ("id", "instance_group", "network", "deployment", "ip", "domain")
_SPACE = re.compile(r"[ \t\r\n]*")
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
        while not self.is_at("]"):
            yield self.value()
            self._space()
            if not self.is_at("]"):
                self._sign(",")
        self.at += 1

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
        self._keys = keys
        self._domains: Dict[str, Labels] = {}
        self._groups: Dict[Tuple[str, ...], Tuple[str, ...]] = {}

    def record(self, row: Any) -> Record:
        """Raises ValueError or TypeError with what is wrong with the row."""
        if not isinstance(row, list) or len(row) != len(self._keys):
            raise ValueError("its length differs from that of `record_keys`")
        values = dict(zip(self._keys, row))  # noqa: B905 - `strict` came with Python 3.10
        for name in _REQUIRED:
            if not isinstance(values.get(name), str):
                raise ValueError("`%s` is no text" % name)
        index = values.get("instance_index")
        domain = values["domain"]
        if domain not in self._domains:
            self._domains[domain] = labels_of(domain)
            if not self._domains[domain]:
                raise ValueError("`domain` is empty")
        return Record(
            values["id"].lower(), _text(values, "num_id"), sys.intern(values["instance_group"].lower()), self._group_ids(values),
            sys.intern(_text(values, "az_id")), sys.intern(values["network"].lower()), sys.intern(_text(values, "network_id")),
            sys.intern(values["deployment"].lower()), packed_of(values["ip"]), self._domains[domain], _text(values, "agent_id"),
            index if isinstance(index, int) else 0,
        )

    def _group_ids(self, values: Mapping[str, Any]) -> Tuple[str, ...]:
        given = values.get("group_ids") or []
        if not isinstance(given, list):
            raise ValueError("`group_ids` is no list")
        group_ids: List[str] = []
        for item in given:
            if not isinstance(item, (str, int)):
                raise ValueError("an item of `group_ids` is no text")
            group_ids.append(str(item).lstrip("0") or "0")
        key = tuple(group_ids)
        return self._groups.setdefault(key, key)


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, (str, int)):
        raise ValueError("`%s` is no text" % name)
    return str(value).lower()
