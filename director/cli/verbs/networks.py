"""`networks`: those that were made for deployments, and that no deployment uses any more."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=("caisson networks --orphaned",))
@click.option("-o", "--orphaned", is_flag=True, help="Needed: only orphaned networks can be listed")
def command(session: Session, orphaned: bool) -> None:
    """List managed networks that no deployment uses any more."""
    if not orphaned:
        raise UsageError("Only --orphaned is supported", suggestion="'caisson networks --orphaned' lists networks that nothing uses.")
    rows = sorted(
        (
            (row["name"], row.get("type"), row.get("created_at"), row.get("orphaned_at"))
            for row in session.client.orphaned_networks()
        ),
        key=lambda row: str(row[3] or ""),
    )
    session.ui.table(Table("networks", ("Name", "Type", "Created At", "Orphaned At"), tuple(rows)))
