"""`rotate`: a new value for a variable; for a CA the next of three steps."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.cli.verbs.run_errand import results_of


@verb(examples=(
    "caisson -d app rotate database_password",
    "caisson -d app rotate ca --dry-run",
    "caisson rotate /shared/ca",
    "caisson rotate /shared/ca --undo",
))  # fmt: skip
@click.argument("name")
@click.option("--undo", is_flag=True, help="Take the last step of a CA's rotation back")
@click.option("--dry-run", is_flag=True, help="Change nothing; show which machines the next deploy would update")
def command(session: Session, name: str, undo: bool, dry_run: bool) -> None:
    """Give a variable a new value, which the next deploy brings to the machines.

    A CA is rotated in three steps with a deploy after each, so that everybody trusts everybody at every moment: (1) the new CA is trusted
    beside the old one, (2) it signs, (3) the old one is dropped. Each call takes the next step, and is refused as long as there are
    machines without the one before. 'caisson rotations' shows where you are.
    """
    if not name.startswith("/"):
        session.deployment()
    session.client  # noqa: B018 - says which environment before it asks
    if not dry_run:
        session.ui.confirm()
    found = results_of(session.follow(session.client.rotate(name, session.flags.deployment, undo=undo, dry_run=dry_run)))
    for told in found:
        _show(session, told)


def _show(session: Session, told: dict[str, Any]) -> None:
    if told["stage"]:
        session.ui.line(f"'{told['name']}': stage {told['after']} of 3, {told['stage']}")
    header = ("Name", "ID", "What") if not told["dry_run"] else ("Name", "What")
    rows = tuple(tuple(item[key] for key in ("name", "id", "what") if key != "id" or not told["dry_run"]) for item in told["versions"])
    session.ui.table(Table("new versions", header, rows))
    for plan in told.get("plans", ()):
        session.ui.block(plan["text"].rstrip("\n") + "\n", kind="text")
    if told["dry_run"]:
        session.ui.line("Nothing was changed.")
        return
    for name in told["deployments"]:
        session.ui.line(f"Deploy it now: caisson -d {name} deploy MANIFEST")
    if 0 < told["after"] < 3:
        session.ui.line(f"Then go on: caisson rotate {told['name']}")
