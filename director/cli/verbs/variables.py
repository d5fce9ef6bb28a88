"""`variables`: names and ids, never values."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson -d app variables",))
def command(session: Session) -> None:
    """List the variables of a deployment; values are never shown."""
    rows = sorted(((str(row["id"]), str(row["name"])) for row in session.client.variables(session.deployment())), key=lambda row: row[1])
    session.ui.table(Table("variables", ("ID", "Name"), tuple(rows)))
