"""`remove-blob`."""

from __future__ import annotations

import pathlib

import click

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson remove-blob golang/go1.21.tgz",))
@click.argument("name", metavar="BLOBS-PATH")
@release_dir.option
def command(session: Session, name: str, directory: pathlib.Path) -> None:
    """Remove a blob from a release directory."""
    from director.release import blobs

    blobs.remove(directory, name)
    session.ui.line(f"Removed blob '{name}'")
