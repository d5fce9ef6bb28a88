"""`delete-disk`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson delete-disk disk-1f0c",))
@click.argument("cid")
def command(session: Session, cid: str) -> None:
    """Delete an orphaned disk with what is on it."""
    session.client  # noqa: B018 - says which environment before it asks
    session.ui.confirm(f"Delete disk '{cid}'?")
    session.follow(session.client.delete_disk(cid))
