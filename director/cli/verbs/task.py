"""`task`: show one and follow it to its end."""

from __future__ import annotations

from typing import Any

import click

from director.cli import follow
from director.cli.session import Session
from director.cli.verb import verb
from director.cli.verbs import tasks
from director.errors import NotFoundError


@verb(examples=("caisson task", "caisson task 12", "caisson task 12 --debug"))
@click.argument("id", type=int, required=False)
@click.option("--event", "raw", flag_value="event", help="The event lines as they are")
@click.option("--cpi", "raw", flag_value="cpi", help="What was asked of the cloud")
@click.option("--debug", "raw", flag_value="debug", help="The whole log")
@click.option("--result", "raw", flag_value="result", help="The result")
@click.option("-a", "--all", "everything", is_flag=True, help="Without ID: reads such as logs and ssh too")
def command(session: Session, id: int | None, raw: str | None, everything: bool) -> None:
    """Show a task and follow it; without ID the one under way."""
    task = session.client.task(id) if id is not None else _current(session, everything)
    session.ui.table(tasks.table_of([task])) if session.flags.json else None
    reporter = follow.RawReporter(session.ui) if raw else follow.EventReporter(session.ui)
    follow.follow(session.client, task, reporter, kind=raw or "event")


def _current(session: Session, everything: bool) -> dict[str, Any]:
    query: dict[str, Any] = {"state": "processing,cancelling,queued", "verbose": 2 if everything else 1}
    if session.flags.deployment:
        query["deployment"] = session.flags.deployment
    found = session.client.tasks(query)
    if not found:
        raise NotFoundError("No task found", suggestion="'caisson tasks --recent' lists those that ended.")
    return found[0]
