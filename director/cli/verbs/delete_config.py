"""`delete-config`."""

from __future__ import annotations

import click

from director.cli import config_change
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=("caisson delete-config 12", "caisson delete-config --type runtime --name dns"))
@click.argument("id", required=False)
@click.option("--type", "type_", default="", help="Type of the config")
@click.option("--name", default="", help="Name of the config")
@click.option("--force", is_flag=True, help=config_change.FORCE)
def command(session: Session, id: str | None, type_: str, name: str, force: bool) -> None:
    """Delete a config: one version by ID, or all of a type and name."""
    if bool(id) == bool(type_ and name):
        raise UsageError("Either ID or --type and --name must be given")
    session.client  # noqa: B018 - says which environment before it asks
    session.ui.confirm()
    if not session.client.delete_config(config_id=id or "", type_=type_, name=name, force=force):
        what = f"an ID equal to '{id}'" if id else f"type equal to '{type_}' and name equal to '{name}'"
        session.ui.line(f"No configs to delete: no matches for {what} found.")
