"""`config`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.errors import NotFoundError, UsageError


@verb(examples=("caisson config 12", "caisson config --type cloud --name default"))
@click.argument("id", required=False)
@click.option("--type", "type_", help="Type of the config")
@click.option("--name", help="Name of the config")
def command(session: Session, id: str | None, type_: str | None, name: str | None) -> None:
    """Show a config, by ID or by type and name."""
    from director.cli.client import DirectorError

    if bool(id) == bool(type_ and name):
        raise UsageError("Either ID or --type and --name must be given")
    try:
        found = [session.client.config(id)] if id else session.client.configs({"type": type_, "name": name, "limit": 1, "latest": "true"})
    except DirectorError as error:
        if error.status != 404:
            raise
        found = []
    if not found:
        raise NotFoundError("No config", suggestion="'caisson configs' lists them.")
    row = found[0]
    cells = (row["id"], row["type"], row["name"], row.get("created_at"), row["content"])
    session.ui.table(Table("", ("ID", "Type", "Name", "Created At", "Content"), (cells,), transpose=True))
