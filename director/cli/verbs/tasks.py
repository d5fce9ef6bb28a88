"""`tasks`: those under way, or the last ones."""

from __future__ import annotations

import datetime
from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Cell, Table
from director.cli.verb import verb

LOOKS = {"done": "good", "error": "bad", "timeout": "bad", "cancelled": "bad"}


def when(seconds: float | None) -> str:
    """`Mon Nov 23 05:14:00 UTC 2026`, or `-` for none."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%a %b %e %H:%M:%S UTC %Y") if seconds else "-"


def table_of(rows: list[dict[str, Any]]) -> Table:
    """Tasks as rows."""
    header = ("ID", "State", "Started At", "Finished At", "User", "Deployment", "Description", "Result")
    cells = tuple(
        (
            row["id"], Cell(row["state"], LOOKS.get(row["state"], "")), when(row.get("started_at")), when(row.get("timestamp")),
            row.get("user"), row.get("deployment"), row.get("description"), row.get("result"),
        )
        for row in rows
    )
    return Table("tasks", header, cells)


@verb(examples=("caisson tasks", "caisson -d app tasks --recent=10"), optional={"-r": "30", "--recent": "30"})
@click.option("-r", "--recent", type=int, help="The last ones, ended too [30 when given without a number]")
@click.option("-a", "--all", "everything", is_flag=True, help="Reads such as logs and ssh too")
def command(session: Session, recent: int | None, everything: bool) -> None:
    """List tasks."""
    query: dict[str, Any] = {"state": "processing,cancelling,queued", "verbose": 2}
    if recent is not None:
        query = {"limit": recent, "verbose": 2 if everything else 1}
    if session.flags.deployment:
        query["deployment"] = session.flags.deployment
    rows = sorted(session.client.tasks(query), key=lambda row: -row["id"])
    session.ui.table(table_of(rows))
