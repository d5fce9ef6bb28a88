"""`rotations`: which CAs are being rotated, how far that is, and what goes on."""

from __future__ import annotations

from typing import Any

from director.cli.session import Session
from director.cli.tables import Cell, Table
from director.cli.verb import verb

HEADER = ("Name", "Stage", "State", "Signing", "Transitional", "Waits For", "Next", "Started", "By")


@verb(examples=("caisson rotations",))
def command(session: Session) -> None:
    """List rotations that are not over: their stage, who has not got it yet, and the next command."""
    session.ui.table(Table("rotations", HEADER, tuple(map(_row, session.client.rotations()))))


def _row(row: dict[str, Any]) -> tuple[Any, ...]:
    waiting = tuple(
        (f"{item['deployment']}: {item['instance']}" if item["instance"] else item["deployment"])
        + f" at stage {item['stage']}" + (f", {item['why']}" if item["why"] else "")
        for item in row["waiting"])
    return (
        row["name"], f"{row['stage']} of {row['stages']}", row["state"], _certificate(row["signing"]), _certificate(row["transitional"]),
        waiting, Cell(row["next"], "good" if row["ready"] else ""), row["started_at"], row["user"],
    )


def _certificate(told: dict[str, Any] | None) -> str | None:
    """`old, ends 2027-01-01, 5f3a...`"""
    return f"{told['version']}, ends {told['expiry_date'][:10]}, {told['fingerprint'][:12]}" if told else None
