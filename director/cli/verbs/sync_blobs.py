"""`sync-blobs`."""

from __future__ import annotations

import pathlib

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson sync-blobs",))
@release_dir.option
def command(session: Session, directory: pathlib.Path) -> None:
    """Fetch missing and changed blobs into blobs/, and remove those that are not listed."""
    from director.release import blobs

    listed = blobs.read_index(directory)
    missing = [blob.path for blob in listed.values() if not blobs.is_current(directory, blob)]
    blobs.fetch(directory, release_dir.store_of(directory))
    for path in missing:
        session.ui.line(f"Fetched blob '{path}'")
    session.ui.line(f"{len(listed)} blob(s) are there")
