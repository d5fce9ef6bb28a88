"""`delete-release`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.errors import TaskError


@verb(examples=("caisson delete-release nats/1.0.0", "caisson delete-release nats"))
@click.argument("slug", metavar="NAME[/VERSION]")
@click.option("--force", is_flag=True, help="Go on over errors")
def command(session: Session, slug: str, force: bool) -> None:
    """Delete a release, or one version of it."""
    name, _slash, version = slug.partition("/")
    session.client  # noqa: B018 - says which environment before it asks
    session.ui.confirm()
    try:
        session.follow(session.client.delete_release(name, version, force=force))
    except TaskError:
        left = next((row for row in session.client.releases() if row["name"] == name), None)
        if left and (not version or version in {item["version"] for item in left["release_versions"]}):
            raise
