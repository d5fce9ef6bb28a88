"""`diff-config`."""

from __future__ import annotations

from typing import Any

import click

from director.cli import diffs
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=("caisson diff-config --from-id 3 --to-id 4", "caisson diff-config --from-id 3 --to-content new.yml"))
@click.option("--from-id", help="ID of the one")
@click.option("--to-id", help="ID of the other")
@click.option("--from-content", type=click.File(encoding="utf-8"), help="A file as the one")
@click.option("--to-content", type=click.File(encoding="utf-8"), help="A file as the other")
def command(session: Session, from_id: str | None, to_id: str | None, from_content: Any, to_content: Any) -> None:
    """Compare two configs."""
    if bool(from_id) == bool(from_content) or bool(to_id) == bool(to_content):
        raise UsageError("Give exactly one of --from-id and --from-content, and one of --to-id and --to-content")
    sides = {"from": _side(from_id, from_content), "to": _side(to_id, to_content)}
    diffs.show(session.ui, session.client.diff_config(sides)["diff"])


def _side(config_id: str | None, content: Any) -> dict[str, str]:
    return {"id": config_id or "", "content": content.read() if content else ""}
