"""`event`: one of them."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.cli.verbs import events


@verb(examples=("caisson event 17",))
@click.argument("id")
def command(session: Session, id: str) -> None:
    """Show one event."""
    session.ui.table(Table("", events.HEADER, (events.row_of(session.client.event(id)),), transpose=True))
