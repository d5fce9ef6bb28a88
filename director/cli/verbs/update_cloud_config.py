"""`update-cloud-config`."""

from __future__ import annotations

import click

from director.cli import config_change, templates
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson update-cloud-config manifests/cloud-configs/local.yml",))
@click.argument("path")
@templates.options
@click.option("--force", is_flag=True, help=config_change.FORCE)
@click.option("--name", default="", help="Name of the config [default]")
def command(session: Session, path: str, name: str, force: bool, sources: templates.Sources) -> None:
    """Update the cloud config."""
    config_change.update(session, "cloud", name or "default", templates.evaluate(path, sources).text, force=force)
