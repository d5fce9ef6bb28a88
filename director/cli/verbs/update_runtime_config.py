"""`update-runtime-config`: uploads the releases it names by address first."""

from __future__ import annotations

import click

from director.cli import config_change, manifest_releases, templates
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson update-runtime-config manifests/runtime-configs/dns.yml --name dns",))
@click.argument("path")
@templates.options
@click.option("--name", default="", help="Name of the config [default]")
@click.option("--no-redact", is_flag=True, help="Show values of properties in the difference")
@click.option("--fix-releases", is_flag=True, help="Upload releases again even when they are there")
def command(session: Session, path: str, name: str, no_redact: bool, fix_releases: bool, sources: templates.Sources) -> None:
    """Update the runtime config."""
    made = manifest_releases.upload(session, templates.evaluate(path, sources), fix=fix_releases)
    config_change.update(session, "runtime", name or "default", made.text, redact=not no_redact)
