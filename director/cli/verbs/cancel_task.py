"""`cancel-task`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson cancel-task 12",))
@click.argument("id", type=int)
def command(session: Session, id: int) -> None:
    """Cancel a task; it stops at the next safe place."""
    session.client.task(id)
    session.client.cancel_task(id)
