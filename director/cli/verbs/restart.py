"""`restart`."""

from __future__ import annotations

from director.cli import state_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app restart web",))
@state_change.options
@state_change.skip_drain
def command(
    session: Session, slug: str, canaries: str | None, max_in_flight: str | None, converge: bool, skip_drain: bool, dry_run: bool
) -> None:
    """Restart the processes of instances."""
    query = {"skip_drain": skip_drain, "canaries": canaries, "max_in_flight": max_in_flight, "dry_run": dry_run}
    state_change.change(session, slug, converge, "restart", "restart", query, {"skip_drain": skip_drain})
