"""`stop`."""

from __future__ import annotations

import click

from director.cli import state_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app stop web", "caisson -d app stop web/0 --hard"))
@state_change.options
@state_change.skip_drain
@click.option("--soft", is_flag=True, help="Keep the machines (this is what happens anyway)")
@click.option("--hard", is_flag=True, help="Delete the machines, keep the disks")
def command(
    session: Session, slug: str, canaries: str | None, max_in_flight: str | None, converge: bool, skip_drain: bool, dry_run: bool,
    soft: bool, hard: bool,
) -> None:
    """Stop instances; they stay stopped over later deploys, until 'start'."""
    query = {"skip_drain": skip_drain, "canaries": canaries, "max_in_flight": max_in_flight, "dry_run": dry_run}
    state_change.change(session, slug, converge, "detached" if hard else "stopped", "stop", query, {"skip_drain": skip_drain, "hard": hard})
