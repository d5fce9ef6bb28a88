"""`runtime-config`."""

from __future__ import annotations

import click

from director.cli import config_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson runtime-config --name dns",))
@click.option("--name", default="", help="Name of the config [default]")
def command(session: Session, name: str) -> None:
    """Show the runtime config."""
    config_change.show(session, "runtime", name or "default")
