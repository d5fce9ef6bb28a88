"""`filter` of lists: `labels.a=b`, `name = "x"`, joined with AND, alone or in parentheses; of a list, one item that has it is enough."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cpis.conformance.clouds.gcp.world import Body, Refused

_TERM = re.compile(r'\(?\s*([a-zA-Z][\w.-]*)\s*(!=|=|:|\beq\b|\bne\b)\s*("[^"]*"|[^\s()"]+)\s*\)?\s*(?:AND\b\s*)?')


def matching(items: Iterable[Body], expression: str) -> list[Body]:
    """Raises Refused (400) for what is no filter."""
    terms = list(_terms(expression))
    return [item for item in items if all(_holds(item, *term) for term in terms)]


def _terms(expression: str) -> Iterable[tuple[str, str, str]]:
    position = 0
    text = expression.strip()
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise Refused(400, "invalid", f"Invalid value for field 'filter': '{expression}'. Invalid list filter expression.")
        yield found.group(1), found.group(2), found.group(3).strip('"')
        position = found.end()


def _holds(item: Body, field: str, operator: str, wanted: str) -> bool:
    values = [str(value) for value in _values(item, field.split("."))]
    if operator in ("!=", "ne"):
        return wanted not in values
    if operator == ":":
        return bool(values) if wanted == "*" else any(wanted in value for value in values)
    return wanted in values


def _values(item: Any, steps: list[str]) -> list[Any]:
    if isinstance(item, list):
        return [value for part in item for value in _values(part, steps)]
    if not steps:
        return [item]
    return _values(item[steps[0]], steps[1:]) if isinstance(item, dict) and steps[0] in item else []
