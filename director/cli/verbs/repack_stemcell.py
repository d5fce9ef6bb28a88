"""`repack-stemcell`."""

from __future__ import annotations

import pathlib

import click

from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson repack-stemcell debian-12.tgz debian-12-light.tgz --empty-image --format aws-light",))
@click.argument("path", metavar="PATH-TO-STEMCELL", type=click.Path(path_type=pathlib.Path))
@click.argument("result", metavar="PATH-TO-RESULT", type=click.Path(path_type=pathlib.Path))
@click.option("--name", default="", help="Another name")
@click.option("--version", default="", help="Another version")
@click.option("--empty-image", is_flag=True, help="Leave the image out: for a light stemcell")
@click.option("--format", "formats", multiple=True, help="Say that it has this format; may be given again")
def command(
    session: Session, path: pathlib.Path, result: pathlib.Path, name: str, version: str, empty_image: bool, formats: tuple[str, ...]
) -> None:
    """Write a stemcell archive anew with another name, version, format, or without its image."""
    from director.release import stemcell

    stemcell.repack(path, result, name=name, version=version, empty_image=empty_image, formats=formats)
    session.ui.line(f"Wrote '{result}'")
