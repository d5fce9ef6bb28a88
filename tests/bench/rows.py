"""A figure beside its target and its peer."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclasses.dataclass(frozen=True)
class Row:
    """`target` is the most that is promised (None: nothing is), `compared_with` names the limit or peer and its value in this run.

    `met` is decided by the target unless a benchmark has something else to prove (`works`).
    """

    name: str
    value: float | None
    unit: str
    target: float | None = None
    compared_with: str = ""
    peer: float | None = None
    works: bool | None = None
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer if self.value is not None and self.peer else None

    @property
    def met(self) -> bool:
        if self.value is None or self.works is False:
            return False
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target

    def tree(self) -> dict[str, Any]:
        return {
            "name": self.name, "value": _rounded(self.value), "unit": self.unit, "target": _rounded(self.target),
            "compared_with": self.compared_with, "ratio": _rounded(self.ratio), "met": self.met,
        }


def failed(name: str, error: BaseException) -> Row:
    """A figure that could not be taken."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return Row(name, None, "", compared_with=f"failed: {lines[0][:200]}", works=False)


def write(rows: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.tree() for row in rows], indent=2) + "\n")


def show(rows: Iterable[Row]) -> None:
    """A table; without lines, colours and wrapping where it does not go to a terminal."""
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else 240)
    table = Table(box=None if not terminal else Table().box, pad_edge=terminal)
    table.add_column("name")
    for column in ("value", "unit", "target", "ratio"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    table.add_column("met")
    table.add_column("compared with")
    for row in rows:
        sign = "" if row.target is None else ">= " if row.at_least else "<= "
        met = "yes" if row.met else "[red]no[/red]"
        table.add_row(row.name, _text(row.value), row.unit, sign + _text(row.target), _text(row.ratio), met, row.compared_with)
    console.print(table)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}") if abs(value) < 10000 else float(round(value))


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
