"""`blobs`."""

from __future__ import annotations

import pathlib

from director.cli import release_dir
from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson blobs --dir releases/nats",))
@release_dir.option
def command(session: Session, directory: pathlib.Path) -> None:
    """List the blobs of a release directory."""
    from director.release import blobs

    rows = tuple((blob.path, str(blob.size), blob.object_id or "(local)", blob.digest) for blob in blobs.read_index(directory).values())
    session.ui.table(Table("blobs", ("Path", "Size", "Blobstore ID", "Digest"), rows))
