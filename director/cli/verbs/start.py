"""`start`."""

from __future__ import annotations

from director.cli import state_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app start", "caisson -d app start web/0"))
@state_change.options
def command(session: Session, slug: str, canaries: str | None, max_in_flight: str | None, converge: bool, dry_run: bool) -> None:
    """Start instances."""
    query = {"canaries": canaries, "max_in_flight": max_in_flight, "dry_run": dry_run}
    state_change.change(session, slug, converge, "started", "start", query, {})
