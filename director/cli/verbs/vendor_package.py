"""`vendor-package`."""

from __future__ import annotations

import pathlib

import click

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson vendor-package golang-1.22 ~/golang-release", "caisson vendor-package ruby ~/ruby-release --prefix uaa"))
@click.argument("package")
@click.argument("origin", metavar="SRC-DIR", type=click.Path(file_okay=False, exists=True, path_type=pathlib.Path))
@release_dir.option
@click.option("--prefix", default="", help="Put this before the packages' names here")
def command(session: Session, package: str, origin: pathlib.Path, directory: pathlib.Path, prefix: str) -> None:
    """Take over a package, with what it depends on, from final releases of another release directory."""
    from director.release import vendor

    for name in vendor.vendor_package(directory, package, origin, prefix=prefix):
        session.ui.line(f"Added package '{name}'")
