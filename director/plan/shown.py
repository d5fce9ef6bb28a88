"""What differs between two trees, in words without secrets: paths, with values where they may be shown.

A value with a placeholder is shown as the placeholder. Literals of properties and env are never shown, only their paths. Literals
elsewhere (cloud properties, tags, settings of networks) are shown when they are a number, a flag or one short word under a key that
promises no secret: what looks like a credential is told by its path alone. Source: planning contract, section 7; design, section 7.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

PLACEHOLDER = re.compile(r"\(\(.*?\)\)")
_SECRETIVE = re.compile(
    r"pass(wd|word|phrase|code)?s?$|password|passwd|passphrase|secret|token|credential|private|api.?key|access.?key|shared.?key|account.?key"
    r"|(^|[._-])(auth|key|pin|pw|cert|certificate|signature|salt|hash|sas)([._-]|$)", re.IGNORECASE)
_PLAIN = re.compile(r"[\w .:,/+*@=%-]{0,64}", re.ASCII)
MOST = 12
"""So many values of one difference are told; reasons are lines for people, and are kept in events."""
_IN_ADDRESS = re.compile(r"://[^/@\s]*@")


@dataclasses.dataclass(frozen=True)
class Difference:
    """`before` and `after` are texts for people, `paths` the places that differ, in order."""

    before: str = ""
    after: str = ""
    paths: tuple[str, ...] = ()


def difference(old: Any, new: Any, *, literals: bool) -> Difference:
    """Paths whose values differ, with their values as far as they may be shown; `literals` says whether harmless ones are."""
    before, after = dict(leaves(old)), dict(leaves(new))
    differing = sorted(path for path in before.keys() | after.keys() if before.get(path, leaves) != after.get(path, leaves))

    def text(side: Mapping[str, Any]) -> str:
        told = [_text(path, side[path], literals=literals) for path in differing[:MOST] if path in side]
        more = sum(path in side for path in differing[MOST:])
        return ", ".join([*told, *([f"and {more} more"] if more else [])])

    return Difference(text(before), text(after), tuple(differing))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(`a.b[0].c`, value) of everything that is neither a map nor a list, or empty."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path and key else path or key)
    elif isinstance(value, list) and value:
        for position, item in enumerate(value):
            yield from leaves(item, f"{path}[{position}]")
    elif path:
        yield path, value


def _text(path: str, value: Any, *, literals: bool) -> str:
    placeholders = PLACEHOLDER.findall(value) if isinstance(value, str) else []
    if placeholders:
        return f"{path}: {' '.join(placeholders)}"
    return f"{path}: {json.dumps(value)}" if literals and harmless(path, value) else path


def harmless(path: str, value: Any) -> bool:
    """Whether a literal may be shown."""
    if _SECRETIVE.search(path):
        return False
    return not isinstance(value, str) or (_PLAIN.fullmatch(value) is not None and _IN_ADDRESS.search(value) is None)
