"""`cancel-tasks`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app cancel-tasks --state queued",))
@click.option("-t", "--type", "types", multiple=True, help="Only tasks of this type; may be given again")
@click.option("-s", "--state", "states", multiple=True, default=("queued",), help="Only tasks in this state [queued]")
def command(session: Session, types: tuple[str, ...], states: tuple[str, ...]) -> None:
    """Cancel many tasks."""
    selector: dict[str, object] = {"states": list(states)}
    if types:
        selector["types"] = list(types)
    if session.flags.deployment:
        selector["deployment"] = session.flags.deployment
    session.client.cancel_tasks(selector)
