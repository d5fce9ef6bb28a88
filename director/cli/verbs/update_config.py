"""`update-config`."""

from __future__ import annotations

import click

from director.cli import config_change, templates
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson update-config cloud.yml --type cloud --name default",))
@click.argument("path")
@click.option("--type", "type_", required=True, help="cloud, runtime, cpi, resurrection, deploy ...")
@click.option("--name", required=True, help="Name of the config")
@click.option("--expected-latest-id", help="Fail when the latest one is another")
@templates.options
@click.option("--force", is_flag=True, help=config_change.FORCE)
def command(
    session: Session, path: str, type_: str, name: str, expected_latest_id: str | None, force: bool, sources: templates.Sources,
) -> None:
    """Update a config."""
    config_change.update(session, type_, name, templates.evaluate(path, sources).text, expected_latest_id, force=force)
