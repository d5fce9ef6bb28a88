"""`add-blob`."""

from __future__ import annotations

import pathlib

import click

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson add-blob ~/Downloads/go1.22.tgz golang/go1.22.tgz",))
@click.argument("path", type=click.Path(path_type=pathlib.Path))
@click.argument("name", metavar="BLOBS-PATH")
@release_dir.option
def command(session: Session, path: pathlib.Path, name: str, directory: pathlib.Path) -> None:
    """Add a large file to a release directory, which is not committed; upload-blobs uploads it."""
    from director.release import blobs

    session.ui.line(f"Added blob '{blobs.add(directory, path, name).path}'")
