"""`log-in`: check credentials and remember them."""

from __future__ import annotations

from director.cli import settings
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError

TRIES = 3


@verb(examples=("caisson -e prod log-in", "caisson -e prod log-in --client admin --client-secret ..."))
def command(session: Session) -> None:
    """Log in and remember the credentials."""
    endpoint = session.endpoint()
    kind = str((session.client_of(endpoint).info().get("user_authentication") or {}).get("type"))
    if kind != "basic":
        raise UsageError(f"Unknown auth type '{kind}'", suggestion="This command line knows 'basic'; the 'bosh' command knows UAA.")
    given = bool(session.flags.client and session.flags.client_secret)
    for _ in range(1 if given else TRIES):
        user = session.flags.client or session.ui.ask("Username")
        secret = session.flags.client_secret or session.ui.ask("Password", hidden=True)
        client = session.client_of(endpoint)
        client.log_in_as(user, secret)
        if client.info().get("user"):
            entry = session.settings.find(session.flags.environment) or {}
            url = str(entry.get("url") or settings.url_of(session.flags.environment))
            session.settings.store(url, ca_cert=endpoint.ca_cert or None, username=user, password=secret)
            session.ui.line(f"Successfully authenticated with '{session.flags.environment}'", "good")
            return
        session.ui.error(f"Failed to login to '{session.flags.environment}'")
    raise UsageError(
        "Invalid credentials",
        suggestion="Ask the operator of the director for a user; on this computer 'caisson director start' makes one.",
    )
