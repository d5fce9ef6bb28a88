"""`set-variable`: a value that was made elsewhere."""

from __future__ import annotations

from typing import Any

import click

from director.cli import templates
from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.errors import UsageError

TEXTS = ("password", "value")


@verb(examples=(
    "caisson set-variable /cloud/secret_key",
    "caisson -d app set-variable license --type value --file license.txt",
    "caisson set-variable /shared/ca --type certificate --file ca.yml",
    "pass show db | caisson -d app set-variable db_password --file -",
))  # fmt: skip
@click.argument("name")
@click.option("--type", "kind", default="password", help="password, value, json, certificate, rsa, ssh or user [password]")
@click.option("--file", "path", help="The value: text for password and value (a last newline is dropped), else YAML; - reads it here")
def command(session: Session, name: str, kind: str, path: str | None) -> None:
    """Set the value of a variable, for what cannot be made here: credentials of clouds, keys and certificates of others.

    Without --file it is asked for, and not shown. It is never an argument, since other users of this computer see those. A certificate's
    YAML has `certificate`, `private_key` and `ca` (which may be left out for a CA, and for what a CA of this director signed).
    """
    if not name.startswith("/"):
        session.deployment()
    session.client  # noqa: B018 - says which environment before it asks
    made = session.client.set_variable(name, session.flags.deployment, kind, _value(session, kind, path))
    session.ui.table(Table("variables", ("ID", "Name", "Type"), ((made["id"], made["name"], made["type"]),)))


def _value(session: Session, kind: str, path: str | None) -> Any:
    if path is None:
        if kind not in TEXTS:
            raise UsageError(f"A value of type '{kind}' is read from a file", suggestion="Give --file PATH, or --file - and write it here.")
        return session.ui.ask("Value", hidden=True)
    text = templates.read(path)
    if kind in TEXTS:
        return text.removesuffix("\n")
    from director.manifest.load import load_yaml

    return load_yaml(text, path).tree
