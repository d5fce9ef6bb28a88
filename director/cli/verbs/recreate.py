"""`recreate`."""

from __future__ import annotations

import click

from director.cli import state_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app recreate db/0", "caisson -d app recreate --fix"))
@state_change.options
@state_change.skip_drain
@click.option("--fix", is_flag=True, help="Replace machines that do not answer too")
@click.option("--vms-created-before", help="Only machines older than this RFC 3339 time")
def command(
    session: Session,
    slug: str,
    canaries: str | None,
    max_in_flight: str | None,
    converge: bool,
    skip_drain: bool,
    fix: bool,
    vms_created_before: str | None,
    dry_run: bool,
) -> None:
    """Replace the machines of instances, keep their disks."""
    query = {
        "skip_drain": skip_drain,
        "fix": fix,
        "canaries": canaries,
        "max_in_flight": max_in_flight,
        "recreate_vms_created_before": vms_created_before,
        "dry_run": dry_run,
    }
    state_change.change(
        session, slug, converge, "recreate", "recreate", query, {"skip_drain": skip_drain, "ignore_unresponsive_agent": fix}
    )
