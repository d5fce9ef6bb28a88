"""`reset-release`."""

from __future__ import annotations

import pathlib

from director.cli import release_dir
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson reset-release",))
@release_dir.option
def command(session: Session, directory: pathlib.Path) -> None:
    """Remove dev releases, builds and fetched blobs of a release directory."""
    from director.release import scaffold

    session.ui.confirm()
    gone = scaffold.reset_release(directory)
    session.ui.line(f"Removed {', '.join(gone)}" if gone else "There is nothing to remove")
