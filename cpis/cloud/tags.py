"""Metadata in the form that a cloud takes: cut, cleaned, dropped, but never a reason to fail. Source: CPI contract, rows 15 and 16."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping

FORCED = (
    "director", "caisson-token", "caisson-shape", "deployment", "instance_group", "job", "id", "name", "index", "created_at", "compiling",
    "instance_id", "instance_index", "attached_at",
)
"""Keys that win when a cloud takes only so many, in this order."""

TOKEN = "caisson-token"
SHAPE = "caisson-shape"

log = logging.getLogger("cpis")


@dataclasses.dataclass(frozen=True)
class Rules:
    """`bad_key` and `bad_value` match the characters (or runs) that are replaced by `-`; lengths are in characters."""

    max_count: int
    max_key: int
    max_value: int
    bad_key: str = ""
    bad_value: str = ""
    lower: bool = False
    key_prefix: str = "n"
    first_of_key: str = ""

    def key(self, text: str) -> str:
        """The key in this cloud's form; empty when nothing is left."""
        text = self._form(text, self.bad_key)
        if text and self.first_of_key and not re.match(self.first_of_key, text):
            text = self.key_prefix + text
        return text[: self.max_key]

    def value(self, text: str) -> str:
        """The value in this cloud's form."""
        return self._form(text, self.bad_value)[: self.max_value]

    def _form(self, text: str, bad: str) -> str:
        text = text.strip()
        if self.lower:
            text = text.lower()
        return re.sub(bad, "-", text) if bad else text


def clean(metadata: Mapping[str, object], rules: Rules) -> dict[str, str]:
    """The metadata that the cloud gets. Empty and null values are left out; of too many the forced keys of BOSH stay, and one line in the
    log names all that do not."""
    result: dict[str, str] = {}
    dropped: list[str] = []
    for key in sorted(metadata, key=_rank):
        value = metadata[key]
        name = rules.key(str(key))
        text = "" if value is None else rules.value(str(value))
        if not name or not text or name in result:
            continue
        if len(result) >= rules.max_count:
            dropped.append(str(key))
            continue
        result[name] = text
    if dropped:
        log.warning("metadata that is left out, since this cloud takes %d: %s", rules.max_count, ", ".join(dropped))
    return result


def _rank(key: str) -> tuple[int, str]:
    return (FORCED.index(key) if key in FORCED else len(FORCED), str(key))
