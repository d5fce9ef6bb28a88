"""Differences as the director sends them: `[line, "added"|"removed"|null]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from director.cli.ui import Ui

SIGNS = {"added": ("+ ", "good"), "removed": ("- ", "bad")}


def show(ui: Ui, diff: Sequence[Sequence[Any]]) -> None:
    """Print the lines, coloured on terminals."""
    for text, status in diff:
        sign, look = SIGNS.get(str(status), ("  ", ""))
        ui.block(f"{sign}{text}".rstrip() + "\n", look, kind="diff")
    if not diff:
        ui.line("No differences.")
