"""`configs`."""

from __future__ import annotations

import click

from director.cli import config_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson configs", "caisson configs --type cloud --recent=5"), optional={"-r": "1", "--recent": "1"})
@click.option("--name", help="Only this name")
@click.option("--type", "type_", help="Only this type")
@click.option("-r", "--recent", type=int, default=1, help="So many versions of each [1]")
def command(session: Session, name: str | None, type_: str | None, recent: int) -> None:
    """List configs; a star marks those in force."""
    rows = session.client.configs({"type": type_, "name": name, "limit": recent, "latest": "true" if recent == 1 else "false"})
    session.ui.table(config_change.table_of(rows))
