"""`update-cpi-config`."""

from __future__ import annotations

import click

from director.cli import config_change, templates
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson update-cpi-config cpis.yml -l credentials.yml",))
@click.argument("path")
@templates.options
@click.option("--no-redact", is_flag=True, help="Show values of properties in the difference")
@click.option("--force", is_flag=True, help=config_change.FORCE)
def command(session: Session, path: str, no_redact: bool, force: bool, sources: templates.Sources) -> None:
    """Update the CPI config."""
    config_change.update(session, "cpi", "default", templates.evaluate(path, sources).text, force=force, redact=not no_redact)
