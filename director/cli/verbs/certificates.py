"""`certificates`: when they end, of one deployment or of all; for people and for pipelines."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Cell, Table
from director.cli.verb import verb

EXPIRING = 2
SOON = 30
HEADER = ("Name", "Days Left", "Expires", "CA", "Deployments", "Next")


@verb(examples=("caisson certificates", "caisson -d app certificates --expiring-within 30"))
@click.option("--expiring-within", "days", type=click.IntRange(min=0), metavar="DAYS",
              help="Only those that end within so many days; the exit code is 2 when there are any")  # fmt: skip
def command(session: Session, days: int | None) -> int:
    """List the certificates that deployments use, the first to end first, with what to do.

    Without a deployment those of all are listed, and the director's own.
    """
    wanted = session.flags.deployment
    if wanted:
        session.deployment()
    rows = [row for row in session.client.certificates() if not wanted or wanted in row["deployments"]]
    if not wanted:
        rows = sorted([*rows, *map(_own, session.client.own_certificates())], key=lambda row: str(row["expiry_date"]))
    chosen = [row for row in rows if days is None or row["days_left"] <= days]
    session.ui.table(Table("certificates", HEADER, tuple(_row(row, SOON if days is None else days) for row in chosen)))
    if days is None or not chosen:
        return 0
    count = f"{len(chosen)} certificates end" if len(chosen) > 1 else "A certificate ends"
    session.ui.line(f"{count} within {days} days. A CA takes everything with it that it signed: begin with CAs.", "warn")
    return EXPIRING


def _own(row: dict[str, Any]) -> dict[str, Any]:
    """The director's certificate in the shape of the others."""
    return {"name": f"the director's {row['certificate_path']}", "days_left": row["days_left"], "expiry_date": row["expiry"], "ca": None,
            "deployments": [], "latest": True, "own": True}


def _row(row: dict[str, Any], soon: int) -> tuple[Any, ...]:
    left = row["days_left"]
    return (
        row["name"], Cell(left, "bad" if left <= soon else ""), row["expiry_date"], row["ca"], tuple(row["deployments"]),
        _next(row) if left <= soon else None,
    )


def _next(row: dict[str, Any]) -> str | tuple[str, ...]:
    if row.get("own"):
        return "caisson director stop, then start: it renews its certificate"
    if not row["latest"]:
        return tuple(f"caisson -d {name} deploy MANIFEST" for name in row["deployments"])
    return f"caisson rotate {row['name']}"
