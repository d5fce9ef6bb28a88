"""`environment`: who answers there and who we are to it."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Cell, Table
from director.cli.verb import verb


def table_of(info: dict[str, Any]) -> Table:
    """The director's `/info` as the `bosh` command shows it."""
    features = tuple(
        f"{name}: {'enabled' if state.get('status') else 'disabled'}" for name, state in sorted((info.get("features") or {}).items())
    )
    stemcell = "/".join(filter(None, (str(info.get("stemcell_os") or ""), str(info.get("stemcell_version") or ""))))
    header = ["Name", "UUID", "Version", *(["Director Stemcell"] if stemcell else []), "CPI", "Features", "User"]
    user = Cell(str(info["user"]), "good") if info.get("user") else Cell("(not logged in)", "bad")
    row = [info.get("name"), info.get("uuid"), info.get("version"), *([stemcell] if stemcell else []), info.get("cpi"), features, user]
    return Table("", tuple(header), (tuple(row),), transpose=True)


@verb(examples=("caisson -e local environment", "caisson -e https://10.0.0.6:25555 --ca-cert ca.pem env --json"))
@click.option("--details", is_flag=True, help="Show the certificates' expiry too")
def command(session: Session, details: bool) -> None:
    """Show the director's name, version and who you are."""
    session.ui.table(table_of(session.client.info()))
    if details:
        rows = session.client.get("/director/certificate_expiry")
        shown = tuple((row["certificate_path"], row["expiry"], row["days_left"]) for row in rows)
        session.ui.table(Table("certificates", ("Certificate", "Expiry", "Days Left"), shown))
