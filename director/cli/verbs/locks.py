"""`locks`."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.cli.verbs.tasks import when


@verb(examples=("caisson locks",))
def command(session: Session) -> None:
    """List locks: what is held, by which task, until when."""
    rows = sorted(
        (str(row["type"]), ":".join(row["resource"]), str(row.get("task_id") or ""), when(float(row["timeout"])))
        for row in session.client.locks()
    )
    session.ui.table(Table("locks", ("Type", "Resource", "Task ID", "Expires at"), tuple(rows)))
