"""`sha1ify-release`."""

from __future__ import annotations

import pathlib

import click

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson sha1ify-release nats.tgz nats-sha1.tgz",))
@click.argument("path", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.argument("destination", type=click.Path(dir_okay=False, path_type=pathlib.Path))
def command(session: Session, path: pathlib.Path, destination: pathlib.Path) -> None:
    """Write a release archive anew with SHA-1 digests."""
    from director.release import redigest

    redigest.redigest(path, destination, "sha1")
    session.ui.line(f"Wrote '{destination}'")
