"""`delete-deployment`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.errors import TaskError


@verb(examples=("caisson -d app delete-deployment",))
@click.option("--force", is_flag=True, help="Go on where a machine or disk cannot be deleted")
def command(session: Session, force: bool) -> None:
    """Delete a deployment with its machines; its persistent disks stay, orphaned."""
    name = session.deployment()
    if not force and name not in {row["name"] for row in session.client.deployments()}:
        session.ui.line(f"Deployment '{name}' does not exist; nothing to delete.")
        return
    session.ui.confirm()
    try:
        session.follow(session.client.delete_deployment(name, force=force))
    except TaskError:
        if name in {row["name"] for row in session.client.deployments()}:
            raise
