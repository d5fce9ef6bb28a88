"""`stemcells`."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.release import versions


@verb(examples=("caisson stemcells",))
def command(session: Session) -> None:
    """List stemcells; a star marks those in use."""
    found = sorted(session.client.stemcells(), key=lambda row: versions.parse(str(row["version"])), reverse=True)
    found.sort(key=lambda row: str(row["name"]))
    rows = tuple(
        (
            row["name"],
            f"{row['version']}{'*' if row.get('deployments') else ''}",
            row.get("operating_system"),
            row.get("cpi"),
            row.get("cid"),
        )
        for row in found
    )
    session.ui.table(Table("stemcells", ("Name", "Version", "OS", "CPI", "CID"), rows, ("(*) Currently deployed",), fill_first=False))
