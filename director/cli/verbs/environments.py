"""`environments`: the aliases this command line knows."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson environments",))
def command(session: Session) -> None:
    """List environments with an alias."""
    rows = sorted((str(entry.get("url", "")), str(entry["alias"])) for entry in session.settings.entries() if entry.get("alias"))
    session.ui.table(Table("environments", ("URL", "Alias"), tuple(rows)))
