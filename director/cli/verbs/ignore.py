"""`ignore`."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import instance_of, verb


@verb(examples=("caisson -d app ignore web/0",))
@click.argument("slug", metavar="INSTANCE-GROUP/INSTANCE-ID")
def command(session: Session, slug: str) -> None:
    """Leave an instance as it is in all later deploys, until it is unignored."""
    group, instance = instance_of(slug)
    session.client.ignore(session.deployment(), group, instance, ignored=True)
