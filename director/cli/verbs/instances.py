"""`instances`: what is wanted, where it runs and what it says of itself."""

from __future__ import annotations

import click

from director.cli import instance_rows
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app instances", "caisson -d app instances --ps --vitals", "caisson instances --failing --json"))
@click.option("-i", "--details", is_flag=True, help="Show cloud ids, disks, agents")
@click.option("--vitals", is_flag=True, help="Show load, memory and disks")
@click.option("-p", "--ps", "processes", is_flag=True, help="Show processes")
@click.option("-f", "--failing", is_flag=True, help="Show only what is not well")
def command(session: Session, details: bool, vitals: bool, processes: bool, failing: bool) -> None:
    """List instances and what they say of themselves."""
    choice = instance_rows.Choice(details, vitals, processes, failing)
    for name, rows in instance_rows.fetch(session, "instances"):
        session.ui.table(instance_rows.instances_table(name, rows, choice))
