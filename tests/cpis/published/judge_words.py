"""What all judges say in the same words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(where: str, word: str, known: Iterable[str]) -> str:
    """`where` has no such word; and the nearest that there is."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f"{where}: '{word}' is not known" + (f"; the nearest is '{near[0]}'" if near else "")


def wrong(where: str, value: object, wanted: str) -> str:
    """A value that is of another kind."""
    return f"{where}: {str(value)[:80]!r} ({type(value).__name__}) is no {wanted}"


def below(where: str, name: str) -> str:
    """The path of a field in what is at `where`."""
    return f"{where}.{name}" if where else name
