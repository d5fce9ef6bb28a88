"""`vms`: the machines."""

from __future__ import annotations

import click

from director.cli import instance_rows
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson -d app vms", "caisson vms --vitals"))
@click.option("--vitals", is_flag=True, help="Show load, memory and disks")
@click.option("--cloud-properties", is_flag=True, help="Show what the cloud was asked for")
def command(session: Session, vitals: bool, cloud_properties: bool) -> None:
    """List machines."""
    for name, rows in instance_rows.fetch(session, "vms"):
        session.ui.table(instance_rows.vms_table(name, rows, vitals=vitals, cloud_properties=cloud_properties))
