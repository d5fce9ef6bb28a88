"""Signers before what they sign, so that one pass makes everything."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

from director import errors
from director.manifest.model import Variable
from director.variables.options import failure


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A definition with absolute names: its own, and that of the CA that signs it ('' for none)."""

    name: str
    variable: Variable
    ca: str

    @property
    def digest(self) -> str:
        """Of type and options: another one means another definition."""
        options = {**self.variable.options, **({"ca": self.ca} if self.ca else {})}
        return hashlib.sha256(json.dumps([self.variable.type, options], sort_keys=True, default=str).encode()).hexdigest()


def in_order(wanted: Sequence[Wanted]) -> list[Wanted]:
    """As listed, but each after its CA. Raises ManifestError (540005) when certificates sign each other in a circle."""
    by_name = {item.name: item for item in wanted}
    placed: dict[str, Wanted] = {}
    for item in wanted:
        line: dict[str, Wanted] = {}
        current: Wanted | None = item
        while current is not None and current.name not in placed:
            if current.name in line:
                names = list(line)
                circle = [*names[names.index(current.name):], current.name]
                raise errors.ManifestError(failure(
                    current.name, current.variable.type, f"certificates sign each other in a circle: {' <- '.join(circle)}",
                    "Make one of them a root: leave out its `ca`."))
            line[current.name] = current
            current = by_name.get(current.ca)
        for name in reversed(line):
            placed[name] = line[name]
    return list(placed.values())
