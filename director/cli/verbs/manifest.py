"""`manifest`: the text last deployed."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app manifest > app.yml",))
def command(session: Session) -> None:
    """Show the manifest last deployed."""
    session.ui.block(session.client.manifest(session.deployment()), kind="text")
