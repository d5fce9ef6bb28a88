"""`unalias-env`: forget a name."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.diagnostics import did_you_mean
from director.errors import UsageError


@verb(examples=("caisson unalias-env prod",))
@click.argument("alias")
def command(session: Session, alias: str) -> None:
    """Forget an alias with its certificate and credentials."""
    known = [str(entry["alias"]) for entry in session.settings.entries() if entry.get("alias")]
    if not session.settings.forget(alias):
        raise UsageError(
            f"There is no environment '{alias}'", suggestion=did_you_mean(alias, known) or "'caisson environments' lists them."
        )
