"""`finalize-release`."""

from __future__ import annotations

import pathlib

import click

from director.cli import release_dir
from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson finalize-release nats-0+dev.7.tgz --version 1.2.0",))
@click.argument("path", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@release_dir.option
@click.option("--name", default="", help="Another name than that of the archive")
@click.option("--version", default="", help="Another version than the next one")
@click.option("--force", is_flag=True, help="Go on with uncommitted changes")
def command(session: Session, path: pathlib.Path, directory: pathlib.Path, name: str, version: str, force: bool) -> None:
    """Make a final release of an archive that was tested."""
    from director.release import finalize

    made = finalize.finalize_release(directory, path, name=name, version=version, force=force)
    mark = "+" if made.uncommitted_changes else ""
    manifest = directory / "releases" / made.name / f"{made.name}-{made.version}.yml"
    row = (made.name, made.version, f"{made.commit_hash}{mark}", str(manifest))
    session.ui.table(Table("", ("Name", "Version", "Commit Hash", "Manifest"), (row,), transpose=True))
