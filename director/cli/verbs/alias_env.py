"""`alias-env`: a name for a director."""

from __future__ import annotations

import click

from director.cli import settings
from director.cli.session import Session
from director.cli.verb import verb
from director.cli.verbs import environment


@verb(examples=("caisson alias-env prod -e 10.0.0.6 --ca-cert ca.pem",))
@click.argument("alias")
def command(session: Session, alias: str) -> None:
    """Give the director at -e an alias and remember its CA certificate."""
    endpoint = session.endpoint()
    entry = session.settings.find(session.flags.environment) or {}
    info = session.client_of(endpoint).info()
    session.settings.store(
        str(entry.get("url") or settings.url_of(session.flags.environment)), alias=alias, ca_cert=endpoint.ca_cert or None
    )
    session.ui.line(
        f"Using environment '{session.flags.environment}' as {'user ' + repr(info['user']) if info.get('user') else 'anonymous user'}"
    )
    session.ui.table(environment.table_of(info))
