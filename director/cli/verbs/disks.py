"""`disks`: those that no instance has any more."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=("caisson disks --orphaned",))
@click.option("-o", "--orphaned", is_flag=True, help="Needed: only orphaned disks can be listed")
def command(session: Session, orphaned: bool) -> None:
    """List orphaned disks."""
    if not orphaned:
        raise UsageError(
            "Only --orphaned is supported",
            suggestion="'caisson disks --orphaned' lists disks without an instance; 'caisson instances --details' shows the others.",
        )
    rows = sorted(
        (
            (
                row["disk_cid"],
                f"{row['size']} MiB" if row.get("size") else None,
                row.get("deployment_name"),
                row.get("instance_name"),
                row.get("az"),
                row.get("orphaned_at"),
            )
            for row in session.client.orphaned_disks()
        ),
        key=lambda row: str(row[5] or ""),
    )
    session.ui.table(Table("disks", ("Disk CID", "Size", "Deployment", "Instance", "AZ", "Orphaned At"), tuple(rows)))
