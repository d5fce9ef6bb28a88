"""`deployments`: all of them, with what they use."""

from __future__ import annotations

from typing import Any

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


def pairs(items: list[dict[str, Any]] | None) -> tuple[str, ...]:
    return tuple(sorted(f"{item['name']}/{item['version']}" for item in items or []))


@verb(examples=("caisson deployments", "caisson ds --json"))
def command(session: Session) -> None:
    """List deployments."""
    rows = tuple(
        (row["name"], pairs(row.get("releases")), pairs(row.get("stemcells")), tuple(row.get("teams") or ()))
        for row in session.client.deployments()
    )
    session.ui.table(Table("deployments", ("Name", "Release(s)", "Stemcell(s)", "Team(s)"), rows))
