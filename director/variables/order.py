"""Signers before what they sign, so that one pass makes everything."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

from director.diagnostics import Diagnostics, Where
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


def in_order(wanted: Sequence[Wanted], problems: Diagnostics) -> tuple[list[Wanted], set[str]]:
    """As listed, but each after its CA; and the names of those that sign each other in a circle, which is told once for each (540005)."""
    by_name = {item.name: item for item in wanted}
    placed: dict[str, Wanted] = {}
    circling: set[str] = set()
    for item in wanted:
        line: dict[str, Wanted] = {}
        current: Wanted | None = item
        while current is not None and current.name not in placed:
            if current.name in line:
                names = list(line)
                circle = names[names.index(current.name):]
                circling.update(circle)
                problems.extend([failure(
                    current.name, current.variable.type,
                    f"certificates sign each other in a circle: {' <- '.join([*circle, current.name])}",
                    "Make one of them a root: leave out its `ca`.", where_of(current.variable))])
                break
            line[current.name] = current
            current = by_name.get(current.ca)
        for name in reversed(line):
            placed[name] = line[name]
    return list(placed.values()), circling


def where_of(variable: Variable) -> Where:
    """The place of its definition."""
    return Where(variable.file, variable.line, f"variables/{variable.name}")
