"""`generate-package`."""

from __future__ import annotations

import pathlib

import click

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson generate-package nats-server",))
@click.argument("name")
@release_dir.option
def command(session: Session, name: str, directory: pathlib.Path) -> None:
    """Add a package to a release directory."""
    from director.release import scaffold

    session.ui.line(f"Made '{scaffold.generate_package(directory, name)}'")
