"""`cpi-config`."""

from __future__ import annotations

from director.cli import config_change
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson cpi-config",))
def command(session: Session) -> None:
    """Show the CPI config."""
    config_change.show(session, "cpi", "default")
