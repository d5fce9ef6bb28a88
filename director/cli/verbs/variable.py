"""`variable`: one of them: its versions, and its value for who asks for it."""

from __future__ import annotations

import json
from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.cli.verbs.variables import use_text
from director.errors import UsageError


@verb(examples=(
    "caisson -d cf variable cf_admin_password",
    "caisson -d cf variable cf_admin_password --reveal",
    "caisson -d app variable web_tls --reveal --path certificate",
))  # fmt: skip
@click.argument("name")
@click.option("--reveal", is_flag=True, help="Print the value; an event tells who asked for it")
@click.option("--path", "key", help="With --reveal: only this key of a certificate, key or user")
@click.option("--id", "version", default="", help="With --reveal: this version instead of the newest")
def command(session: Session, name: str, reveal: bool, key: str | None, version: str) -> None:
    """Show the versions of a variable and who uses them, or with --reveal its value."""
    deployment = "" if name.startswith("/") else session.deployment()
    if not reveal:
        if key or version:
            raise UsageError("--path and --id go with --reveal")
        full = name if name.startswith("/") else f"/{session.client.info()['name']}/{deployment}/{name}"
        rows = [
            (row["id"], row["type"], row["created_at"], tuple(map(use_text, row["uses"])), row["expiry_date"])
            for row in session.client.variable_versions(full)]
        session.ui.table(Table("versions", ("ID", "Type", "Created", "In Use By", "Expires"), tuple(rows)))
        return
    value = session.client.reveal_variable(name, deployment, version)["value"]
    session.ui.block(_text(value if key is None else _at(value, key), raw=not session.flags.json), kind="text")


def _at(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        known = f"Its keys: {', '.join(sorted(value))}." if isinstance(value, dict) else "It is no map."
        raise UsageError(f"The value has no '{key}'", suggestion=known)
    return value[key]


def _text(value: Any, *, raw: bool) -> str:
    if raw and isinstance(value, str):
        return value if value.endswith("\n") else value + "\n"
    return json.dumps(value, indent=2) + "\n"
