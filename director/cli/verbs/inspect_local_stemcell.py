"""`inspect-local-stemcell`: what an archive says of itself."""

from __future__ import annotations

import pathlib

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson inspect-local-stemcell debian-12.tgz",))
@click.argument("path", metavar="PATH-TO-STEMCELL", type=click.Path(path_type=pathlib.Path))
def command(session: Session, path: pathlib.Path) -> None:
    """Read a stemcell's manifest."""
    from director.release import stemcell

    with stemcell.read_stemcell(path) as found:
        kind = "light" if found.is_light else "heavy"
        row = (found.name, found.version, found.os, kind, "\n".join(found.formats), str(found.api_version), "\n".join(
            f"{key}: {value}" for key, value in sorted(found.cloud_properties.items())))
    header = ("Name", "Version", "OS", "Kind", "Formats", "API Version", "Cloud Properties")
    session.ui.table(Table("", header, (row,), transpose=True))
