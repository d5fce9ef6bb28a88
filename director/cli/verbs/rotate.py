"""`rotate`: new values for variables; for a CA the next of three steps."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.cli.verbs.run_errand import results_of
from director.errors import UsageError


@verb(examples=(
    "caisson -d app rotate database_password",
    "caisson -d app rotate ca --dry-run",
    "caisson rotate /shared/ca",
    "caisson rotate /shared/ca --undo",
    "caisson -d cf rotate --signed-by service_cf_internal_ca",
))  # fmt: skip
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--signed-by", default="", metavar="CA", help="Instead of names: all certificates that this CA signed, but for CAs")
@click.option("--undo", is_flag=True, help="Take the last step of a CA's rotation back")
@click.option("--dry-run", is_flag=True, help="Change nothing; show which machines the next deploy would update")
def command(session: Session, names: tuple[str, ...], signed_by: str, undo: bool, dry_run: bool) -> None:
    """Give variables new values, which the next deploy brings to the machines.

    A CA is rotated in three steps with a deploy after each, so that everybody trusts everybody at every moment: (1) the new CA is trusted
    beside the old one, (2) it signs, (3) the old one is dropped. Each call takes the next step, and is refused as long as there are
    machines without the one before. 'caisson rotations' shows where you are.
    """
    if bool(names) == bool(signed_by):
        raise UsageError("Give the names of variables, or --signed-by CA", suggestion="'caisson variables --details' lists them.")
    if not all(name.startswith("/") for name in (*names, signed_by) if name):
        session.deployment()
    session.client  # noqa: B018 - says which environment before it asks
    if not dry_run:
        session.ui.confirm()
    task = session.client.rotate(names, signed_by, session.flags.deployment, undo=undo, dry_run=dry_run)
    for told in results_of(session.follow(task)):
        _show(session, told)


def _show(session: Session, told: dict[str, Any]) -> None:
    steps = told["steps"]
    for step in steps:
        if step["stage"]:
            session.ui.line(f"'{step['name']}': stage {step['after']} of 3, {step['stage']}")
    keys = ("name", "what") if told["dry_run"] else ("name", "id", "what")
    header = tuple({"name": "Name", "id": "ID", "what": "What"}[key] for key in keys)
    rows = tuple(tuple(item[key] for key in keys) for step in steps for item in step["versions"])
    session.ui.table(Table("new versions", header, rows))
    for plan in told.get("plans", ()):
        session.ui.block(plan["text"].rstrip("\n") + "\n", kind="text")
    if told["dry_run"]:
        session.ui.line("Nothing was changed.")
        return
    for name in told["deployments"]:
        session.ui.line(f"Deploy it now: caisson -d {name} deploy MANIFEST")
    for step in steps:
        if 0 < step["after"] < 3:
            session.ui.line(f"Then go on: caisson rotate {step['name']}")
