"""Replaces known secrets in texts that leave the director."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any

MASK = "<redacted>"
SHORTEST = 5  # shorter values are ordinary words; replacing them would garble every line


class Redactor:
    """Knows secrets, and takes them out of texts. Safe to use from many threads.

    Secrets are found by their first characters, so that a line costs the same however many secrets there are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_start: dict[str, tuple[str, ...]] = {}

    def add(self, *secrets: str) -> None:
        """Register values. Of a text with several lines (a PEM) each longer line is one of its own, since logs break lines; values
        shorter than 5 characters are left out."""
        forms: set[str] = set()
        for secret in secrets:
            for part in (secret, *(line for line in secret.splitlines() if len(line) >= 16 and not line.startswith("-----"))):
                for form in (part, part.strip(), json.dumps(part)[1:-1]):
                    if len(form) >= SHORTEST:
                        forms.add(form)
        with self._lock:
            table = dict(self._by_start)
            for form in forms:
                known = table.get(form[:SHORTEST], ())
                if form not in known:
                    table[form[:SHORTEST]] = tuple(sorted((*known, form), key=len, reverse=True))
            self._by_start = table

    def add_values(self, values: Iterable[str]) -> None:
        """As `add`, for many."""
        self.add(*values)

    def __call__(self, text: str) -> str:
        """The text with every known secret replaced by `<redacted>`; of overlapping ones the longest at the first place."""
        table = self._by_start
        if not table:
            return text
        found: list[str] = []
        done = position = 0
        last = len(text) - SHORTEST
        while position <= last:
            candidates = table.get(text[position:position + SHORTEST])
            match = candidates and next((item for item in candidates if text.startswith(item, position)), None)
            if not match:
                position += 1
                continue
            found += (text[done:position], MASK)
            position += len(match)
            done = position
        return "".join((*found, text[done:])) if found else text

    def tree(self, value: Any) -> Any:
        """Plain data with all its texts redacted."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {key: self.tree(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item) for item in value]
        return value

    def __repr__(self) -> str:
        return f"Redactor({sum(map(len, self._by_start.values()))} secrets)"
