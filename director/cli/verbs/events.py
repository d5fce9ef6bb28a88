"""`events`: who did what."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb
from director.cli.verbs.tasks import when
from director.plan.explain import reason_text
from director.plan.outline import reason_of


def row_of(event: dict[str, Any]) -> tuple[Any, ...]:
    number = f"{event['id']} <- {event['parent_id']}" if event.get("parent_id") else event["id"]
    context = "\n".join(f"{key}: {_plain(value)}" for key, value in sorted((event.get("context") or {}).items()))
    names = ("user", "action", "object_type", "object_name", "task", "deployment", "instance")
    return (number, when(event.get("timestamp")), *(event.get(name) for name in names), context, event.get("error"))


def _plain(value: Any) -> str:
    return ", ".join(_item(item) for item in value) if isinstance(value, list) else str(value)


def _item(value: Any) -> str:
    """Reasons of our own director as `caisson why` tells them."""
    return reason_text(reason_of(value)) if isinstance(value, dict) and "kind" in value else str(value)


HEADER = ("ID", "Time", "User", "Action", "Object Type", "Object Name", "Task ID", "Deployment", "Instance", "Context", "Error")


@verb(examples=("caisson events --task 12", "caisson -d app events --action delete"))
@click.option("--before-id", help="Older than this event")
@click.option("--before", "before_time", help="Before this time")
@click.option("--after", "after_time", help="After this time")
@click.option("--task", help="Of this task")
@click.option("--instance", help="Of this instance, GROUP/ID")
@click.option("--event-user", "user", help="By this user")
@click.option("--action", help="This action")
@click.option("--object-type", help="On this type of thing")
@click.option("--object-name", help="On this thing")
def command(session: Session, **query: Any) -> None:
    """List what was done by whom, the newest first."""
    if session.flags.deployment:
        query["deployment"] = session.flags.deployment
    session.ui.table(Table("events", HEADER, tuple(map(row_of, session.client.events(query)))))
