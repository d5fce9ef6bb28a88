"""`upload-blobs`."""

from __future__ import annotations

import pathlib

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson upload-blobs",))
@release_dir.option
def command(session: Session, directory: pathlib.Path) -> None:
    """Upload blobs that were added, to the blobstore of config/final.yml."""
    from director.release import blobs, stores

    for blob in blobs.upload(directory, stores.needed(release_dir.store_of(directory))):
        session.ui.line(f"Uploaded blob '{blob.path}' (id: {blob.object_id})")
