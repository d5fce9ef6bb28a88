"""`variables`: names and ids, never values."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb

HEADER = ("Name", "Type", "Versions", "Created", "In Use By", "CA", "Expires", "Days Left", "Rotation")


@verb(examples=("caisson -d app variables", "caisson -d app variables --details", "caisson variables --details --type certificate"))
@click.option("--details", is_flag=True, help="Type, versions, who uses which, CA and end; without -d of all deployments")
@click.option("--type", "kind", help="With --details: only of this type")
def command(session: Session, details: bool, kind: str | None) -> None:
    """List the variables of a deployment; values are never shown."""
    if details or kind:
        name = session.flags.deployment and session.deployment()
        rows = [row for row in session.client.variable_details(name) if not kind or row["type"] == kind]
        session.ui.table(Table("variables", HEADER, tuple(map(_row, rows))))
        return
    pairs = sorted(((str(row["id"]), str(row["name"])) for row in session.client.variables(session.deployment())), key=lambda row: row[1])
    session.ui.table(Table("variables", ("ID", "Name"), tuple(pairs)))


def _row(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["name"], row["type"], row["versions"], row["created_at"], tuple(map(use_text, row["uses"])), row["ca"], row["expiry_date"],
        row["days_left"], f"stage {row['rotation']} of 3" if row["rotation"] else None,
    )


def use_text(use: dict[str, Any]) -> str:
    """`app`, `app (an older version)`, `app (an older version on web/UUID (0))`."""
    if use["current"]:
        return str(use["deployment"]) + ("" if use["latest"] else " (an older version)")
    which = "the newest" if use["latest"] else "an older version"
    return f"{use['deployment']} ({which} on {', '.join(use['instances'])})"
