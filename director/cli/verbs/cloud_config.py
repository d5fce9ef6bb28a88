"""`cloud-config`."""

from __future__ import annotations

import click

from director.cli import config_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson cloud-config",))
@click.option("--name", default="", help="Name of the config [default]")
def command(session: Session, name: str) -> None:
    """Show the cloud config."""
    config_change.show(session, "cloud", name or "default")
