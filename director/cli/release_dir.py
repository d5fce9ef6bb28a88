"""What the commands of release authors share: the release directory, and its blobstore."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from director.release.stores import Blobstore

option = click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=pathlib.Path), default=".", help="The release directory [.]"
)


def store_of(directory: pathlib.Path) -> Blobstore | None:
    """The blobstore of its config; None when there is none."""
    from director.release import source, stores

    return stores.store_of(directory, source.read_config(directory))
