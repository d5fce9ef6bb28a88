"""`releases`."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.release import versions


@verb(examples=("caisson releases",))
def command(session: Session) -> None:
    """List releases; a star marks versions in use, a plus those made from uncommitted changes."""
    rows = []
    for release in session.client.releases():
        for item in sorted(release["release_versions"], key=lambda row: versions.parse(str(row["version"])), reverse=True):
            version = f"{item['version']}{'*' if item.get('currently_deployed') else ''}"
            rows.append((release["name"], version, f"{item.get('commit_hash', '')}{'+' if item.get('uncommitted_changes') else ''}"))
    notes = ("(*) Currently deployed", "(+) Uncommitted changes")
    session.ui.table(Table("releases", ("Name", "Version", "Commit Hash"), tuple(rows), notes, fill_first=False))
