"""`log-out`: forget credentials."""

from __future__ import annotations

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -e prod log-out",))
def command(session: Session) -> None:
    """Forget the credentials of the environment."""
    session.endpoint()
    entry = session.settings.find(session.flags.environment)
    if entry:
        session.settings.store(
            str(entry["url"]), username=None, password=None, access_token=None, refresh_token=None, access_token_type=None
        )
    session.ui.line(f"Logged out from '{session.flags.environment}'")
