"""`errands`."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson -d app errands",))
def command(session: Session) -> None:
    """List errands."""
    rows = sorted((str(row["name"]),) for row in session.client.errands(session.deployment()))
    session.ui.table(Table("errands", ("Name",), tuple(rows)))
