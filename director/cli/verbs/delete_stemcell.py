"""`delete-stemcell`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import pair_of, verb
from director.errors import TaskError


@verb(examples=("caisson delete-stemcell debian-12/1.0",))
@click.argument("slug", metavar="NAME/VERSION")
@click.option("--force", is_flag=True, help="Go on over errors")
def command(session: Session, slug: str, force: bool) -> None:
    """Delete a stemcell."""
    name, version = pair_of(slug)
    session.client  # noqa: B018 - says which environment before it asks
    session.ui.confirm()
    try:
        session.follow(session.client.delete_stemcell(name, version, force=force))
    except TaskError:
        if any((row["name"], row["version"]) == (name, version) for row in session.client.stemcells()):
            raise
