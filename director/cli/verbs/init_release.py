"""`init-release`."""

from __future__ import annotations

import pathlib

import click

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson init-release --dir nats-release --git",))
@release_dir.option
@click.option("--git", is_flag=True, help="Make a git repository of it")
def command(session: Session, directory: pathlib.Path, git: bool) -> None:
    """Make a release directory."""
    from director.release import scaffold

    name = scaffold.init_release(directory, git=git)
    session.ui.line(f"Made release '{name}' in '{directory}'")
