"""`clean-up`: what nothing uses any more."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson clean-up", "caisson clean-up --all --keep-orphaned-disks"))
@click.option("--all", "everything", is_flag=True, help="Keep no unused release or stemcell, and no orphaned disk")
@click.option("--keep-orphaned-disks", is_flag=True, help="With --all: keep the disks")
@click.option("--dry-run", is_flag=True, help="Only list what would go")
def command(session: Session, everything: bool, keep_orphaned_disks: bool, dry_run: bool) -> None:
    """Delete unused releases, stemcells and leftovers."""
    if dry_run:
        import json

        query = [("remove_all", "true" if everything else "false"), ("keep_orphaned_disks", "true" if keep_orphaned_disks else "false")]
        session.ui.block(json.dumps(session.client.get("/cleanup/dryrun", *query), indent=2) + "\n", kind="text")
        return
    session.client  # noqa: B018 - says which environment before it asks
    session.ui.confirm()
    session.follow(session.client.clean_up(remove_all=everything, keep_orphaned_disks=keep_orphaned_disks))
