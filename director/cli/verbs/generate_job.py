"""`generate-job`."""

from __future__ import annotations

import pathlib

import click

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson generate-job nats",))
@click.argument("name")
@release_dir.option
def command(session: Session, name: str, directory: pathlib.Path) -> None:
    """Add a job to a release directory."""
    from director.release import scaffold

    session.ui.line(f"Made '{scaffold.generate_job(directory, name)}'")
