"""`delete-network`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson delete-network app-network",))
@click.argument("name")
def command(session: Session, name: str) -> None:
    """Delete an orphaned network from the cloud."""
    session.client  # noqa: B018 - says which environment before it asks
    session.ui.confirm(f"Delete network '{name}'?")
    session.follow(session.client.delete_network(name))
