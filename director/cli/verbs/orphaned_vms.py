"""`orphaned-vms`: machines that no instance has any more, and that are still there."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson orphaned-vms",))
def command(session: Session) -> None:
    """List machines that were replaced and wait to be deleted; their addresses are free only then."""
    rows = sorted(
        (
            (
                row["cid"],
                row.get("deployment_name"),
                row.get("instance_name"),
                row.get("az"),
                "\n".join(row.get("ip_addresses") or ()),
                row.get("orphaned_at"),
            )
            for row in session.client.orphaned_vms()
        ),
        key=lambda row: str(row[5] or ""),
    )
    session.ui.table(Table("orphaned_vms", ("VM CID", "Deployment", "Instance", "AZ", "IPs", "Orphaned At"), tuple(rows)))
